package datastore

import (
	"errors"
	"log/slog"
	"sync"

	v3 "github.com/felid-net/felid/api/v3"
)

// troubles logs what holds kinds up: each cause once when it begins and once when it is over, however often it is tried again, and
// however many kinds a store holds up that can't be reached.
type troubles struct {
	log *slog.Logger

	mu    sync.Mutex
	of    map[v3.Kind]string // the cause of a kind
	kinds map[string]int     // how many kinds a cause holds up
}

func newTroubles(log *slog.Logger) *troubles {
	return &troubles{log: log, of: map[v3.Kind]string{}, kinds: map[string]int{}}
}

// begin says that a kind can't be followed.
func (t *troubles) begin(kind v3.Kind, err error) {
	cause := causeOf(kind, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[kind] == cause {
		return
	}
	t.over(kind)
	t.of[kind] = cause
	if t.kinds[cause]++; t.kinds[cause] == 1 {
		t.log.Warn("datastore: trying again until it works", "kind", kind, "error", err)
	}
}

// causeOf is what errors that are one trouble share: nothing but that the store can't be reached is the same for all kinds.
func causeOf(kind v3.Kind, err error) string {
	switch {
	case errors.Is(err, ErrUnreachable):
		return ErrUnreachable.Error()
	case errors.Is(err, ErrNotServed):
		return string(kind) + ": " + ErrNotServed.Error()
	case errors.Is(err, ErrForbidden):
		return string(kind) + ": " + ErrForbidden.Error()
	}
	return string(kind) + ": " + err.Error()
}

// end says that it can.
func (t *troubles) end(kind v3.Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cause := t.of[kind]; t.over(kind) {
		t.log.Info("datastore: works again", "kind", kind, "was", cause)
	}
}

// over tells whether the cause of a kind holds up nobody any more. The caller holds mu.
func (t *troubles) over(kind v3.Kind) bool {
	cause, ok := t.of[kind]
	if !ok {
		return false
	}
	delete(t.of, kind)
	if t.kinds[cause]--; t.kinds[cause] > 0 {
		return false
	}
	delete(t.kinds, cause)
	return true
}
