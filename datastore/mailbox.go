package datastore

import (
	"slices"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// mailbox gathers what followers have until the receiver takes it; a later change of an object replaces an earlier one.
type mailbox struct {
	wake chan struct{} // holds one when there is something to take

	mu        sync.Mutex
	updates   []Update
	place     map[v3.Key]int // where in updates
	faults    map[v3.Kind][]Fault
	newFaults bool
	unlisted  int  // kinds whose first list is still to come
	newSync   bool // in sync, and not said yet
	since     time.Time
}

func newMailbox(kinds int) *mailbox {
	b := &mailbox{wake: make(chan struct{}, 1), place: map[v3.Key]int{}, faults: map[v3.Kind][]Fault{}, unlisted: kinds}
	if kinds == 0 {
		b.newSync = true
		b.ring()
	}
	return b
}

func (b *mailbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *mailbox) put(updates []Update) {
	if len(updates) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.updates) == 0 {
		b.since = time.Now()
	}
	for _, u := range updates {
		if i, ok := b.place[u.Key]; ok {
			b.updates[i].Object = u.Object
			continue
		}
		b.place[u.Key] = len(b.updates)
		b.updates = append(b.updates, u)
	}
	b.ring()
}

// setFaults replaces the faults of a kind.
func (b *mailbox) setFaults(kind v3.Kind, faults []Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.EqualFunc(b.faults[kind], faults, func(x, y Fault) bool { return x.String() == y.String() }) {
		return
	}
	b.faults[kind] = faults
	b.newFaults = true
	b.ring()
}

// listed says that the first list of one more kind has been put.
func (b *mailbox) listed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unlisted--
	b.newSync = b.unlisted == 0
	b.ring()
}

// take empties the mailbox; ok is false where there was nothing.
func (b *mailbox) take() (batch Batch, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.updates) == 0 && !b.newFaults && !b.newSync {
		return Batch{}, false
	}
	batch = Batch{Updates: b.updates, Since: b.since, InSync: b.unlisted == 0}
	if b.newFaults {
		batch.Faults = b.allFaults()
	}
	b.updates, b.newFaults, b.newSync = nil, false, false
	if len(b.place) > 1000 {
		b.place = map[v3.Key]int{} // a map never shrinks
	} else {
		clear(b.place)
	}
	return batch, true
}

// allFaults are the faults of all kinds, each once (a file that can't be read at all is a fault of every kind), in order of their
// text. It is not nil.
func (b *mailbox) allFaults() []Fault {
	texts := map[string]bool{}
	all := []Fault{}
	for _, faults := range b.faults {
		for _, f := range faults {
			if text := f.String(); !texts[text] {
				texts[text] = true
				all = append(all, f)
			}
		}
	}
	slices.SortFunc(all, func(x, y Fault) int {
		if x.String() < y.String() {
			return -1
		}
		return 1
	})
	return all
}
