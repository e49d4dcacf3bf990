package cni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"github.com/containernetworking/cni/pkg/types"
)

var sockets atomic.Int32

// newSocket is a pipe that nobody has made yet.
func newSocket(*testing.T) string {
	return fmt.Sprintf(`%sfelid-test-%d-%d`, pipePrefix, os.Getpid(), sockets.Add(1))
}

func listenOn(t *testing.T, pipe string) net.Listener {
	return listenAs(t, pipe, "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)")
}

// listenAs makes a pipe with that security descriptor. Wine connects the first who comes to the instance that only keeps the name, where nobody
// answers: that one is used up here.
func listenAs(t *testing.T, pipe, access string) net.Listener {
	t.Helper()
	l, err := winio.ListenPipe(pipe, &winio.PipeConfig{SecurityDescriptor: access, InputBufferSize: 4096, OutputBufferSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if f, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
		_ = f.Close()
	}
	return l
}

// TestDialRefusesStrangers: while no agent runs, anybody may make its pipe. Such a one is not spoken to.
func TestDialRefusesStrangers(t *testing.T) {
	token := windows.GetCurrentProcessToken()
	user, err := token.GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ owner, says string }{{"BA", ""}, {user.User.Sid.String(), "this is no felid agent"}} {
		pipe := newSocket(t)
		l, err := winio.ListenPipe(pipe, &winio.PipeConfig{SecurityDescriptor: "O:" + tt.owner + "D:P(A;;GA;;;WD)"})
		if err != nil {
			t.Errorf("%s: %v", tt.owner, err)
			continue
		}
		heard := make(chan string, 4)
		go hear(l, heard)
		for range 2 { // the first one's luck, under Wine
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = Call(ctx, pipe, &Request{Verb: Add, ContainerID: "secret"})
			cancel()
		}
		_ = l.Close()
		var e *Error
		if !errors.As(err, &e) || e.Code != types.ErrTryAgainLater || !strings.Contains(e.Details, tt.says) {
			t.Errorf("%s: %+v", tt.owner, err)
		}
		if text := <-heard; strings.Contains(text, "secret") != (tt.says == "") {
			t.Errorf("%s: the pipe's maker heard %q", tt.owner, text)
		}
	}
}

// hear tells what whoever connects says, until l is closed.
func hear(l net.Listener, heard chan<- string) {
	var all strings.Builder
	defer func() { heard <- all.String() }()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		all.Write(buf[:n])
		_ = conn.Close()
	}
}

// TestDialWaitsItsTurn: an agent that has no free instance of its pipe is not one that is away.
func TestDialWaitsItsTurn(t *testing.T) {
	pipe := newSocket(t)
	if _, err := Dial(t.Context(), pipe); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nobody is there: %v", err)
	}
	l := listenOn(t, pipe)
	accepted := make(chan error, 2)
	accept := func() {
		conn, err := l.Accept()
		if err == nil {
			err = ReadMessage(conn, new(Request))
			_, _ = io.WriteString(conn, "{}\n")
			_ = conn.Close()
		}
		accepted <- err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, pipe); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, windows.ERROR_PIPE_BUSY) {
		t.Errorf("all instances busy: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := Call(t.Context(), pipe, &Request{Verb: Status})
		answered <- err
	}()
	go accept()
	if err := <-answered; err != nil {
		t.Errorf("after waiting: %v", err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

// TestCallGivesUp: an agent that hangs is one that is away.
func TestCallGivesUp(t *testing.T) {
	pipe := newSocket(t)
	l := listenOn(t, pipe)
	hungUp := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
		}
		hungUp <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := Call(ctx, pipe, &Request{Verb: Add})
	var e *Error
	if !errors.As(err, &e) || e.Code != types.ErrTryAgainLater || !strings.Contains(e.Details, "i/o timeout") {
		t.Errorf("%+v", err)
	}
	if err := <-hungUp; err != nil {
		t.Errorf("the agent was not told: %v", err)
	}
}
