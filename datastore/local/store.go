package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Options of Open; the zero value is of use.
type Options struct {
	// Log gets what is wrong with the directory, and nothing else; nil: nothing is logged.
	Log *slog.Logger
	// CompareInterval is how often the directory is listed and compared; 0: each minute.
	CompareInterval time.Duration
}

// privateDir holds the lock and temporary files.
const privateDir = ".felid"

// settleTime is how long a file that may still be being written must be quiet before it is taken as it is.
const settleTime = 60 * time.Millisecond

// Store is a datastore.Store in a directory.
type Store struct {
	dir  string
	o    Options
	boot string // revisions of lists are of one Store: "BOOT.NUMBER"

	writing sync.Mutex // of this process; lock is that of the machine
	lock    *os.File

	calls atomic.Int64 // that want what is there now

	mu      sync.Mutex // all below
	scanned bool
	// scannedFor are the calls that had begun when the scan did.
	scannedFor int64
	index      index
	fresh      map[string]*contents // files decoded by the scan, until they have been listed
	watches    map[*watch]bool
	// bursting: more notices are being handled; receivers are woken after the last of them.
	bursting bool
	dirs     map[string]bool // watched by notify
	notify   *fsnotify.Watcher
	events   []fsnotify.Event // of a burst; of the goroutine that handles notices alone
	pending  chan string      // files to be looked at when they are quiet
	lost     chan struct{}    // holds one when notices were lost
	closed   bool
	done     chan struct{}
	ended    sync.WaitGroup
}

var _ datastore.Store = (*Store)(nil)

// Open opens a directory, and makes it if need be. Nothing is read before the first call.
func Open(dir string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.CompareInterval = cmp.Or(o.CompareInterval, time.Minute)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("local datastore %s: %w", dir, err)
	}
	if err := os.MkdirAll(filepath.Join(absolute, privateDir), 0o755); err != nil {
		return nil, fmt.Errorf("local datastore: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(absolute, privateDir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("local datastore: %w", err)
	}
	return &Store{
		dir: absolute, o: o, boot: rand.Text()[:8], lock: lock,
		index: newIndex(), watches: map[*watch]bool{}, dirs: map[string]bool{}, done: make(chan struct{}),
	}, nil
}

// Close ends all watches.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	var err error
	if s.notify != nil && s.notify.Events != nil {
		err = s.notify.Close()
	}
	s.mu.Unlock()
	s.ended.Wait()
	return errors.Join(err, s.lock.Close())
}

// enter takes mu, and scans the directory the first time.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	var err error
	switch {
	case s.closed:
		err = fmt.Errorf("local datastore %s is closed: %w", s.dir, datastore.ErrUnreachable)
	case !s.scanned:
		err = s.scan()
	}
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// Foreign counts the objects of the directory that felid has no use for, by "apiVersion kind".
func (s *Store) Foreign(ctx context.Context) (map[string]int, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	counts := map[string]int{}
	for _, f := range s.index.files {
		for name, n := range f.foreign {
			counts[name] += n
		}
	}
	return counts, nil
}

// Get implements datastore.Store. What it returns is what was there when the call began: it reads the object's file, and looks where else
// it may have been written.
func (s *Store) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	if s.find(key); s.index.entry(key) == nil {
		s.mu.Unlock()
		kind := key.Kind
		if records[kind] {
			kind = "" // felid alone writes them, and there are many
		}
		if _, err := s.enterCompared(ctx, kind); err != nil {
			return nil, err
		}
	}
	defer s.mu.Unlock()
	return s.get(key)
}

// records are kinds that nobody but felid writes.
var records = map[v3.Kind]bool{v3.KindWorkloadEndpoint: true, v3.KindIPAMBlock: true, v3.KindIPAMHandle: true, v3.KindBlockAffinity: true}

// find takes in what somebody else may have just written of an object, where felid writes it. The caller holds mu.
func (s *Store) find(key v3.Key) {
	s.findIn(pathOf(key))
	if key.Kind != v3.KindWorkloadEndpoint {
		return
	}
	pod := key
	if main, _ := s.index.choose(key); main != nil && main.pod != "" {
		pod = podKeyOf(key, main.pod)
	}
	s.findIn(rawPath("Pod " + pod.Namespace + "/" + pod.Name))
}

// findIn takes in a file that is not known yet. A known one is read by whoever composes the object.
func (s *Store) findIn(path string) {
	if s.index.files[path] == nil {
		s.sync(path, true)
	}
}

func (s *Store) get(key v3.Key) (v3.Object, error) {
	l := s.loader()
	if o, _ := s.compose(key, l); o != nil {
		return o, nil
	}
	if s.index.entry(key) == nil {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	for _, f := range s.index.faults(key.Kind) {
		if f.Key == key {
			return nil, fmt.Errorf("%s: %w: %s", key, datastore.ErrInvalid, f)
		}
	}
	return nil, fmt.Errorf("%s: %w: its file is being changed", key, datastore.ErrConflict)
}

// List implements datastore.Store. What it returns is what was there when the call began: it compares the kind's files with what is known,
// and reads them again, but for those that are as the first scan decoded them.
func (s *Store) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	since, err := s.enterCompared(ctx, kind)
	if err != nil {
		return datastore.List{}, err
	}
	defer s.mu.Unlock()
	list := datastore.List{Revision: s.revision()}
	keys := make([]v3.Key, 0, len(s.index.entries[kind]))
	for key := range s.index.entries[kind] {
		if namespace == "" || key.Namespace == namespace {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	list.Objects = make([]v3.Object, 0, len(keys))
	l := s.loader()
	l.fresh, l.since = true, since
	for _, key := range keys {
		if o, _ := s.compose(key, l); o != nil {
			list.Objects = append(list.Objects, o)
		}
	}
	list.Faults = s.index.faults(kind)
	if namespace == "" {
		s.forget(kind)
	}
	return list, nil
}

// revision is what a Watch may go on from.
func (s *Store) revision() string { return fmt.Sprintf("%s.%d", s.boot, s.index.number) }

// loader reads files, each once; with fresh, it takes what the scan decoded of those that were compared since.
type loader struct {
	*Store
	read  map[string]*contents
	fresh bool
	since uint64
}

func (s *Store) loader() *loader { return &loader{Store: s, read: map[string]*contents{}} }

// file reads and decodes a file, and brings the index in line with it; nil: it is gone or can't be read.
func (l *loader) file(path string) *contents {
	c, ok := l.read[path]
	if !ok {
		if f := l.index.files[path]; l.fresh && f != nil && f.compared >= l.since {
			c = l.Store.fresh[path]
		}
		if c == nil {
			c = l.sync(path, true)
		}
		l.read[path] = c
	}
	return c
}

// object is the object of a place; nil where the file has another one now.
func (l *loader) object(key v3.Key, p *place) v3.Object {
	if p == nil || p.stale {
		return nil
	}
	it := l.file(p.path).find(key, p)
	if it != nil && it.object == nil { // decoded by the scan, and handed out since
		delete(l.Store.fresh, p.path)
		l.read[p.path] = l.sync(p.path, true)
		it = l.read[p.path].find(key, p)
	}
	if it == nil {
		return nil
	}
	return it.object
}

// find is the item of a place; c may be nil.
func (c *contents) find(key v3.Key, p *place) *item {
	if c == nil {
		return nil
	}
	for i := range c.items {
		if it := &c.items[i]; it.key == key && it.role == p.role && it.revision == p.revision {
			return it
		}
	}
	return nil
}

// compose reads the object of a key as it is now, and its revision; nil: it is gone or can't be read.
func (s *Store) compose(key v3.Key, l *loader) (v3.Object, string) {
	for range 3 { // reading may show that the files have changed since the index was made
		mainPlace, podPlace := s.index.choose(key)
		if mainPlace == nil && podPlace == nil {
			return nil, ""
		}
		revision := revisionFrom(mainPlace, podPlace)
		podKey := key
		if mainPlace != nil && podPlace != nil {
			podKey = podKeyOf(key, mainPlace.pod)
		}
		wantMain, wantPod := mainPlace != nil, podPlace != nil
		main := l.object(key, mainPlace)
		pod := v3.Object(nil)
		if wantPod {
			_, podPlace = s.index.choose(key)
			pod = l.object(podKey, podPlace)
		}
		if (main != nil) == wantMain && (pod != nil) == wantPod {
			return merge(pod, main, revision), revision
		}
	}
	return nil, ""
}

// sync reads a file and brings the index in line with it, delivering what changed. What it returns are the contents; nil: gone or not
// readable. Where the file may still be being written (final is false), it is left as it was, to be looked at later.
func (s *Store) sync(path string, final bool) *contents {
	began := time.Now()
	data, signature, err := s.readFile(path)
	known := s.index.files[path]
	if errors.Is(err, os.ErrNotExist) {
		switch {
		case known == nil:
		case s.there():
			s.apply(path, nil, nil)
		default: // moved, or a file system that is not mounted now
			s.applyUnreadable(path, signature, errGone)
		}
		return nil
	}
	if err != nil {
		s.applyUnreadable(path, signature, err)
		return nil
	}
	sum := revisionOf(data)
	if known != nil && known.sum == sum {
		known.signature, known.young = signature, signature.young(began)
		if !final { // a notice that tells nothing new
			return nil
		}
		return parse(path, data, false)
	}
	c := parse(path, data, false)
	if c.partial && !final {
		s.later(path)
		return nil
	}
	s.takeEmpty(path, c, known)
	s.apply(path, &file{signature: signature, young: signature.young(began), sum: sum, foreign: c.foreign, faults: faultsOf(path, c)}, c)
	return c
}

// takeEmpty makes a file that has lost all of its objects one that is broken: it is more often being written than meant so.
func (s *Store) takeEmpty(path string, c *contents, known *file) {
	if len(c.docs) == 0 && known != nil && len(known.keys) > 0 {
		c.partial = true
		c.errs = append(c.errs, v3.FieldError{File: path, Line: 1, Problem: "is empty, but held objects", Valid: "their removal with the file's"})
	}
}

// applyUnreadable notes that a file is there but can't be read.
func (s *Store) applyUnreadable(path string, signature signature, err error) {
	c := &contents{partial: true}
	s.apply(path, &file{signature: signature, faults: []datastore.Fault{{File: path, Err: err}}}, c)
}

// faultsOf are the faults of a file. An object that can be judged counts, and what is wrong with its elements is judged by policy; but of a
// field that is unknown and in no rule nobody else knows, and a policy may be meant for fewer by it.
func faultsOf(path string, c *contents) []datastore.Fault {
	var faults []datastore.Fault
	there := map[string]bool{}
	for i := range c.items {
		there[c.items[i].key.String()] = true
	}
	for _, e := range c.errs {
		lost := datastore.LostFromPolicy(keyFrom(e.Object).Kind, &e)
		if e.Warning || there[e.Object] && !lost {
			continue
		}
		f := datastore.Fault{Key: keyFrom(e.Object), File: path, Line: e.Line}
		if _, ok := v3.InfoOf(f.Key.Kind); !ok {
			f.Key = v3.Key{} // a fault of every kind
		}
		if lost {
			e.Problem += ": the policy is in force without it"
		}
		e.File, e.Object = "", ""
		f.Err = e
		faults = append(faults, f)
	}
	return faults
}

// keyFrom reads what v3.Key.String wrote.
func keyFrom(text string) v3.Key {
	kind, name, _ := strings.Cut(text, " ")
	key := v3.Key{Kind: v3.Kind(kind), Name: name}
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		key.Namespace, key.Name = namespace, rest
	}
	return key
}

// apply replaces a file in the index and delivers what changed.
func (s *Store) apply(path string, next *file, c *contents) {
	delete(s.fresh, path)
	var kinds map[v3.Kind]bool
	if before := s.index.files[path]; before != nil {
		kinds = faultKinds(kinds, before.faults)
	}
	var items []item
	partial := false
	if c != nil {
		items, partial = c.items, c.partial
	}
	twice := len(s.index.twice)
	touched := s.index.replace(path, next, items, partial)
	l := s.loader()
	l.read[path] = c
	for _, key := range touched {
		changed, gone := s.index.note(key)
		if changed {
			s.deliver(key, gone, l)
		}
		if twice != len(s.index.twice) {
			twice = len(s.index.twice)
			kinds = faultKinds(kinds, []datastore.Fault{{Key: key}})
		}
	}
	if next != nil {
		kinds = faultKinds(kinds, next.faults)
	}
	s.deliverFaults(kinds)
}

// deliver gives a change to the watches of its kind.
func (s *Store) deliver(key v3.Key, gone bool, l *loader) {
	var event datastore.Event
	for w := range s.watches {
		if w.kind != key.Kind {
			continue
		}
		if event.Key.Name == "" {
			event.Key = key
			if !gone {
				if event.Object, _ = s.compose(key, l); event.Object == nil {
					return // not readable just now: another notice follows
				}
			}
		}
		s.send(w, event)
	}
}

// send puts an event into a watch, and wakes its receiver, but not in the middle of a burst.
func (s *Store) send(w *watch, e datastore.Event) {
	w.put(e)
	if !s.bursting {
		w.ring()
	}
}

// deliverFaults gives watches the faults of their kind.
func (s *Store) deliverFaults(kinds map[v3.Kind]bool) {
	if len(kinds) == 0 {
		return
	}
	for w := range s.watches {
		if kinds[w.kind] || kinds[""] {
			s.send(w, datastore.Event{Faults: s.index.faults(w.kind)})
		}
	}
}
