package wine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Container is a program that runs as a HostProcess container's does.
type Container struct {
	input  io.Closer // its end asks the program to stop
	kill   context.CancelFunc
	output string
	ended  chan struct{}
	err    error // of the program's end, after ended
}

// patience is how long a program may take to stop before it is killed: what containerd gives a container, and something for a busy machine.
const patience = 20 * time.Second

// Start runs a program on the node until Stop or Kill, at the latest until the end of the test, which it stops for.
func (n *Node) Start(t testing.TB, exe string, args ...string) *Container {
	t.Helper()
	launcher := Program(t, "./test/windows/wine/hostprocess", Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, launcher, append([]string{Path(exe)}, args...)...)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s under Wine: %v", exe, err)
	}
	c := &Container{input: input, kill: cancel, output: out.Name(), ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		_ = out.Close()
		close(c.ended)
	}()
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

// Stop sends CTRL_SHUTDOWN and waits for the end. It gives an error where the program does not end by itself, or ends with another code than 0.
func (c *Container) Stop() error {
	_ = c.input.Close() // is closed where the program has ended
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.Kill()
		return fmt.Errorf("not stopped %v after CTRL_SHUTDOWN", patience)
	}
	return c.err
}

// Kill ends the program at once.
func (c *Container) Kill() {
	c.kill()
	<-c.ended
}

// Ended is closed at the program's end.
func (c *Container) Ended() <-chan struct{} { return c.ended }

// Output is what the program has written so far.
func (c *Container) Output() string {
	text, err := os.ReadFile(c.output)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text)
}
