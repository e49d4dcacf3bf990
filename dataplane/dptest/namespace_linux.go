package dptest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of a test. It has no name and goes with its last descriptor.
type Namespace struct {
	fd netns.NsHandle
	nl *netlink.Handle
}

// NewNamespace makes a network namespace that lasts as long as the test. It needs root.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	n := &Namespace{fd: netns.None()}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w (this test needs root)", err)
		}
		var err error
		n.fd, err = netns.Get()
		return err
	})
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(func() {
		if n.nl != nil {
			n.nl.Close()
		}
		_ = n.fd.Close()
	})
	if n.nl, err = netlink.NewHandleAt(n.fd, unix.NETLINK_ROUTE); err != nil {
		t.Fatalf("netlink in the new namespace: %v", err)
	}
	return n
}

// onThread runs f on an OS thread of its own, which ends with it: a thread that has been in another namespace is never used again.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// Do runs f on an OS thread that is in the namespace; commands that f starts are in it too, goroutines that f starts are not.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.fd); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// Fd is a descriptor of the namespace, open as long as the test.
func (n *Namespace) Fd() int { return int(n.fd) }

// Path names the namespace for nsenter --net=PATH and the like.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.fd)) }

// Netlink is a route netlink handle in the namespace.
func (n *Namespace) Netlink() *netlink.Handle { return n.nl }

// sysctls writes settings below /proc/sys/net in the namespace.
func (n *Namespace) sysctls(settings map[string]string) error {
	return n.Do(func() error {
		for path, value := range settings {
			if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}
