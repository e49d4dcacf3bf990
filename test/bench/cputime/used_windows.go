package cputime

import (
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// Used is the time of this process so far, in user space and in the kernel.
func Used(tb testing.TB) time.Duration {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		tb.Fatal(err)
	}
	span := func(f windows.Filetime) time.Duration { // in units of 100 ns
		return 100 * time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime))
	}
	return span(kernel) + span(user)
}
