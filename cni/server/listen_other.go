//go:build !unix

package server

import (
	"errors"
	"net"
)

type socketListener struct{ net.Listener }

// listen is to be a named pipe on Windows.
func listen(string) (*socketListener, error) {
	return nil, errors.New("the socket of the CNI plugin is not supported on this system yet")
}

func (*socketListener) release() {}
