package datastore

import (
	"context"
	"errors"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// The sentinels of a store's errors; errors.Is tells them, the text names the object.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrConflict    = errors.New("changed by somebody else meanwhile")
	ErrInvalid     = errors.New("invalid")
	ErrUnsupported = errors.New("not supported by this datastore")
	ErrUnreachable = errors.New("datastore can't be reached")
	ErrExpired     = errors.New("watch too old: list again")
	ErrForbidden   = errors.New("not permitted")
	// ErrNotServed: the kind is not known to the server (yet): its definition is missing there.
	ErrNotServed = errors.New("kind is not served")
)

// Store holds resources. An object's ResourceVersion is its revision.
type Store interface {
	// Get returns ErrNotFound for a missing object.
	Get(ctx context.Context, key v3.Key) (v3.Object, error)
	// List returns the objects of a kind, of one namespace or of all (""), sorted by namespace and name, and the revision that a
	// Watch may go on from. Broken objects are left out and named in List.Faults.
	List(ctx context.Context, kind v3.Kind, namespace string) (List, error)
	// Create returns the object as stored, ErrExists if it is there, ErrInvalid if it can't be.
	Create(ctx context.Context, o v3.Object) (v3.Object, error)
	// Update replaces the object if its revision is still o's, else ErrConflict; an empty revision replaces whatever is there.
	// ErrNotFound if there is none.
	Update(ctx context.Context, o v3.Object) (v3.Object, error)
	// Delete removes the object; if revision is not empty it must be current, else ErrConflict.
	Delete(ctx context.Context, key v3.Key, revision string) error
	// Watch delivers changes of a kind after revision until ctx ends or an error, which is the last event.
	Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan Event, error)
	Close() error
}

// List is what Store.List returns.
type List struct {
	Objects  []v3.Object
	Revision string
	Faults   []Fault
}

// Fault is an object that could not be read; the others are not disturbed.
type Fault struct {
	Key  v3.Key // as far as known
	File string // "" where there are no files
	Line int    // 1-based; 0 unknown
	Err  error
}

// Event is one change, or the end of a watch.
type Event struct {
	Key    v3.Key
	Object v3.Object // nil: gone
	// Faults, if not nil, are all the faults of the kind as of now (an empty slice: none any more).
	Faults []Fault
	Err    error // the watch has ended
}

// Update is one object that came, changed or went (Object nil).
type Update struct {
	Key    v3.Key
	Object v3.Object
}

// Batch is what a Syncer delivers.
type Batch struct {
	Updates []Update
	// Since is when the first of the updates was seen.
	Since time.Time
	// InSync is true from the batch on with which everything that was there at the start has been delivered.
	InSync bool
	// Faults, if not nil, are all the faults known as of now.
	Faults []Fault
}

// StatusStore is a Store whose objects' status is written apart from the rest, as that of custom resources is: Create and Update leave
// it as it was.
type StatusStore interface {
	Store
	// UpdateStatus replaces the status alone if the object's revision is still o's, else ErrConflict; an empty revision replaces that of
	// whatever is there. ErrUnsupported for a kind that has none. A view's conditions are written where Kubernetes' own object has them.
	UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error)
}

// Deriver is a Store that has objects which nobody stores as such, besides those of views: it makes them from Kubernetes' own objects.
type Deriver interface {
	Store
	// Derived tells whether an object of this key is, or would be, one of them.
	Derived(key v3.Key) bool
}
