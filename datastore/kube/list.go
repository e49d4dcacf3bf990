package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/datastore"
)

const (
	// pageSize is how many objects are asked for at once. The server makes a page as a whole before it sends it.
	pageSize = 500
	// maxPaged is how often a list is begun in pages: one that is so long that its pages expire meanwhile is asked for as a whole then.
	maxPaged = 2
)

// list hands the objects of a resource to each, as they come off the wire, as of one revision, which it returns. Their bytes are valid
// during the call only. fresh, if not nil, is called before every attempt, the first included.
func (c *client) list(ctx context.Context, r *resource, namespace string, fresh func(), each func(raw []byte) error) (string, error) {
	for attempt := 0; ; attempt++ {
		if fresh != nil {
			fresh()
		}
		limit := pageSize
		if attempt >= maxPaged {
			limit = 0
		}
		revision, err := c.pages(ctx, r, namespace, limit, each)
		if !errors.Is(err, datastore.ErrExpired) || limit == 0 {
			return revision, err
		}
		c.log.Debug("list begins anew", "resource", r, "error", err)
	}
}

// pages reads one page after the other. All are of the revision of the first.
func (c *client) pages(ctx context.Context, r *resource, namespace string, limit int, each func(raw []byte) error) (string, error) {
	query := url.Values{}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	for {
		meta, err := c.page(ctx, &call{verb: "list", resource: r, namespace: namespace, query: query}, each)
		if err != nil {
			return "", err
		}
		if meta.Continue == "" {
			return meta.ResourceVersion, nil
		}
		query.Set("continue", meta.Continue)
	}
}

// page reads one answer to a list. However long it is, it may not stand still.
func (c *client) page(ctx context.Context, k *call, each func(raw []byte) error) (metav1.ListMeta, error) {
	guarded, alarm := c.guard(ctx, c.times.call)
	defer alarm.stop()
	body, err := c.open(guarded, k)
	if err != nil {
		return metav1.ListMeta{}, err
	}
	defer body.Close()
	var mine error // of each, not of the answer
	item := func(raw []byte) error {
		alarm.pause()
		defer alarm.restart(c.times.call)
		mine = each(raw)
		return mine
	}
	var meta metav1.ListMeta
	if k.resource.protobuf {
		meta, err = protobufList(body, item)
	} else {
		meta, err = jsonList(body, item)
	}
	if err != nil && mine == nil {
		err = broken(guarded, k, err)
	}
	return meta, err
}

// jsonList reads a list as it comes: each is given the JSON of every item, valid during the call only.
func jsonList(body io.Reader, each func(raw []byte) error) (metav1.ListMeta, error) {
	var meta metav1.ListMeta
	in := json.NewDecoder(body)
	if err := expect(in, json.Delim('{')); err != nil {
		return meta, err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return meta, err
		}
		switch name {
		case "metadata":
			err = in.Decode(&meta)
		case "items":
			err = jsonItems(in, each)
		default:
			var other json.RawMessage
			err = in.Decode(&other)
		}
		if err != nil {
			return meta, noEOF(err)
		}
	}
	return meta, noEOF(expect(in, json.Delim('}')))
}

func jsonItems(in *json.Decoder, each func(raw []byte) error) error {
	start, err := in.Token()
	if err != nil || start == nil { // null: an empty list
		return err
	}
	if start != json.Delim('[') {
		return fmt.Errorf("items of a list: %v instead of a list", start)
	}
	var raw json.RawMessage
	for in.More() {
		if err := in.Decode(&raw); err != nil {
			return err
		}
		if err := each(trim(raw)); err != nil {
			return err
		}
	}
	return expect(in, json.Delim(']'))
}

func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v instead of %v", got, want)
	}
	return err
}

// alarm ends a context unless it is put off.
type alarm struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// errSilent is the cause of an end by an alarm.
var errSilent = fmt.Errorf("%w: nothing heard for too long", datastore.ErrUnreachable)

// guard makes a context that an alarm ends.
func (c *client) guard(ctx context.Context, after time.Duration) (context.Context, *alarm) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &alarm{timer: time.AfterFunc(after, func() { cancel(errSilent) }), cancel: cancel}
}

func (a *alarm) pause()                      { a.timer.Stop() }
func (a *alarm) restart(after time.Duration) { a.timer.Reset(after) }

func (a *alarm) stop() {
	a.timer.Stop()
	a.cancel(nil)
}
