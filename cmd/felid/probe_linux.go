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
	var all []preflight.Trial
	whole := false
	for _, variant := range []string{"nft", "legacy"} {
		list, err := probeBeside(ctx, variant)
		if err != nil {
			return all, fmt.Errorf("probe of iptables (%s): %w", variant, err)
		}
		whole = whole || !slices.ContainsFunc(list, func(t preflight.Trial) bool { return t.Outcome != string(probe.Proven) })
		all = append(all, list...)
	}
	for i := range all {
		all[i].Refuse = all[i].Outcome == string(probe.False) || !whole && all[i].Outcome != string(probe.Proven)
	}
	return all, nil
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
