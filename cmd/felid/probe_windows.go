package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/windows"

	"github.com/felid-net/felid/dataplane_windows/adapters"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// probeTime is how long a probe may keep the agent from its node: less than the start-up probe of its container does.
const probeTime = 4 * time.Minute

// chooseForm finds out how lists are to be written here: by what an earlier start has proven on this build, or by a probe now.
func chooseForm(ctx context.Context, c *config.Config, client *hns.Client, host *adapters.Host, log *slog.Logger) *probe.Result {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	result, err := within(probeTime+surveyTime, func() (result probe.Result, err error) {
		err = alone(ctx, func() (err error) {
			result, err = probe.Choose(ctx, probeConfig(client, host, log), c.StateDir, c.Probe)
			return err
		})
		return result, err
	})
	if err != nil {
		log.Error("probe of HNS", "error", err)
	}
	if err != nil && len(result.Findings) == 0 { // it has not come to an end
		result = probe.Without(int(windows.RtlGetVersion().BuildNumber), c.StateDir, err.Error())
	}
	log.Info("HNS", "build", result.Build, "version", fmt.Sprintf("%d.%d", result.Version.Major, result.Version.Minor), "form", result.Form().String(), "reason", result.Reason())
	return &result
}

func probeConfig(client *hns.Client, host *adapters.Host, log *slog.Logger) probe.Config {
	return probe.Config{HNS: client, Packets: probe.Sockets(), Build: int(windows.RtlGetVersion().BuildNumber), HostAddresses: host.Addresses, Log: log}
}

// alone calls do when no other process of felid's probes: there is one network of the probe's. It waits for the other to end, or ctx.
func alone(ctx context.Context, do func() error) error {
	name, err := windows.UTF16PtrFromString(`Global\felid-probe`)
	if err != nil {
		return err
	}
	mutex, err := windows.CreateMutex(nil, false, name)
	if mutex == 0 {
		return errors.Join(fmt.Errorf("lock of the probe: %w", err), do())
	}
	defer windows.CloseHandle(mutex)
	runtime.LockOSThread() // a mutex is its thread's
	defer runtime.UnlockOSThread()
	for {
		event, err := windows.WaitForSingleObject(mutex, uint32(time.Second.Milliseconds()))
		switch {
		case err != nil:
			return errors.Join(fmt.Errorf("lock of the probe: %w", err), do())
		case event != uint32(windows.WAIT_TIMEOUT):
			defer windows.ReleaseMutex(mutex)
			return do()
		case ctx.Err() != nil:
			return fmt.Errorf("another process probes: %w", ctx.Err())
		}
	}
}

// probeHost tries HNS, whatever was proven before.
func probeHost(ctx context.Context) (trials []preflight.Trial, err error) {
	log := slog.New(slog.DiscardHandler)
	host, err := adapters.Follow(log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	err = alone(ctx, func() error {
		result, err := probe.Run(ctx, probeConfig(hns.NewClient(hns.Open()), host, log))
		trials = trialsOf(&result)
		if err == nil && !slices.ContainsFunc(trials, func(t preflight.Trial) bool { return t.Outcome != string(probe.NotTried) }) {
			err = errors.New(result.Reason())
		}
		return err
	})
	return trials, err
}

func trialsOf(r *probe.Result) []preflight.Trial {
	var out []preflight.Trial
	for _, f := range r.Findings {
		out = append(out, preflight.Trial{Name: f.Assumption.String(), Text: f.Text(), Outcome: string(f.Outcome), Detail: f.Detail, Refuse: f.Refuses()})
	}
	l := &r.Rendered
	return append(out, preflight.Trial{Name: "lists", Text: l.Text(), Outcome: string(l.Outcome), Detail: l.Detail, Refuse: l.Open})
}
