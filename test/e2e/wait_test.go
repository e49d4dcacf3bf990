//go:build linux

package e2e

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/lab"
)

var errNotFound = datastore.ErrNotFound

// waitFor tries until what is waited for holds; after 20 s the test fails with the last reason why not.
func waitFor(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// reach connects from a pod to each address of another.
func reach(ctx context.Context, c *cluster, from, to *lab.Pod, port uint16) error {
	var errs []error
	for _, addr := range to.Addr {
		errs = append(errs, reachAddr(ctx, c, from, addr, port, 2*time.Second))
	}
	return errors.Join(errs...)
}

func reachAddr(ctx context.Context, c *cluster, from *lab.Pod, addr string, port uint16, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return lab.Within(c.PodSpace(from), func() error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(addr, strconv.Itoa(int(port))))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
