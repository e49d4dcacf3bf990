package ipset

import (
	"context"
	"fmt"
	"syscall"
)

// Kernel is the IP sets of one network namespace.
type Kernel interface {
	// Do runs the commands in order. The errors are those of the commands, by index; nil: none failed. A failed command does not keep the
	// next from running, but for a Swap of a set of which a command has failed: it fails with ECANCELED. err says that nothing is known of any.
	Do(ctx context.Context, commands []Command) (errs map[int]error, err error)
	// List reads all sets of ours: with members, or their headers only. It may run beside Do.
	List(ctx context.Context, members bool) ([]Listed, error)
	Close() error
}

// Op is what a Command does.
type Op uint8

// The commands, with their numbers in linux/netfilter/ipset/ip_set.h.
const (
	OpCreate  Op = 2
	OpDestroy Op = 3
	OpSwap    Op = 6
	OpAdd     Op = 9
	OpDelete  Op = 10
)

// Command changes one set.
type Command struct {
	Op       Op
	Set      string
	Header   Header    // Create; Add and Delete need the family
	Other    string    // Swap
	elements []element // Add, Delete: in this order; those already there or already gone are no errors
}

// Header is what a set is created with.
type Header struct {
	Type     Type
	Family   Family
	MaxElem  uint32
	HashSize uint32 // a hint; 0: the kernel's default
}

// Listed is a set that the kernel holds.
type Listed struct {
	Name     string
	Header   Header
	Count    int // of members
	elements []element
	odd      bool // made with options that are never used here, such as a timeout
}

// Error is an errno of the kernel's, with the codes of its own that IP sets have.
type Error struct {
	Errno   syscall.Errno
	Member  string    // the first one that was refused; ""
	refused []element // of an Add or Delete: these did not go in, or out; the others did
}

// Codes that decide what is done next; linux/netfilter/ipset/ip_set.h.
const (
	errBusy       syscall.Errno = 4096 + 4
	errExist      syscall.Errno = 4096 + 7
	errReferenced syscall.Errno = 4096 + 12
	errHashFull   syscall.Errno = 4352
)

var errorText = map[syscall.Errno]string{
	4097:          "the kernel speaks another version of the protocol",
	4098:          "the kernel does not know the set type",
	4099:          "the kernel has no room for another set",
	errBusy:       "the set is in use",
	4101:          "the other set does not exist",
	4102:          "the sets are of different types",
	errExist:      "the member is already there, or not there",
	4104:          "the prefix length is not valid for the set",
	4106:          "the address family is not valid for the set",
	errReferenced: "the set is in use",
	4109:          "the set wants an IPv4 address",
	4110:          "the set wants an IPv6 address",
	errHashFull:   "the set is full",
}

// Error says what the kernel meant, and of which member.
func (e *Error) Error() string {
	text, ok := errorText[e.Errno]
	switch {
	case !ok && e.Errno >= 4096:
		text = fmt.Sprintf("ipset error %d", int(e.Errno))
	case !ok:
		text = e.Errno.Error()
	}
	if e.Member != "" {
		return "member " + e.Member + ": " + text
	}
	return text
}

// Unwrap gives the errno to errors.Is.
func (e *Error) Unwrap() error { return e.Errno }
