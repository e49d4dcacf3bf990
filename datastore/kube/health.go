package kube

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// SourceHealth says how old what is known of one resource is.
type SourceHealth struct {
	Resource string
	Kinds    []v3.Kind
	Synced   bool      // it has been listed
	Since    time.Time // when the server was last heard of it
	Err      string    // why it is not heard now; "": it is
	Doubted  int       // objects that the server does not list any more, and that are not believed to be gone yet
}

// pulses are the resources that are read as they are stored, and whether the server is heard of them.
type pulses struct {
	causes *causes
	now    func() time.Time

	mu sync.Mutex
	of map[v3.Kind]*pulse
}

// pulse is one of them. What is wrong with one that is not watched is logged by whoever lists it.
type pulse struct {
	health  SourceHealth
	watches int
	cause   string // as it was logged; "" none
}

func newPulses(c *causes, now func() time.Time) *pulses {
	return &pulses{causes: c, now: now, of: map[v3.Kind]*pulse{}}
}

// with calls f with the pulse of a resource, which stays if it is watched or has something to say.
func (p *pulses) with(kind v3.Kind, r *resource, f func(*pulse)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[kind]
	if at == nil {
		at = &pulse{health: SourceHealth{Resource: r.String(), Kinds: []v3.Kind{kind}, Since: p.now()}}
		p.of[kind] = at
	}
	f(at)
	if at.watches == 0 && at.health.Err == "" {
		delete(p.of, kind)
	}
}

// watched counts watches, by one more or less.
func (p *pulses) watched(kind v3.Kind, r *resource, by int) {
	p.with(kind, r, func(at *pulse) {
		at.watches += by
		if at.watches == 0 { // nobody is told that it is heard again
			p.over(at)
		}
	})
}

// heard notes that the server answers.
func (p *pulses) heard(kind v3.Kind, r *resource) {
	p.with(kind, r, func(at *pulse) {
		at.health.Since, at.health.Synced, at.health.Doubted = p.now(), true, 0
		p.over(at)
	})
}

// over ends what was wrong. The caller holds mu.
func (p *pulses) over(at *pulse) {
	if at.cause != "" {
		p.causes.end(at.cause)
	}
	at.cause, at.health.Err = "", ""
}

// lost notes that it does not, or not to be believed: doubted objects are missing.
func (p *pulses) lost(kind v3.Kind, r *resource, err error, doubted int) {
	p.with(kind, r, func(at *pulse) {
		at.health.Err, at.health.Doubted = err.Error(), doubted
		cause := causeOf(r, err)
		if doubted > 0 {
			cause = "doubt " + r.plural
		}
		if at.cause == cause || at.watches == 0 {
			return
		}
		if at.cause != "" {
			p.causes.end(at.cause)
		}
		at.cause = cause
		p.causes.begin(cause, err)
	})
}

// causeOf is what one line in the log is written about: the server where all resources share the trouble, else the resource.
func causeOf(r *resource, err error) string {
	if errors.Is(err, datastore.ErrUnreachable) {
		return unreachable
	}
	return r.plural
}

// list is the health of all, by resource.
func (p *pulses) list() []SourceHealth {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []SourceHealth
	for _, at := range p.of {
		all = append(all, at.health)
	}
	slices.SortFunc(all, func(a, b SourceHealth) int { return strings.Compare(a.Resource, b.Resource) })
	return all
}

// outages are the kinds that are not heard of, each once: where several resources that it is made of are not, since the longest ago.
func outages(all []SourceHealth) []datastore.Outage {
	var out []datastore.Outage
	for _, h := range all {
		if h.Err == "" {
			continue
		}
		for _, kind := range h.Kinds {
			o := datastore.Outage{Kind: kind, Since: h.Since, Reason: h.Err}
			switch i := slices.IndexFunc(out, func(x datastore.Outage) bool { return x.Kind == kind }); {
			case i < 0:
				out = append(out, o)
			case o.Since.Before(out[i].Since):
				out[i] = o
			}
		}
	}
	return out
}
