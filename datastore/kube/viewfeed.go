package kube

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// collection holds the objects of a kind of view, each with the number of its last change.
type collection interface {
	object(key v3.Key) v3.Object // nil: there is none
	numbers() iter.Seq2[v3.Key, uint64]
}

// feed numbers the changes of a collection, in the order in which they came, and delivers them to watches. Revisions of lists are of one feed:
// "BOOT.NUMBER". Its lock is that of the collection too.
type feed struct {
	kind    v3.Kind
	boot    string
	content collection

	mu         sync.Mutex
	number     uint64
	tombstones []tombstone
	forgotten  uint64 // the number of the last tombstone that is not kept any more
	watches    map[*feedWatch]bool
	faults     func() []datastore.Fault // called with mu held
	done       chan struct{}
}

// tombstone is an object that went.
type tombstone struct {
	number uint64
	key    v3.Key
}

const (
	// keptTombstones is how many deletions a watch may be behind when it begins.
	keptTombstones = 10000
	// maxBehind is how many events a watch may be behind before it ends with ErrExpired.
	maxBehind = 1 << 17
)

func newFeed(kind v3.Kind, content collection) *feed {
	return &feed{
		kind: kind, boot: rand.Text()[:8], content: content, watches: map[*feedWatch]bool{}, done: make(chan struct{}),
		faults: func() []datastore.Fault { return nil },
	}
}

// changed numbers a change and delivers it. The caller holds mu, and has the collection as it is after the change, but for the number.
func (f *feed) changed(key v3.Key, gone bool) uint64 {
	f.number++
	if gone {
		f.tombstones = append(f.tombstones, tombstone{f.number, key})
		if len(f.tombstones) > 2*keptTombstones {
			f.forgotten = f.tombstones[keptTombstones-1].number
			f.tombstones = slices.Clone(f.tombstones[keptTombstones:])
		}
	}
	for w := range f.watches {
		w.put(key)
	}
	return f.number
}

// faultsChanged delivers the faults. The caller holds mu.
func (f *feed) faultsChanged() {
	for w := range f.watches {
		w.faulty = true
		w.ring()
	}
}

// list makes the objects of a namespace, or of all.
func (f *feed) list(namespace string) datastore.List {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []v3.Key
	for key := range f.content.numbers() {
		if namespace == "" || key.Namespace == namespace {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b v3.Key) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	list := datastore.List{Revision: fmt.Sprintf("%s.%d", f.boot, f.number), Objects: make([]v3.Object, len(keys)), Faults: f.faults()}
	for i, key := range keys {
		list.Objects[i] = f.content.object(key)
	}
	return list
}

// feedWatch is one Watch. It remembers which objects changed, in the order of their last changes, not what they were: a receiver that is slow gets
// the latest.
type feedWatch struct {
	wake chan struct{}

	// All below under the feed's lock.
	queue  []v3.Key       // the zero Key where one was that has changed again since
	place  map[v3.Key]int // in queue, from the first that was ever in it
	taken  int            // how many of them are not in it any more
	faulty bool
	behind bool
}

func (w *feedWatch) put(key v3.Key) {
	if w.behind {
		return
	}
	if at, ok := w.place[key]; ok {
		w.queue[at-w.taken] = v3.Key{}
	}
	if len(w.queue) >= maxBehind {
		w.queue, w.place, w.behind = nil, nil, true
	} else {
		w.place[key] = w.taken + len(w.queue)
		w.queue = append(w.queue, key)
	}
	w.ring()
}

func (w *feedWatch) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// burst is how many events are made at once.
const burst = 256

// take makes the next events; none: there is nothing to deliver.
func (f *feed) take(w *feedWatch) []datastore.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.behind {
		return []datastore.Event{{Err: fmt.Errorf("%s: more than %d events behind: %w", f.kind, maxBehind, datastore.ErrExpired)}}
	}
	n := min(len(w.queue), burst)
	events := make([]datastore.Event, 0, n+1)
	for _, key := range w.queue[:n] {
		if key != (v3.Key{}) {
			delete(w.place, key)
			events = append(events, datastore.Event{Key: key, Object: f.content.object(key)})
		}
	}
	w.taken += n
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue = nil
	}
	if w.faulty {
		w.faulty = false
		events = append(events, datastore.Event{Faults: append([]datastore.Fault{}, f.faults()...)})
	}
	return events
}

// more tells whether there is something to take.
func (f *feed) more(w *feedWatch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(w.queue) > 0
}

// watch delivers what changes after a revision.
func (f *feed) watch(ctx context.Context, revision string) (<-chan datastore.Event, error) {
	boot, text, _ := strings.Cut(revision, ".")
	after, err := strconv.ParseUint(text, 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || boot != f.boot || after < f.forgotten {
		return nil, fmt.Errorf("watching %s after %q: %w", f.kind, revision, datastore.ErrExpired)
	}
	w := &feedWatch{wake: make(chan struct{}, 1), place: map[v3.Key]int{}}
	for _, key := range f.since(after) {
		w.put(key)
	}
	if after < f.number {
		w.faulty = true
	}
	f.watches[w] = true
	events := make(chan datastore.Event, 128) // of a burst, one is not waited for after each
	go f.follow(ctx, w, events)
	return events, nil
}

// since are the keys that changed after a number, in order.
func (f *feed) since(after uint64) []v3.Key {
	if after >= f.number {
		return nil
	}
	var missed []tombstone
	for key, number := range f.content.numbers() {
		if number > after {
			missed = append(missed, tombstone{number, key})
		}
	}
	at, _ := slices.BinarySearchFunc(f.tombstones, after+1, func(t tombstone, n uint64) int { return cmp.Compare(t.number, n) })
	missed = append(missed, f.tombstones[at:]...)
	slices.SortFunc(missed, func(a, b tombstone) int { return cmp.Compare(a.number, b.number) })
	keys := make([]v3.Key, len(missed))
	for i := range missed {
		keys[i] = missed[i].key
	}
	return keys
}

// follow sends what a watch has until ctx or the feed ends.
func (f *feed) follow(ctx context.Context, w *feedWatch, out chan<- datastore.Event) {
	defer close(out)
	defer func() {
		f.mu.Lock()
		delete(f.watches, w)
		f.mu.Unlock()
	}()
	for {
		events := f.take(w)
		for _, event := range events {
			select {
			case out <- event:
			case <-ctx.Done():
				return
			case <-f.done:
				return
			}
			if event.Err != nil {
				return
			}
		}
		if len(events) > 0 || f.more(w) {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		case <-f.done:
			select {
			case out <- datastore.Event{Err: fmt.Errorf("watching %s: the datastore is closed: %w", f.kind, datastore.ErrUnreachable)}:
			case <-ctx.Done():
			default:
			}
			return
		}
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
}
