//go:build !windows

package adapters

import (
	"errors"
	"fmt"
	"runtime"
)

// List is for Windows alone.
func List() ([]Adapter, error) {
	return nil, fmt.Errorf("listing network adapters on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func notify(chan<- struct{}) (stop func(), err error) {
	_, err = List()
	return nil, err
}
