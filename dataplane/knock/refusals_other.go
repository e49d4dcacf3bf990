//go:build !windows

package knock

import "syscall"

// refusals are what a packet that was rejected on its way shows as; EPERM is that of the host's own rules.
var refusals = []error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EPERM, syscall.EACCES,
}
