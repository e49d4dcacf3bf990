package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// upstream is the API server.
type upstream interface {
	// list pages through a resource in a namespace ("": all) and hands each object's own bytes (a protobuf message without envelope where the resource is
	// read in protobuf, else JSON) to each as they arrive; they are valid during the call alone. It calls fresh, if not nil, before every attempt, the first
	// included: what was gathered is to be thrown away.
	list(ctx context.Context, r *resource, namespace string, fresh func(), each func(raw []byte) error) (revision string, err error)
	// watch calls each for every event after a revision until ctx ends or an error; nil: watch again from the last revision.
	watch(ctx context.Context, r *resource, revision string, each func(e rawEvent) error) error
	get(ctx context.Context, r *resource, namespace, name string) (raw []byte, err error)
	// patchStatus merges a JSON patch into an object's status subresource, and returns the object.
	patchStatus(ctx context.Context, r *resource, namespace, name string, patch []byte) (raw []byte, err error)
}

// decoded is what an object of a resource is to the views.
type decoded struct {
	name   objectName
	object v3.Object // nil: it is there, and nothing to them
	faults []datastore.Fault
	lossy  bool // of a stored kind: it has something that the decoder has no place for
	// err says that it can't be read; what was known of it stays. The name is given as far as it is known.
	err error
}

// sink takes what a source finds. Calls come one after the other.
type sink interface {
	put(d *decoded)
	gone(name objectName)
}

// source follows one resource of the API server for all that need it: it lists it, watches it from there, goes on from the last revision when a
// watch ends, and lists again only when that is too old; then only what differs matters, as sinks compare. What it has told of stays through
// outages. It is there even while the server can't be reached.
type source struct {
	resource *resource
	kinds    []v3.Kind
	up       upstream
	decode   func(raw []byte) decoded
	ordered  bool // a list is taken in the order of its objects' revisions, as events are
	optional bool // a server that does not have the resource has none of its objects
	sinks    []sink
	o        *viewOptions
	causes   *causes

	// Of the goroutine that runs it.
	known      map[objectName]uint32 // the pass in which an object was seen last
	pass       uint32
	doubt      doubt
	failures   int // calls in a row
	expired    int
	doubtTries int

	mu       sync.Mutex
	revision string // to watch from; "": list first
	health   SourceHealth
	synced   chan struct{} // closed after the first list
	failed   chan struct{} // closed after the first failure, until then
	started  bool
	doubting bool
	err      error  // why it is not synced, or does not hear anything
	joins    *joins // nil: nobody may join
}

func newSource(r *resource, up upstream, decode func([]byte) decoded, o *viewOptions, c *causes, kinds ...v3.Kind) *source {
	return &source{
		resource: r, kinds: kinds, up: up, decode: decode, o: o, causes: c, known: map[objectName]uint32{},
		health: SourceHealth{Resource: r.String(), Kinds: kinds}, synced: make(chan struct{}), failed: make(chan struct{}),
	}
}

// ready waits for the first list. Where that fails, it says why, while the source goes on trying: at once the first time, and then after a while, in
// which it may be ready.
func (s *source) ready(ctx context.Context) error {
	s.mu.Lock()
	failed, standing := s.failed, s.err != nil
	s.mu.Unlock()
	if standing {
		select {
		case <-s.synced:
		case <-ctx.Done():
		case <-time.After(lastDelay):
		}
	}
	select {
	case <-s.synced:
		return nil
	default:
	}
	select {
	case <-s.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-failed:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	}
}

// run follows the resource until ctx ends.
func (s *source) run(ctx context.Context) {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := time.Duration(0)
		switch {
		case err == nil:
		case s.optional && errors.Is(err, datastore.ErrNotServed): // the list says it
		case errors.Is(err, errAbsent):
			pause = s.o.AbsentPause
		case errors.Is(err, datastore.ErrExpired): // no outage: it lists again
			if s.expired++; s.expired > 1 { // and nothing was delivered since
				pause = s.o.delay(s.expired, err)
			}
		default:
			if s.failures > 0 || !s.health.Synced { // else it may be a connection that broke, and is nothing if the next one holds
				s.fail(err)
			}
			pause = s.o.delay(s.failures, err)
			s.failures++
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// follow lists, where that is needed, and watches once.
func (s *source) follow(ctx context.Context) error {
	if s.revision == "" {
		if err := s.list(ctx); err != nil {
			return err
		}
	}
	watching, cancel := ctx, context.CancelFunc(func() {})
	doubted := !s.doubt.since.IsZero()
	if doubted { // ask again before long
		s.doubtTries++
		watching, cancel = context.WithTimeout(ctx, min(s.o.delay(s.doubtTries, nil), s.o.Patience/4+time.Millisecond))
	}
	defer cancel()
	err := s.up.watch(watching, s.resource, s.revision, s.event)
	if errors.Is(err, datastore.ErrExpired) || errors.Is(err, datastore.ErrNotServed) || doubted && ctx.Err() == nil {
		s.mu.Lock()
		s.revision = ""
		s.mu.Unlock()
	}
	if watching.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// list takes the whole of a resource, as far as it is to be believed.
func (s *source) list(ctx context.Context) error {
	known := len(s.known)
	var later []decoded
	revision, err := s.up.list(ctx, s.resource, "", func() { s.pass, later = s.pass+1, nil }, func(raw []byte) error {
		if d := s.decode(raw); s.ordered {
			later = append(later, d)
		} else {
			s.take(&d)
		}
		return nil
	})
	absent := s.optional && errors.Is(err, datastore.ErrNotServed)
	if absent {
		s.pass++
	} else if err != nil {
		return err
	}
	s.takeInOrder(later)
	var lost []objectName
	for name, pass := range s.known {
		if pass != s.pass {
			lost = append(lost, name)
		}
	}
	believed := s.doubt.believe(known, len(lost), revision, s.o.now(), s.o.Patience)
	if believed {
		for _, name := range lost {
			s.drop(name)
		}
		lost, s.doubtTries = nil, 0
	}
	s.listed(revision, known, len(lost))
	if absent {
		return errAbsent
	}
	return nil
}

// takeInOrder gives objects to the sinks in the order of their revisions.
func (s *source) takeInOrder(all []decoded) {
	number := func(d *decoded) (n uint64) {
		if d.object != nil {
			n, _ = strconv.ParseUint(d.object.GetResourceVersion(), 10, 64)
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b decoded) int { return cmp.Compare(number(&a), number(&b)) })
	for i := range all {
		s.take(&all[i])
	}
}

// errAbsent has an optional resource that is not there be looked for again.
var errAbsent = errors.New("the server does not have the resource")

// take gives an object to the sinks.
func (s *source) take(d *decoded) {
	if d.name != (objectName{}) {
		s.known[d.name] = s.pass
	}
	for _, sink := range s.sinks {
		sink.put(d)
	}
}

// drop takes an object from the sinks.
func (s *source) drop(name objectName) {
	delete(s.known, name)
	for _, sink := range s.sinks {
		sink.gone(name)
	}
}

// event takes one event of a watch.
func (s *source) event(e rawEvent) error {
	var d decoded
	if e.raw != nil {
		if d = s.decode(e.raw); e.gone {
			s.drop(d.name)
		} else {
			s.take(&d)
		}
	}
	if e.raw != nil || e.revision != s.revision { // more than that the server watches
		s.failures, s.expired = 0, 0
	}
	s.doubt.seen(e.revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.raw != nil && s.joins != nil {
		s.joins.add(s.joins.eventOf(&d, e))
	}
	s.revision = e.revision
	s.heard()
	return nil
}

// listed notes that a list has been taken, of which so many objects are kept in doubt.
func (s *source) listed(revision string, known, doubted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = revision
	if s.joins != nil {
		s.joins.reset(revision)
	}
	s.health.Doubted = doubted
	s.heard()
	s.sayDoubt(known)
	select {
	case <-s.synced:
	default:
		s.health.Synced = true
		close(s.synced)
	}
}

// sayDoubt logs that a doubt begins or ends. The caller holds mu.
func (s *source) sayDoubt(known int) {
	about, doubting := "doubt "+s.resource.plural, s.health.Doubted > 0
	if doubting {
		s.health.Err = fmt.Sprintf("the server lists %d fewer %s than the %d known; they are kept until it has said so for %s",
			s.health.Doubted, s.resource.plural, known, s.o.Patience)
	}
	switch {
	case doubting && !s.doubting:
		s.causes.begin(about, errors.New(s.health.Err))
	case !doubting && s.doubting:
		s.causes.end(about)
	}
	s.doubting = doubting
}

// heard notes that the server answers. The caller holds mu.
func (s *source) heard() {
	s.health.Since = s.o.now()
	if s.err != nil {
		s.err = nil
		s.failed = make(chan struct{})
		s.causes.endOf(s)
	}
	if s.health.Doubted == 0 {
		s.health.Err = ""
	}
}

// fail notes that it does not.
func (s *source) fail(err error) {
	if errors.Is(err, errAbsent) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		close(s.failed)
	}
	s.err = fmt.Errorf("%s: %w", s.resource.plural, err)
	s.health.Err = s.err.Error()
	if s.failures >= briefRefusals || !s.health.Synced || !errors.Is(err, datastore.ErrForbidden) {
		s.causes.beginOf(s, s.err)
	}
}

// briefRefusals are how many times a call may be forbidden that was allowed before until it is logged: a server that has just started refuses
// everybody until it has read its roles.
const briefRefusals = 4

// report is the source's health as of now; started is false where nobody has asked for it yet.
func (s *source) report() (health SourceHealth, started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health, s.started
}
