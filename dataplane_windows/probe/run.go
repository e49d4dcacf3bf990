package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Config of a probe. HNS and Packets must be set.
type Config struct {
	HNS     *hns.Client
	Packets Packets
	Build   int // of Windows
	// HostAddresses are those by which lists know the host (H19); nil: H19 is not tried.
	HostAddresses func() []netip.Addr
	// Networks are the types that the probe's network may have, the first that HNS makes; nil: Internal, then Private, which need no adapter, and
	// disturb none. (The host reaches those of type Internal alone, see H19.)
	Networks []string
	// Settle is how long a list is given to come into force, once it was not at once; 0: 2 seconds.
	Settle time.Duration
	Log    *slog.Logger // nil: none
}

// Run makes the probe's objects, tries every assumption that can be tried, and takes the objects away again. An error says that HNS is not
// there, or that what was made could not be taken away; what else goes wrong is in the Result, which is whole in any case.
func Run(ctx context.Context, c Config) (Result, error) {
	c.defaults()
	version, err := c.HNS.Version()
	if err != nil {
		return untried(c.Build, version, "the version of HNS can't be read: "+err.Error()), err
	}
	r := untried(c.Build, version, "it can't be tried from the node itself")
	if err := c.Packets.Usable(); err != nil {
		return untried(c.Build, version, "packets can't be sent: "+err.Error()), nil
	}
	if err := Clean(c.HNS); err != nil {
		return untried(c.Build, version, "what an earlier probe left can't be taken away: "+err.Error()), err
	}
	s := &session{Config: c, ctx: ctx, result: &r}
	if err := s.setUp(); err != nil {
		r = untried(c.Build, version, "its objects can't be made: "+err.Error())
	} else {
		s.runAll(trials())
		r.Rendered = s.tryRendered()
		c.Log.Info("probe", "lists", string(r.Rendered.Outcome), "detail", r.Rendered.Detail)
	}
	return r, Clean(c.HNS)
}

func (c *Config) defaults() {
	if c.Networks == nil {
		c.Networks = []string{"Internal", "Private"}
	}
	if c.Settle == 0 {
		c.Settle = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// session is one run.
type session struct {
	Config
	ctx    context.Context
	result *Result
	site   *site
	a, b   *end
	// slow: lists are given time before packets are sent.
	slow bool
}

// setUp makes the probe's objects: on the first type of network that HNS makes here, with IPv6 if it takes that.
func (s *session) setUp() (err error) {
	for _, kind := range s.Networks {
		for _, dual := range []bool{true, false} {
			if err = s.setUpOn(kind, dual); err == nil || hns.Unavailable(err) || s.ctx.Err() != nil {
				return err
			}
			s.Log.Info("probe: no network", "type", kind, "bothFamilies", dual, "error", err)
			if err := Clean(s.HNS); err != nil {
				return err
			}
		}
	}
	return err
}

func (s *session) setUpOn(kind string, dual bool) (err error) {
	if s.site, err = makeNetwork(s.HNS, kind, dual); err != nil {
		return err
	}
	if s.a, err = s.site.makeEnd(places[0]); err != nil {
		return err
	}
	if s.b, err = s.site.makeEnd(places[1]); err != nil {
		return err
	}
	if err := s.attach(); err != nil {
		return err
	}
	ends := []End{s.a.at(4), s.b.at(4)}
	if dual {
		ends = append(ends, s.a.at(6), s.b.at(6))
	}
	return s.Packets.Ready(s.ctx, ends)
}

// attach attaches the ends, and tries H31 by it.
func (s *session) attach() error {
	before, err := s.found()
	if err != nil {
		return err
	}
	for _, e := range s.site.ends {
		if err := s.HNS.Attach(e.namespace, e.id); err != nil {
			return err
		}
	}
	after, err := s.found()
	if err != nil {
		return err
	}
	f := Finding{Assumption: 31, Outcome: Proven}
	if before != 0 || after != len(s.site.ends) {
		f.Outcome, f.Detail = False, fmt.Sprintf("of %d endpoints %d are found before they are attached, and %d after", len(s.site.ends), before, after)
	}
	s.note(f)
	return nil
}

// found counts the ends among the endpoints that are listed as attached.
func (s *session) found() (int, error) {
	list, err := s.HNS.Endpoints()
	n := 0
	for _, e := range s.site.ends {
		if slices.ContainsFunc(list, func(l hns.Endpoint) bool { return l.ID == e.id }) {
			n++
		}
	}
	return n, err
}

func (s *session) note(f Finding) {
	*s.result.of(f.Assumption) = f
	s.Log.Info("probe", "assumption", f.Assumption.String(), "outcome", string(f.Outcome), "detail", f.Detail)
}

// trial tries one assumption.
type trial struct {
	of    Assumption
	needs []Assumption // what must not be false for the trial to say anything
	run   func(*attempt)
	// once: a second attempt would say something else.
	once bool
	// scope says what of the assumption the trial leaves out, "" for nothing.
	scope string
}

// errSkip says why an assumption can't be tried here.
type errSkip struct{ why string }

func (e errSkip) Error() string { return e.why }

// runAll makes the trials one after the other. Where HNS goes away, or packets can't be sent, the rest is not tried.
func (s *session) runAll(list []trial) {
	for _, t := range list {
		if s.result.of(t.of).Outcome == False {
			continue // it has shown already
		}
		if missing := s.missing(t.needs); missing != "" {
			s.note(Finding{Assumption: t.of, Outcome: NotTried, Detail: missing})
			continue
		}
		f, err := s.try(t)
		s.note(f)
		if err != nil {
			s.giveUp(list, err)
			return
		}
	}
}

// missing says which of these assumptions does not hold.
func (s *session) missing(needs []Assumption) string {
	for _, n := range needs {
		if f := s.result.of(n); f.Outcome != Proven {
			return fmt.Sprintf("it can't be told without %s (%s)", n, n.Text())
		}
	}
	return ""
}

func (s *session) giveUp(list []trial, err error) {
	for _, t := range list {
		if f := s.result.of(t.of); f.Outcome == NotTried {
			s.note(Finding{Assumption: t.of, Outcome: NotTried, Detail: "the probe was broken off: " + err.Error()})
		}
	}
}

// try makes an attempt, and where it does not go as assumed a second one without haste. An error breaks the probe off.
func (s *session) try(t trial) (Finding, error) {
	a := s.attempt(t)
	first, err := a.finding()
	if err != nil || first.Outcome != False || s.slow || t.once {
		return first, err
	}
	s.slow = !first.Refused
	if t.of == lag {
		return first, nil
	}
	second, err := s.attempt(t).finding()
	if err != nil || second.Outcome == False {
		s.slow = false // it was not for haste
		return second, err
	}
	if s.slow {
		s.note(Finding{Assumption: lag, Outcome: False, Detail: fmt.Sprintf("at %s only after %s: %s", t.of, s.Settle, first.Detail)})
	}
	return second, nil
}

// lag is the assumption that lists are in force at once.
const lag Assumption = 26

func (s *session) attempt(t trial) *attempt {
	a := &attempt{session: s, trial: t}
	t.run(a)
	return a
}

// finding is what an attempt came to.
func (a *attempt) finding() (Finding, error) {
	f := Finding{Assumption: a.trial.of, Outcome: Proven, Detail: a.trial.scope}
	var skip errSkip
	switch {
	case errors.As(a.err, &skip):
		f.Outcome, f.Detail = NotTried, skip.why
	case a.err != nil && hns.Retryable(a.err):
		f.Outcome, f.Detail = NotTried, "broken off: "+a.err.Error()
		return f, a.err
	case a.err != nil:
		f.Outcome, f.Detail, f.Refused = False, "refused: "+a.err.Error(), true
	case len(a.wrong) > 0:
		f.Outcome, f.Detail = False, a.wrong[0]
	}
	return f, nil
}
