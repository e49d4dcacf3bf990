package cni

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
)

const (
	// Timeout is how long the agent works on a request before it undoes it and answers error 11.
	Timeout = 30 * time.Second
	// undoTime is how long the plugin then waits for the agent to have undone it.
	undoTime = 10 * time.Second
	// MaxMessage is the longest request or response, in bytes. The longest real one is a GC that lists a node's pods.
	MaxMessage = 1 << 20
)

// The verbs that reach the agent; VERSION is answered by the plugin alone.
const (
	Add    = "ADD"
	Del    = "DEL"
	Check  = "CHECK"
	GC     = "GC"
	Status = "STATUS"
)

var verbs = []string{Add, Del, Check, GC, Status}

// Error is an error of the specification: a code, what is wrong, and details.
type Error = types.Error

// Request is what the plugin sends: the parameters of CNI, as the runtime gave them.
type Request struct {
	Verb        string          `json:"verb"`
	ContainerID string          `json:"containerID,omitempty"`
	Netns       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifName,omitempty"`
	Args        string          `json:"args,omitempty"`
	Path        string          `json:"path,omitempty"`
	Config      json.RawMessage `json:"config"`
}

// Response is what the agent answers: Error, or, for ADD, Result in the version that the configuration names.
type Response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

var errTooLong = fmt.Errorf("longer than %d bytes", MaxMessage)

// WriteMessage writes v as one line.
func WriteMessage(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(line) >= MaxMessage {
		return errTooLong
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// ReadMessage reads one line, of at most MaxMessage bytes, into v.
func ReadMessage(r io.Reader, v any) error {
	line, err := bufio.NewReader(io.LimitReader(r, MaxMessage)).ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) == MaxMessage:
		return errTooLong
	case errors.Is(err, io.EOF) && len(line) > 0:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), v); err != nil {
		return fmt.Errorf("not a message of felid-cni: %w", err)
	}
	return nil
}

// Validate checks that a request has what its verb needs, in valid form. The agent does not trust that the plugin did.
func (r *Request) Validate() *Error {
	if !slices.Contains(verbs, r.Verb) {
		return types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_COMMAND: unknown verb %q; valid: %s", r.Verb, strings.Join(verbs, ", ")), "")
	}
	if r.Verb == GC || r.Verb == Status {
		return nil
	}
	if r.ContainerID == "" {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID is missing", "")
	}
	if err := utils.ValidateContainerID(r.ContainerID); err != nil {
		return err
	}
	if err := utils.ValidateInterfaceName(r.IfName); err != nil {
		return err
	}
	if strings.ContainsFunc(r.IfName, unicode.IsControl) {
		return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_IFNAME: %q has control characters", r.IfName), "")
	}
	if r.Netns == "" && r.Verb != Del {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_NETNS is missing", "")
	}
	return nil
}
