package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/felid-net/felid/dataplane"
	linux "github.com/felid-net/felid/dataplane_linux"
)

// inside has a process of the test, which is in a network namespace of its own, do a job instead of the tests.
const inside = "FELID_TEST_PROBE"

func TestMain(m *testing.M) {
	job := os.Getenv(inside)
	if job == "" {
		os.Exit(m.Run())
	}
	findings, err := work(job)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(findings); err != nil {
		os.Exit(1)
	}
}

// work does "variant NAME", "fault NAME" or "crowded".
func work(job string) ([]Finding, error) {
	kind, name, _ := strings.Cut(job, " ")
	cfg := linux.Config{Backend: "nft", MarkMask: 0xffff0000, LogGroup: 1, LockFile: filepath.Join(os.TempDir(), fmt.Sprintf("felid-probe-%d.lock", os.Getpid()))}
	defer os.Remove(cfg.LockFile)
	if kind == "variant" {
		cfg.Backend = name
		return Run(context.Background(), cfg)
	}
	if kind == "crowded" {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0", Flags: net.FlagUp}, PeerName: "veth1"}); err != nil {
			return nil, err
		}
		_, err := Run(context.Background(), cfg)
		return []Finding{{Detail: fmt.Sprint(err)}}, nil
	}
	p, err := makePlaces()
	if err != nil {
		return nil, err
	}
	if err := (&attempt{ctx: context.Background(), places: p}).settled(); err != nil {
		return nil, err
	}
	dp, err := linux.New(cfg)
	if err != nil {
		return nil, err
	}
	fault := faults[name]
	trials = slices.DeleteFunc(trials, func(t trial) bool { return !slices.Contains(fault.shows, t.name) && t.name != "none" })
	return runTrials(context.Background(), &faulty{dp, fault}, p), nil
}

// fault is something that a dataplane does wrong.
type fault struct {
	bend    func(s *dataplane.State) // what it makes of a State
	keep    bool                     // it takes no changes of members
	shows   []string                 // trials that show it
	outcome Outcome
}

var faults = map[string]fault{
	"policy is ignored": {bend: func(s *dataplane.State) {
		for _, ep := range s.Endpoints {
			ep.Tiers = nil
		}
	}, shows: []string{"end of tier", "egress", "tiers"}, outcome: False},
	"only the first range counts": {bend: eachRule(func(r *dataplane.Rule) { r.Dst.Ports = r.Dst.Ports[:min(1, len(r.Dst.Ports))] }), shows: []string{"ports"}, outcome: False},
	"negation is ignored": {bend: eachRule(func(r *dataplane.Rule) {
		r.Src.NotNets, r.Src.NotIPSets, r.Dst.NotPorts = nil, nil, nil
	}), shows: []string{"negation"}, outcome: False},
	"sources are ignored":        {bend: eachRule(func(r *dataplane.Rule) { r.Src = dataplane.Side{} }), shows: []string{"rules", "sets"}, outcome: False},
	"members stay":               {bend: func(*dataplane.State) {}, keep: true, shows: []string{"sets"}, outcome: False},
	"ports of names are ignored": {bend: eachRule(func(r *dataplane.Rule) { r.Dst.PortSets = nil }), shows: []string{"named ports"}, outcome: False},
	"spoofing is let be": {bend: func(s *dataplane.State) {
		s.Endpoints[podA].AllowedSources = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fd5f::/16")}
	}, shows: []string{"spoofing"}, outcome: False},
	"the node is let in": {bend: func(s *dataplane.State) { s.Host.HostToWorkload = dataplane.HostToWorkloadAll }, shows: []string{"own node"}, outcome: False},
	"interfaces are nobody's": {bend: func(s *dataplane.State) {
		if s.Endpoints[podB] == nil {
			*s = *open()
		}
	}, shows: []string{"strangers"}, outcome: False},
	"a set that can't be made": {bend: eachRule(func(r *dataplane.Rule) {
		if len(r.Src.IPSets) > 0 {
			r.Src.IPSets = []dataplane.IPSetID{"no-such-set"}
		}
	}), shows: []string{"sets"}, outcome: NotTried},
}

func eachRule(do func(*dataplane.Rule)) func(*dataplane.State) {
	return func(s *dataplane.State) {
		for id, p := range s.Policies {
			if id == openProfile {
				continue
			}
			for i := range p.Ingress {
				do(&p.Ingress[i])
			}
			for i := range p.Egress {
				do(&p.Egress[i])
			}
		}
	}
}

// faulty is a driver with a fault.
type faulty struct {
	dataplane.Dataplane
	fault fault
}

func (f *faulty) Apply(ctx context.Context, s *dataplane.State, c *dataplane.Changes) (dataplane.Result, error) {
	if f.fault.keep && c != nil {
		return dataplane.Result{}, nil
	}
	f.fault.bend(s)
	return f.Dataplane.Apply(ctx, s, nil)
}

// elsewhere does a job in a network namespace of its own.
func elsewhere(t *testing.T, job string) []Finding {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = append(os.Environ(), inside+"="+job)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v (this test needs root)\n%s", err, said.String())
	}
	var findings []Finding
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return findings
}

func TestBothVariantsNeedsRoot(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			findings := elsewhere(t, "variant "+variant)
			if len(findings) != len(trials) {
				t.Errorf("%d findings, want %d", len(findings), len(trials))
			}
			for _, f := range findings {
				if f.Outcome != Proven {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// TestFaultsNeedsRoot has the driver do something wrong: the trials that lean on it must show that, and the one that does not must not.
func TestFaultsNeedsRoot(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range elsewhere(t, "fault "+name) {
				want := Proven
				if slices.Contains(fault.shows, f.Name) {
					want = fault.outcome
				}
				if f.Outcome != want {
					t.Errorf("%s is %s, want %s: %s", f.Name, f.Outcome, want, f.Detail)
				}
			}
		})
	}
}

func TestNamespacesOfOthersAreRefused(t *testing.T) {
	if f := elsewhere(t, "crowded"); len(f) != 1 || !strings.Contains(f[0].Detail, "is not the probe's: it has interface veth") {
		t.Errorf("in a namespace with an interface: %+v", f)
	}
}
