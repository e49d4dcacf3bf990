package server

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"github.com/felid-net/felid/cni"
)

// TestPipeIsOurs: the pipe is the administrators', they and the system may open it, and a second agent does not share it.
func TestPipeIsOurs(t *testing.T) {
	pipe := serving(t)
	start := time.Now()
	if _, err := listen(pipe); !errors.Is(err, errOtherAgent) {
		t.Errorf("a second agent: %v", err)
	}
	if took := time.Since(start); took > pipeFree/2 {
		t.Errorf("it waited %s for another agent to go away", took)
	}
	conn, err := cni.Dial(t.Context(), pipe)
	if err != nil {
		t.Fatalf("the first agent, after the second came: %v", err)
	}
	defer conn.Close()
	sd, err := windows.GetSecurityInfo(windows.Handle(conn.(interface{ Fd() uintptr }).Fd()), windows.SE_KERNEL_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	// GA is shown as FA, all access to files, where the system maps generic rights.
	if got := strings.ReplaceAll(sd.String(), ";FA;", ";GA;"); got != "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)" {
		t.Errorf("security descriptor %s", got)
	}
}

// TestPipeIsNotSharedWithStrangers: a pipe that somebody made before the agent came is neither served nor spoken to.
func TestPipeIsNotSharedWithStrangers(t *testing.T) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	pipe := NewSocket(t)
	squatter, err := winio.ListenPipe(pipe, &winio.PipeConfig{SecurityDescriptor: "O:" + user.User.Sid.String() + "D:P(A;;GA;;;WD)"})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan int, 1)
	go func() {
		total := 0
		for {
			conn, err := squatter.Accept()
			if err != nil {
				heard <- total
				return
			}
			n, _ := conn.Read(make([]byte, 100))
			total += n
			_ = conn.Close()
		}
	}()
	s, err := New(Options{Socket: pipe, Node: "n", InterfacePrefix: "fld", Guest: true, Loop: unreadyLoop{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = s.Serve(ctx)
	if err == nil || !strings.Contains(err.Error(), "somebody has made this pipe before") || !strings.Contains(err.Error(), user.User.Sid.String()) {
		t.Errorf("Serve: %v; want it to name the maker", err)
	}
	_ = squatter.Close()
	if n := <-heard; n > 0 {
		t.Errorf("the maker of the pipe heard %d bytes", n)
	}
}

// TestPipeComesFree: what a plugin still holds of a dead agent's pipe is waited for.
func TestPipeComesFree(t *testing.T) {
	pipe := NewSocket(t)
	dead, err := listen(pipe)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := dead.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	plugins := []cni.Conn{dial(t, pipe), dial(t, pipe)} // under Wine the first is connected to nobody
	conn := <-accepted
	dead.release()
	_ = conn.Close()
	time.AfterFunc(300*time.Millisecond, func() {
		for _, p := range plugins {
			_ = p.Close()
		}
	})
	next, err := listen(pipe)
	if err != nil {
		t.Fatal(err)
	}
	next.release()
}

// dial gives up soon, which is what becomes of the second where the first was connected.
func dial(t *testing.T, pipe string) cni.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := cni.Dial(ctx, pipe)
	if errors.Is(err, windows.ERROR_PIPE_BUSY) {
		return nopConn{}
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// nopConn is no connection.
type nopConn struct{ cni.Conn }

func (nopConn) Close() error { return nil }
