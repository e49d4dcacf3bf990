package probe

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// patience is how long Choose waits for a service that does not answer: at a boot it may start after the agent.
const patience = 30 * time.Second

// Choose is the result that was kept in a folder for this build and version, or else that of a probe now, which is kept if it is settled.
// probing false: there is no probe, and nothing was proven. An error takes nothing away from the Result: it is to be told.
func Choose(ctx context.Context, c Config, dir string, probing bool) (Result, error) {
	c.defaults()
	v, err := version(ctx, c.HNS, patience)
	if err != nil {
		return untried(c.Build, v, "the version of HNS can't be read: "+err.Error()), err
	}
	kept, ok, err := Load(dir, c.Build, v)
	switch {
	case ok:
		return kept, nil
	case !probing:
		return untried(c.Build, v, "the probe is turned off"), err
	}
	r, failed := Run(ctx, c)
	if r.Settled() {
		failed = errors.Join(failed, Save(dir, r))
	}
	return r, errors.Join(err, failed)
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
