package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"github.com/Microsoft/go-winio"

	"github.com/felid-net/felid/cni"
)

const (
	// pipeAccess: the administrators own the pipe, which is what the plugin knows it by; they and the system may open it, and nobody else.
	pipeAccess = "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)"
	pipeBuffer = 64 << 10
	// pipeFree is how long an agent waits for what is left of the one before: its pipe is there until the plugins that called it have gone.
	pipeFree = 2 * time.Second
	// pipeTry is how long another agent may take to accept.
	pipeTry = 200 * time.Millisecond
	// stopGrace is how long requests go on when the agent stops, before they are undone: a HostProcess container is killed after 5 s.
	stopGrace = 2 * time.Second
)

// socketListener is a named pipe that only administrators and the system may open.
type socketListener struct{ net.Listener }

// listen makes the pipe. One that is there already, whoever made it, is not shared: the first instance must be this one.
func listen(path string) (*socketListener, error) {
	deadline := time.Now().Add(pipeFree)
	for {
		err := taken(path)
		if err == nil {
			var l net.Listener
			l, err = winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: pipeAccess, InputBufferSize: pipeBuffer, OutputBufferSize: pipeBuffer})
			if err == nil {
				return &socketListener{l}, nil
			}
		}
		if errors.Is(err, errOtherAgent) || time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var errOtherAgent = errors.New("another agent holds it")

// taken says who has a pipe of that name, if somebody has.
func taken(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipeTry)
	defer cancel()
	conn, err := cni.Dial(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("somebody has made this pipe before: %w", err)
	}
	_ = conn.Close()
	return errOtherAgent
}

// release lets go of the pipe.
func (l *socketListener) release() { _ = l.Close() }
