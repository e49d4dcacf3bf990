//go:build unix

package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stopGrace is how long requests go on when the agent stops, before they are undone.
const stopGrace = 5 * time.Second

// socketListener is a unix socket that only the owner of the process may use, held by a lock beside it.
type socketListener struct {
	*net.UnixListener
	lock *os.File
	path string
}

// listen takes the lock of path, and listens there. The socket is made in a folder that nobody else can enter, and moved to its place when its
// mode is right; what a dead agent left there is replaced, and nothing but a socket is.
func listen(path string) (*socketListener, error) {
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := bind(path)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &socketListener{UnixListener: l, lock: lock, path: path}, nil
}

func takeLock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another agent holds %s", path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return lock, nil
}

func bind(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, errors.New("something is there that is not a socket")
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// release takes the socket away and lets go of the lock, in this order.
func (l *socketListener) release() {
	_ = l.Close()
	_ = os.Remove(l.path)
	_ = l.lock.Close()
}
