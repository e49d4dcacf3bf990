package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// Versions are those of the specification that the plugin speaks, the newest last.
var Versions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// errNotIPAM is felid's own code: the specification leaves 100 and above to plugins.
const errNotIPAM = 100

// Main runs the plugin called name with the process's environment and standard streams, and returns its exit status.
func Main(name string) int {
	config, err := &configReader{}, (*Error)(nil)
	if program := strings.TrimSuffix(filepath.Base(name), ".exe"); program == "felid-ipam" {
		err = types.NewError(errNotIPAM, "felid-ipam: acting as the IPAM plugin of another network plugin is not supported; felid-cni assigns addresses itself", "")
	} else {
		err = skel.PluginMainFuncsWithError(config.funcs(), version.PluginSupports(Versions...), "felid-cni connects pods through the felid agent")
	}
	if err == nil {
		return 0
	}
	printError(os.Stdout, config.version, err)
	return 1
}

// printError writes err as the specification wants it, which has the version that skel leaves out.
func printError(w io.Writer, cniVersion string, err *Error) {
	if cniVersion == "" {
		cniVersion = Versions[len(Versions)-1]
	}
	out, _ := json.Marshal(struct {
		CNIVersion string `json:"cniVersion"`
		*Error
	}{cniVersion, err})
	_, _ = w.Write(append(out, '\n'))
}

// configReader remembers the version that the configuration named, for the error.
type configReader struct{ version string }

func (c *configReader) funcs() skel.CNIFuncs {
	return skel.CNIFuncs{Add: c.call(Add), Del: c.call(Del), Check: c.call(Check), GC: c.call(GC), Status: c.call(Status)}
}

func (c *configReader) call(verb string) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		config, err := ParseConfig(args.StdinData)
		if err != nil {
			return err
		}
		c.version = config.CNIVersion
		req := &Request{Verb: verb, ContainerID: args.ContainerID, Netns: args.Netns, IfName: args.IfName,
			Args: args.Args, Path: args.Path, Config: args.StdinData}
		if err := req.Validate(); err != nil {
			return err
		}
		resp, failure := Call(context.Background(), config.Socket, req)
		if failure != nil && config.Gate && verb == Del {
			return nil // a gate holds nothing that the agent, or the next one, doesn't find by itself
		}
		if failure != nil || len(resp.Result) == 0 {
			return failure
		}
		_, failure = os.Stdout.Write(append(resp.Result, '\n'))
		return failure
	}
}

// Call asks the agent that listens on socket. The error is the agent's own, or 11 (STATUS: 50) if it can't be had.
func Call(ctx context.Context, socket string, req *Request) (*Response, error) {
	resp, err := exchange(ctx, socket, req)
	if err != nil {
		return nil, away(req.Verb, fmt.Sprintf("the felid agent on %s does not answer", socket), err)
	}
	if resp.Error != nil {
		return nil, resp.Error
	}
	return resp, nil
}

func exchange(ctx context.Context, socket string, req *Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout+undoTime)
	defer cancel()
	conn, err := Dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := WriteMessage(conn, req); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	resp := new(Response)
	if err := ReadMessage(conn, resp); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it closed the connection")
		}
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return resp, nil
}

// away is the error for a call that the agent can't serve now.
func away(verb, what string, err error) *Error {
	code := types.ErrTryAgainLater
	if verb == Status {
		code = types.ErrPluginNotAvailable
	}
	return types.NewError(code, what, err.Error())
}
