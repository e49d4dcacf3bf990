package kube

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/felid-net/felid/datastore"
)

// rawEvent is one event of a watch.
type rawEvent struct {
	gone     bool
	raw      []byte // the object, the last there was of one that is gone; nil: only the revision moved on
	revision string // after it
}

// maxSilence bounds how long a watch that brings nothing, and by all signs has nothing to bring, is left alone.
const maxSilence = 10 * time.Minute

// watch hands the events of a resource after a revision to each, whose bytes are valid during the call only. The first has no object: it
// says that the server watches. It returns nil where the watch is to be opened again at once from the last revision: the server ended it in
// good order, or it was silent for so long that it may be stuck. Else the error is that of ctx or of each, ErrExpired where only a list
// helps, or another, after which it is worth a try again later.
func (c *client) watch(ctx context.Context, r *resource, revision string, each func(rawEvent) error) error {
	suspect := false
	c.withLine(r, func(l *line) { suspect, l.suspect = l.suspect, true })
	if suspect {
		if err := c.checkHistory(ctx, r, revision); err != nil {
			return err
		}
	}
	w := &watching{client: c, resource: r, each: each, lasting: c.times.watching + rand.N(c.times.watching)}
	return w.run(ctx, revision)
}

// checkHistory tells by ErrExpired that the server is at an earlier revision than one that was seen of it: its data was restored from a
// backup, or lost. A watch from a revision to come would be silent until then, and leave out what came meanwhile.
func (c *client) checkHistory(ctx context.Context, r *resource, revision string) error {
	raw, err := c.do(ctx, &call{verb: "list", resource: r, query: url.Values{"limit": {"1"}}})
	if err != nil {
		return err
	}
	var now string
	if r.protobuf {
		var meta metav1.ListMeta
		if err := meta.Unmarshal(protobufField(withoutEnvelope(raw), listMetadata)); err != nil {
			return fmt.Errorf("list %s: %w: %w", r, datastore.ErrUnreachable, err)
		}
		now = meta.ResourceVersion
	} else {
		_, _, now = metaOf(raw)
	}
	if earlier(now, revision) {
		return fmt.Errorf("%w: %s: the server is at revision %s, and was at %s before", datastore.ErrExpired, r, now, revision)
	}
	return nil
}

// earlier compares revisions, which are numbers that grow; one that is no number is not earlier.
func earlier(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}

// watching is one watch.
type watching struct {
	client   *client
	resource *resource
	each     func(rawEvent) error
	lasting  time.Duration
	heard    bool
	mine     error // of each
}

func (w *watching) run(ctx context.Context, revision string) error {
	var silence time.Duration
	w.client.withLine(w.resource, func(l *line) { silence = l.silence })
	guarded, alarm := w.client.guard(ctx, w.client.times.call)
	defer alarm.stop()
	began := time.Now()
	k := &call{verb: "watch", resource: w.resource, query: url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {revision},
		"timeoutSeconds": {strconv.Itoa(max(1, int(w.lasting.Seconds())))},
	}}
	body, err := w.client.open(guarded, k)
	if err != nil {
		return err
	}
	defer body.Close()
	handle := func(e rawEvent) error {
		alarm.pause()
		defer alarm.restart(silence)
		w.mine = w.each(e)
		return w.mine
	}
	if err := handle(rawEvent{revision: revision}); err != nil {
		return err
	}
	if w.resource.protobuf {
		err = w.protobufEvents(k, body, handle)
	} else {
		err = w.jsonEvents(k, body, handle)
	}
	return w.ended(ctx, guarded, k, err, time.Since(began))
}

// ended judges the end of a watch.
func (w *watching) ended(ctx, guarded context.Context, k *call, err error, lasted time.Duration) error {
	silent := errors.Is(context.Cause(guarded), errSilent)
	inOrder := errors.Is(err, io.EOF) && !silent && lasted >= w.lasting-time.Second
	w.client.withLine(w.resource, func(l *line) {
		l.suspect = !inOrder
		switch {
		case w.heard:
			l.silence = w.client.times.silence
		case silent:
			l.silence = min(2*l.silence, maxSilence)
		}
	})
	var f *failure
	switch {
	case ctx.Err() != nil:
		return broken(ctx, k, err)
	case w.mine != nil:
		return w.mine
	case errors.As(err, &f):
		return err
	case silent:
		w.client.log.Debug("API server: nothing heard on a watch for long: opening it anew", "resource", w.resource)
		return nil
	case errors.Is(err, io.EOF) && (inOrder || w.heard || lasted > time.Second):
		return nil
	}
	return broken(guarded, k, err)
}

// jsonEvents reads events until an error; io.EOF is the end.
func (w *watching) jsonEvents(k *call, body io.Reader, handle func(rawEvent) error) error {
	in := json.NewDecoder(body)
	var event struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	for {
		event.Object = event.Object[:0]
		if err := in.Decode(&event); err != nil {
			return err
		}
		if event.Type == watch.Error {
			return endOfWatch(k, event.Object)
		}
		_, _, revision := metaOf(event.Object)
		if err := w.event(event.Type, trim(event.Object), revision, handle); err != nil {
			return err
		}
	}
}

// protobufEvents reads events until an error; io.EOF is the end.
func (w *watching) protobufEvents(k *call, body io.Reader, handle func(rawEvent) error) error {
	in := protobufReader{in: bufio.NewReader(body)}
	for {
		var size [protobufWatched]byte
		if _, err := io.ReadFull(in.in, size[:]); err != nil {
			return err
		}
		event, err := in.bytes(uint64(binary.BigEndian.Uint32(size[:])))
		if err != nil {
			return err
		}
		encoded := protobufField(protobufField(event, watchObject), extensionRaw)
		kind := watch.EventType(protobufField(event, watchType))
		if kind == watch.Error {
			return endOfWatch(k, encoded)
		}
		object := withoutEnvelope(encoded)
		if err := w.event(kind, object, protobufRevision(object), handle); err != nil {
			return err
		}
	}
}

// event hands one event on.
func (w *watching) event(kind watch.EventType, object []byte, revision string, handle func(rawEvent) error) error {
	if revision == "" {
		return fmt.Errorf("an event %q of %s without a revision", kind, w.resource)
	}
	w.heard = true
	switch kind {
	case watch.Bookmark:
		return handle(rawEvent{revision: revision})
	case watch.Added, watch.Modified, watch.Deleted:
		return handle(rawEvent{gone: kind == watch.Deleted, raw: object, revision: revision})
	}
	return fmt.Errorf("an event of %s of an unknown type %q", w.resource, kind)
}

// endOfWatch is the error that a server ends a watch with.
func endOfWatch(k *call, object []byte) error {
	code := http.StatusInternalServerError
	if status := statusOf(object); status != nil && status.Code != 0 {
		code = int(status.Code)
	}
	return refused(k, code, nil, object)
}
