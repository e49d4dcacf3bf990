package probe

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/windows"

	"github.com/felid-net/felid/dataplane/knock"
)

// This file has not run on a real host yet: Wine 8 has no compartments. What it takes for granted is that a socket belongs to the compartment that its
// thread is in while it is made, as those of a container do to the container's.

// answerTime is how long an answer may take between two endpoints of one switch.
const answerTime = 500 * time.Millisecond

// readyTime is how long HNS may take to give a compartment its addresses.
const readyTime = 15 * time.Second

var setCompartment = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("SetCurrentThreadCompartmentId")

// Sockets are packets between sockets of this host, in the compartments of the ends.
func Sockets() Packets { return sockets{} }

type sockets struct{}

func (sockets) Usable() error {
	if err := setCompartment.Find(); err != nil {
		return fmt.Errorf("this system has no network compartments: %w", err)
	}
	return nil
}

// placeOf is where an end's sockets are made: on a thread in its compartment.
func placeOf(e End) knock.Place {
	p := knock.Place{Address: e.Address}
	if e.Compartment != 0 {
		p.In = func(do func() error) error { return inCompartment(e.Compartment, do) }
	}
	return p
}

func inCompartment(number uint32, do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, so that nobody else finds it in the compartment
		if code, _, _ := setCompartment.Call(uintptr(number)); code != 0 {
			result <- fmt.Errorf("compartment %d: %w", number, windows.Errno(code))
			return
		}
		result <- do()
	}()
	return <-result
}

// Ready waits until sockets can have the ends' addresses.
func (sockets) Ready(ctx context.Context, ends []End) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for _, e := range ends {
		for {
			err := knock.Listen(ctx, placeOf(e))
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s can't be listened at: %w", e.Address, err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

func (sockets) Open(ctx context.Context, from, to End, protocol uint8, port uint16) (Conn, error) {
	c, err := knock.Open(ctx, placeOf(from), placeOf(to), protocol, port, answerTime)
	if c == nil || err != nil {
		return nil, err
	}
	return c, nil
}
