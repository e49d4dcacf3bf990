package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// SpacePath is where a named namespace can be opened.
func SpacePath(name string) string { return filepath.Join("/run/netns", name) }

// NewSpace makes a named network namespace with its loopback up.
func NewSpace(name string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	made, err := netns.NewNamed(name)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", name, errors.Join(err, netns.Set(here)))
	}
	defer made.Close()
	err = loopbackUp()
	return errors.Join(err, netns.Set(here))
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// RemoveSpace removes a named namespace; its devices and rules go with it.
func RemoveSpace(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Within runs f on a thread in the named namespace. Programs that f starts run there too. If the thread can't be brought back it is
// given up, not used again.
func Within(name string, f func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		space, err := netns.GetFromName(name)
		if err != nil {
			ended <- fmt.Errorf("namespace %s: %w", name, err)
			return
		}
		defer space.Close()
		if err := netns.Set(space); err != nil {
			ended <- fmt.Errorf("namespace %s: %w", name, err)
			return
		}
		ended <- f()
		// Not unlocked: the thread ends with the goroutine, and nobody finds it in a foreign namespace.
	}()
	return <-ended
}
