package probe

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// patience is how long Choose waits for a service that does not answer: at a boot it may start after the agent.
const patience = 30 * time.Second

// Choose is the result that was kept in a folder for this build and version, or else that of a probe now, which is kept if it is settled.
// What a kept one found false counts until a probe finds it otherwise: that it can't be tried today opens nothing. probing false: there is no probe, and
// what is kept counts, if anything is. An error takes nothing away from the Result: it is to be told.
func Choose(ctx context.Context, c Config, dir string, probing bool) (Result, error) {
	c.defaults()
	v, err := version(ctx, c.HNS, patience)
	if err != nil {
		return Without(c.Build, dir, "the version of HNS can't be read: "+err.Error()), err
	}
	kept, ok, err := Load(dir, c.Build, v)
	switch {
	case ok && (kept.Settled() || !probing):
		return kept, nil
	case !probing:
		return untried(c.Build, v, "the probe is turned off"), err
	}
	r, failed := Run(ctx, c)
	if ok {
		r.heed(&kept)
	}
	if ok || r.Settled() || r.Form().Closed {
		failed = errors.Join(failed, Save(dir, r))
	}
	return r, errors.Join(err, failed)
}

// Without is the result on a host of which nothing can be told now. What was found false there on this build, of whatever version, still counts.
func Without(build int, dir, reason string) Result {
	r := untried(build, hns.Version{}, reason)
	if kept, err := read(dir); err == nil && kept.Build == build && kept.Trials == edition && kept.Form().Closed {
		r.Version = kept.Version
		r.heed(&kept)
	}
	return r
}

// earlier begins what is told of findings that are kept.
const earlier = "by an earlier probe: "

// heed takes over what an earlier probe found wrong and this one could not try.
func (r *Result) heed(kept *Result) {
	for _, f := range kept.wrong() {
		if now := r.of(f.Assumption); now.Outcome == NotTried {
			f.Detail = earlier + strings.TrimPrefix(f.Detail, earlier)
			*now = f
		}
	}
	if kept.Rendered.Open && r.Rendered.Outcome == NotTried {
		r.Rendered = kept.Rendered
		r.Rendered.Detail = earlier + strings.TrimPrefix(r.Rendered.Detail, earlier)
	}
}

// version asks until HNS answers.
func version(ctx context.Context, c *hns.Client, patience time.Duration) (hns.Version, error) {
	until := time.Now().Add(patience)
	for {
		v, err := c.Version()
		if err == nil || !hns.Unavailable(err) || !hns.Retryable(err) || time.Now().After(until) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// Telling are the findings that there is something to say of: all but those proven, and those that can never be tried from the node.
func (r *Result) Telling() []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Outcome != Proven && triable[f.Assumption] {
			out = append(out, f)
		}
	}
	return out
}

var triable = func() map[Assumption]bool {
	all := map[Assumption]bool{31: true}
	for _, t := range trials() {
		all[t.of] = true
	}
	return all
}()

// Refuses tells whether a finding has the node deny everything.
func (f *Finding) Refuses() bool {
	return f.Outcome == False && !f.Refused && slices.Contains(plain, f.Assumption)
}
