package datastore

import (
	"context"
	"time"
)

// Lease is the record by which processes agree who of them works.
type Lease struct {
	Holder      string        // who works; "" for nobody
	Duration    time.Duration // how long the holder may be silent, in whole seconds
	Acquired    time.Time     // when the holder took over, by its clock
	Renewed     time.Time     // when it last said that it works, by its clock: others compare it for change alone
	Transitions int           // how often it changed hands
	Revision    string
}

// LeaseStore holds one Lease.
type LeaseStore interface {
	// ReadLease returns ErrNotFound where nobody has ever written it.
	ReadLease(ctx context.Context) (Lease, error)
	// WriteLease replaces the lease if its revision is still l's, and creates it for an empty revision; else ErrConflict. It returns the lease
	// as it is stored.
	WriteLease(ctx context.Context, l Lease) (Lease, error)
}
