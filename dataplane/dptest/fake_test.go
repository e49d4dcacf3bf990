package dptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// TestFake: the in-memory dataplane has the semantics of a real one.
func TestFake(t *testing.T) {
	RunDataplane(t, func(*testing.T) Host {
		f := dataplane.NewFake(nil)
		return Host{
			Open: func(*testing.T) dataplane.Dataplane {
				f = dataplane.NewFake(f.Held())
				return f
			},
			Observe: func(*testing.T) string { return describe(f.Held()) },
		}
	})
}

// describe prints a State, sorted.
func describe(s *dataplane.State) string {
	var lines []string
	for _, e := range s.Endpoints {
		line := fmt.Sprintf("endpoint %+v", *e)
		if e.Host != nil {
			before, _, _ := strings.Cut(line, " Host:0x")
			line = fmt.Sprintf("%s Host:%+v", before, *e.Host)
		}
		lines = append(lines, line)
	}
	for _, p := range s.Policies {
		lines = append(lines, fmt.Sprintf("policy %+v", *p))
	}
	for _, set := range s.IPSets {
		lines = append(lines, fmt.Sprintf("set %s %d %v", set.ID, set.Type, set.Members))
	}
	for _, n := range s.Nodes {
		lines = append(lines, fmt.Sprintf("node %+v", *n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + fmt.Sprintf("\nhost %+v", s.Host)
}

// TestFakeRefusesUntrueChanges: Changes that name less than moved, or other members than moved, are an error.
func TestFakeRefusesUntrueChanges(t *testing.T) {
	for name, lie := range map[string]func(c *dataplane.Changes){
		"endpoint":     func(c *dataplane.Changes) { delete(c.Endpoints, "pod/a/z") },
		"policy":       func(c *dataplane.Changes) { clear(c.Policies) },
		"set":          func(c *dataplane.Changes) { delete(c.IPSets, "clients") },
		"members":      func(c *dataplane.Changes) { c.IPSets["clients"].Added = nil },
		"set is gone":  func(c *dataplane.Changes) { c.IPSets["http"] = &dataplane.SetDelta{} },
		"nothing left": func(c *dataplane.Changes) { *c = *dataplane.NewChanges() },
	} {
		f := dataplane.NewFake(nil)
		mustApply(t, f, sample(), nil)
		changes := dataplane.Diff(sample(), changed())
		lie(changes)
		if _, err := f.Apply(context.Background(), changed(), changes); err == nil {
			t.Errorf("%s: the untrue changes are taken", name)
		}
		mustApply(t, f, changed(), changes) // after an error everything is compared
	}
	broken := sample()
	delete(broken.IPSets, "http")
	if _, err := dataplane.NewFake(nil).Apply(context.Background(), broken, nil); err == nil {
		t.Error("a State that names a set which is not there is taken")
	}
}

// TestFakeFails: what is told to fail is named in the Result, with those who use it, and the others are not.
func TestFakeFails(t *testing.T) {
	f := dataplane.NewFake(nil)
	in := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}
	boom := errors.New("boom")
	f.FailIPSet("http", boom)
	r, err := f.Apply(context.Background(), sample(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(r.Endpoints["pod/a/y"], boom) || !errors.Is(r.Policies[in], boom) || r.Endpoints["pod/a/x"] != nil || !r.Failed() {
		t.Errorf("a failing set: %+v", r)
	}
	f.FailIPSet("http", nil)
	f.FailEndpoint("pod/a/x", boom)
	if r, _ = f.Apply(context.Background(), sample(), dataplane.NewChanges()); len(r.Endpoints) != 1 || len(r.Policies) != 0 {
		t.Errorf("a failing endpoint: %+v", r)
	}
	f.FailEndpoint("pod/a/x", nil)
	mustApply(t, f, sample(), dataplane.NewChanges())
	f.FailAll(boom)
	if _, err := f.Apply(context.Background(), sample(), nil); !errors.Is(err, boom) {
		t.Errorf("FailAll: %v", err)
	}
}
