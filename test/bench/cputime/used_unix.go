//go:build unix

package cputime

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Used is the time of this process so far, in user space and in the kernel.
func Used(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
