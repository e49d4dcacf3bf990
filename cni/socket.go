package cni

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Conn is a connection to the agent, to be written to and read from in turn.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

const (
	// maxSocket is the longest path of a unix socket: sun_path of unix(7) has 108 bytes, the last of them zero.
	maxSocket = 107
	// pipePrefix begins the names of this machine's named pipes, and of no other machine's.
	pipePrefix = `\\.\pipe\`
	// maxPipe is the longest name of a named pipe, with the prefix.
	maxPipe = 256
)

// checkSocket says what is wrong with a path where the agent would listen: a unix socket's, or, on Windows, a named pipe's.
func checkSocket(path string, pipe bool) error {
	if !pipe {
		if !strings.HasPrefix(path, "/") || len(path) > maxSocket {
			return fmt.Errorf("socket: %q is not an absolute path of at most %d bytes", path, maxSocket)
		}
		return nil
	}
	name, ok := strings.CutPrefix(path, pipePrefix)
	wrong := func(r rune) bool { return r == '\\' || r == '/' || unicode.IsControl(r) }
	if !ok || name == "" || len(path) > maxPipe || strings.ContainsFunc(name, wrong) {
		return fmt.Errorf(`socket: %q is not a named pipe of this machine; valid: %sNAME, at most %d bytes`, path, pipePrefix, maxPipe)
	}
	return nil
}
