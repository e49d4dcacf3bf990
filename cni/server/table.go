package server

import (
	"context"
	"sync"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
)

// entry is what the server knows of an attachment. It is written under the lock of its key.
type entry struct {
	attachment
	pod  cni.PodArgs
	key  v3.Key // of the record, if there is one
	host string // the host's interface
	// record is the endpoint as given to the loop; nil while there is none, or where it is not known.
	record *v3.WorkloadEndpoint
	// done: ADD has answered, or would have. What is not done is to be taken away, and is only here because that failed or is under way.
	done bool
}

// table is the server's memory: every attachment of which anything may be left on this node. It is filled by Rebuild.
type table struct {
	mu      sync.Mutex
	entries map[attachment]*entry
	byKey   map[v3.Key]*entry
}

func newTable() *table {
	return &table{entries: map[attachment]*entry{}, byKey: map[v3.Key]*entry{}}
}

func (t *table) put(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[e.attachment] = e
	t.byKey[e.key] = e
}

func (t *table) drop(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries[e.attachment] == e {
		delete(t.entries, e.attachment)
	}
	if t.byKey[e.key] == e {
		delete(t.byKey, e.key)
	}
}

func (t *table) find(a attachment) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries[a]
}

func (t *table) at(key v3.Key) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byKey[key]
}

// of returns the entries of a network.
func (t *table) of(network string) []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*entry
	for _, e := range t.entries {
		if e.Network == network {
			all = append(all, e)
		}
	}
	return all
}

// locks lets one request at a time work on a key.
type locks struct {
	mu   sync.Mutex
	held map[v3.Key]chan struct{} // closed when let go
}

// lock waits for key until ctx ends.
func (l *locks) lock(ctx context.Context, key v3.Key) (unlock func(), err error) {
	for {
		unlock, busy := l.try(key)
		if unlock != nil {
			return unlock, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try takes key if it is free; if not, busy is closed when it may be.
func (l *locks) try(key v3.Key) (unlock func(), busy <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch, held := l.held[key]; held {
		return nil, ch
	}
	ch := make(chan struct{})
	if l.held == nil {
		l.held = map[v3.Key]chan struct{}{}
	}
	l.held[key] = ch
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, key)
		close(ch)
	}, nil
}
