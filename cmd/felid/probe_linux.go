package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	linux "github.com/felid-net/felid/dataplane_linux"
	"github.com/felid-net/felid/dataplane_linux/probe"
	"github.com/felid-net/felid/internal/preflight"
)

// probeVariable names the variant of iptables in the environment of the process that tries it, in a network namespace of its own.
const probeVariable = "FELID_PROBE_VARIANT"

// probeHost tries both variants of iptables, each in a process that has a network namespace of its own: they take it along when they end.
func probeHost(ctx context.Context) ([]preflight.Trial, error) {
	if variant := os.Getenv(probeVariable); variant != "" {
		return probeVariant(ctx, variant)
	}
	variants := []string{"nft", "legacy"}
	lists, errs := make([][]preflight.Trial, len(variants)), make([]error, len(variants))
	var wg sync.WaitGroup
	for i, variant := range variants {
		wg.Go(func() {
			if lists[i], errs[i] = probeBeside(ctx, variant); errs[i] != nil {
				errs[i] = fmt.Errorf("probe of iptables (%s): %w", variant, errs[i])
			}
		})
	}
	wg.Wait()
	return judged(lists), errors.Join(errs...)
}

// judged says which trials refuse: what is false, and what could not be tried where no variant was proven whole.
func judged(lists [][]preflight.Trial) []preflight.Trial {
	proven := func(t preflight.Trial) bool { return t.Outcome == string(probe.Proven) }
	whole := slices.ContainsFunc(lists, func(list []preflight.Trial) bool {
		return len(list) > 0 && !slices.ContainsFunc(list, func(t preflight.Trial) bool { return !proven(t) })
	})
	all := slices.Concat(lists...)
	for i, t := range all {
		all[i].Refuse = t.Outcome == string(probe.False) || !whole && !proven(t)
	}
	return all
}

// probeBeside has another process of this program try a variant.
func probeBeside(ctx context.Context, variant string) ([]preflight.Trial, error) {
	c := exec.CommandContext(ctx, "/proc/self/exe", "node", "check", "--probe", "-o", "json")
	c.Env = append(os.Environ(), probeVariable+"="+variant)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("a network namespace of its own: %w; run as root", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	var list []preflight.Trial
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("what it found can't be read: %w", err)
	}
	return list, nil
}

// probeVariant tries a variant in the network namespace of this process, which must be its own.
func probeVariant(ctx context.Context, variant string) (trials []preflight.Trial, err error) {
	dir, err := os.MkdirTemp("", "felid-probe-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	findings, err := probe.Run(ctx, linux.Config{Backend: variant, MarkMask: 0xffff0000, LogGroup: 1, LockFile: filepath.Join(dir, "lock")})
	for _, f := range findings {
		trials = append(trials, preflight.Trial{Name: variant + " " + f.Name, Text: f.Text, Outcome: string(f.Outcome), Detail: f.Detail})
	}
	return trials, err
}
