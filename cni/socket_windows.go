package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// DefaultSocket is where the agent listens unless the configuration says otherwise.
const DefaultSocket = pipePrefix + "felid"

const pipes = true

// busyPause is how long to wait for the agent to make another instance of its pipe.
const busyPause = 5 * time.Millisecond

// Dial connects to the agent's pipe, and makes sure that it is one that an administrator or the system made: while no agent runs, anybody
// may make a pipe of that name. The other side can't act as the caller, whoever it is. An error is fs.ErrNotExist where nobody has
// made the pipe.
func Dial(ctx context.Context, socket string) (Conn, error) {
	if err := checkSocket(socket, true); err != nil {
		return nil, err
	}
	f, err := open(ctx, socket)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// open waits while all instances of the pipe are in use. Overlapped: such a file has deadlines.
func open(ctx context.Context, pipe string) (*os.File, error) {
	const flags = os.O_RDWR | windows.FILE_FLAG_OVERLAPPED | windows.SECURITY_SQOS_PRESENT | windows.SECURITY_ANONYMOUS
	for {
		f, err := os.OpenFile(pipe, flags, 0o600)
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return f, err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// checkOwner refuses a pipe whose owner is neither the administrators nor the system. Nobody else can give a pipe that owner.
func checkOwner(pipe *os.File) error {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return err
	}
	var owner *windows.SID
	controlErr := raw.Control(func(fd uintptr) {
		var sd *windows.SECURITY_DESCRIPTOR
		if sd, err = windows.GetSecurityInfo(windows.Handle(fd), windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION); err == nil {
			owner, _, err = sd.Owner()
		}
	})
	if err = errors.Join(controlErr, err); err != nil {
		return fmt.Errorf("looking whose pipe it is: %w", err)
	}
	if owner == nil || !owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) && !owner.IsWellKnown(windows.WinLocalSystemSid) {
		return fmt.Errorf("the pipe's owner is %s, neither the administrators nor the system: this is no felid agent", owner)
	}
	return nil
}
