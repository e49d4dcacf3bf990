package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/dataplane"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/adapters"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// newDataplane opens HNS, and follows the addresses of the host.
func newDataplane(ctx context.Context, c *config.Config, log *slog.Logger) (dataplane.Dataplane, error) {
	host, err := adapters.Follow(log)
	if err != nil {
		return nil, err
	}
	client := hns.NewClient(hns.Open())
	result := chooseForm(ctx, c, client, host, log)
	driver, err := windows.New(windows.Config{HNS: client, Host: host, Form: result.Form(), Reason: result.Reason(), FullCheck: c.ReadInterval, Log: log})
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return &hostDriver{driver, client, host, result}, nil
}

// hostDriver is a driver with what it was made from.
type hostDriver struct {
	*windows.Driver
	client *hns.Client
	host   *adapters.Host
	result *probe.Result
}

// Probed is what of HNS was not as felid takes it for granted, or was not tried.
func (d *hostDriver) Probed() []v1alpha1.Assumption {
	var out []v1alpha1.Assumption
	for _, f := range d.result.Telling() {
		out = append(out, v1alpha1.Assumption{Name: f.Assumption.String(), Outcome: string(f.Outcome), Message: f.Text() + ": " + f.Detail})
	}
	if l := &d.result.Rendered; l.Outcome != probe.Proven {
		out = append(out, v1alpha1.Assumption{Name: "lists", Outcome: string(cmp.Or(l.Outcome, probe.NotTried)), Message: l.Text() + ": " + l.Detail})
	}
	return out
}

// Clean takes felid off the host, and what a probe has left.
func (d *hostDriver) Clean(ctx context.Context) error {
	return errors.Join(d.Driver.Clean(ctx), probe.Clean(d.client))
}

// Close leaves the rules in place.
func (d *hostDriver) Close() error { return errors.Join(d.Driver.Close(), d.host.Close()) }

// within gives up waiting for do after some time, as a call of HNS can't be ended and may hang. What do comes to later is lost.
func within[T any](limit time.Duration, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := do()
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-time.After(limit):
		var none T
		return none, fmt.Errorf("HNS has not answered within %s", limit)
	}
}

// surveyTime is how long HNS may take to say which endpoints there are, before the agent starts without knowing.
const surveyTime = 15 * time.Second

// survey looks for ACLs of other policy engines on the endpoints of pods.
func survey(context.Context) (*preflight.Host, error) {
	endpoints, err := within(surveyTime, hns.NewClient(hns.Open()).Endpoints)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, e := range endpoints {
		for _, a := range e.ACLs {
			if engine := windows.EngineOf(a); engine != "" && !slices.Contains(found[engine], a.ID) {
				found[engine] = append(found[engine], a.ID)
			}
		}
	}
	return &preflight.Host{ACLs: found}, nil
}
