package controller

import (
	"context"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// Reconciler decides about one concern. Its methods are called by the loop's goroutine alone; they do no I/O, block on nothing and keep no clock.
type Reconciler interface {
	// Name is a word for logs and metrics.
	Name() string
	// Kinds are the kinds of the Store that it is told of.
	Kinds() []v3.Kind
	// Update takes an object that came, changed or went (o is nil), and returns the items that must be looked at again. It is given what
	// writes return too, before the watch brings that back: taking an object twice must be harmless. Objects are shared: never change one.
	Update(key v3.Key, o v3.Object) (items []v3.Key)
	// Plan says what one item needs, as of now. The item is the key of what it is about, which need not exist. Plan is not asked before
	// everything has been delivered once, nor while writes of the same item are under way; what it returns is forgotten if a write fails, and
	// asked for again.
	Plan(item v3.Key, now time.Time) Step
}

// Step is what an item needs.
type Step struct {
	// Writes are made in order, up to the first that fails. Two writes of one object do not belong in one Step: the second would have an
	// outdated revision. What the first returns comes by Update, and the item is planned again.
	Writes []Write
	// Again, if positive: plan the item after that time although nothing changes.
	Again time.Duration
	// Problem is what a person should know or do, for the log: said once until it changes.
	Problem string
}

// Verb is a kind of write.
type Verb string

// The verbs. Update and UpdateStatus replace the very revision that Object has, and Delete deletes it.
const (
	Create       Verb = "create"
	Update       Verb = "update"
	UpdateStatus Verb = "update status"
	Delete       Verb = "delete"
)

// Write is one write.
type Write struct {
	Verb   Verb
	Object v3.Object
	// Verify, if not nil, is asked right before the write; an error leaves it undone, and the item is planned again later.
	Verify func(ctx context.Context, read Reader) error
	// Note, if not empty, is logged once the write is done.
	Note string
	// Do, if not nil, is made instead of Verb and Object, which then only say what it is about: a write to somewhere else than the Store.
	Do func(ctx context.Context) error
}

// Reader reads the datastore as it is now; datastore.Store implements it.
type Reader interface {
	Get(ctx context.Context, key v3.Key) (v3.Object, error)
}

// Beginner is a Reconciler with items that must be looked at once although nothing may ever be heard of them.
type Beginner interface {
	Begin() (items []v3.Key)
}

// Listener is a Reconciler that hears of more than objects of the Store.
type Listener interface {
	// Listen runs beside the loop until ctx ends. It may call tell at any time: f then runs on the loop's goroutine, and the items that it
	// returns are looked at again.
	Listen(ctx context.Context, tell func(f func() (items []v3.Key))) error
}

// Measurer is a Reconciler that has figures to publish. Measure is called by the loop's goroutine every few seconds.
type Measurer interface {
	Measure(m *Metrics)
}
