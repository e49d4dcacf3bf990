package windows

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// writes are the modifies in the log: "endpoint", or "Add felid4-x", "Update …", "Remove …" of a network's sets.
func (n *node) writes() []string {
	var out []string
	for _, c := range n.Log() {
		if c.Op != emulator.OpModify {
			continue
		}
		what := "endpoint"
		if c.Kind == hns.KindNetwork {
			for _, how := range []string{"Add", "Update", "Remove"} {
				if strings.Contains(c.Text, `"RequestType":"`+how+`"`) {
					what = how
				}
			}
			for _, set := range []string{"clients", "others"} {
				if strings.Contains(c.Text, `"felid4-`+set+`"`) {
					what += " " + set
				}
			}
		}
		out = append(out, what)
	}
	n.ResetLog()
	return out
}

func (n *node) wantWrites(want ...string) {
	n.t.Helper()
	if got := n.writes(); fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Errorf("written: %q, want %q", got, want)
	}
}

// use makes the policy let in a set by that name instead.
func use(s *dataplane.State, set dataplane.IPSetID) {
	id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}
	p := *s.Policies[id]
	p.Ingress = []dataplane.Rule{allowFrom(set, 80)}
	s.Policies[id] = &p
}

// TestOrderOfSetsAndLists: sets come before lists that name them, and go after.
func TestOrderOfSetsAndLists(t *testing.T) {
	n := newNode(t, forms["sets"], 2)
	n.mustApply(nil)
	n.wantWrites("Add clients", "endpoint", "endpoint")
	n.mustApply(change(n.state, func(s *dataplane.State) {
		s.IPSets["others"] = setOf("others", "10.0.7.0/24")
		use(s, "others")
		delete(s.IPSets, "clients")
	}))
	n.wantWrites("Add others", "endpoint", "endpoint", "Remove clients")
	must(t, n.members())
	n.mustApply(leave(n.state, "others", "10.0.7.0/24")) // a set without members does not stand
	n.wantWrites("endpoint", "endpoint", "Remove others")
	n.mustApply(join(n.state, "others", "10.0.8.0/24"))
	n.wantWrites("Add others", "endpoint", "endpoint")
	must(t, n.members())
	n.mustApply(change(n.state, func(s *dataplane.State) { s.IPSets["others"] = setOf("others", "10.0.9.0/24", "10.0.10.1/32") }))
	n.wantWrites("Update others")
	must(t, n.members())
}

// TestSetsOfSeveralNetworks: each network has the sets that its endpoints need, and a change is one call for each.
func TestSetsOfSeveralNetworks(t *testing.T) {
	n := newNode(t, forms["sets"], 0)
	n.state = nodeState(3)
	n.ids = []string{n.pod(podAddr(0).String()), n.pod(podAddr(1).String())}
	n.network = n.newNetwork("other")
	n.ids = append(n.ids, n.pod(podAddr(2).String()))
	n.newNetwork("third")
	n.mustApply(nil)
	must(t, n.members())
	nets, err := n.client.Networks()
	must(t, err)
	for _, net := range nets {
		if want := map[string]int{"azure": 1, "other": 1}[net.Name]; len(net.Sets) != want {
			t.Errorf("network %s has %v", net.Name, net.Sets)
		}
	}
	n.ResetLog()
	n.mustApply(join(n.state, "clients", "10.0.3.77/32"))
	n.wantWrites("Update clients", "Update clients")
}

// TestSetsOfOthersAndOrphans: what carries our mark and is needed nowhere goes, at a start; what others put there stays.
func TestSetsOfOthersAndOrphans(t *testing.T) {
	for name, form := range forms {
		n := newNode(t, form, 1)
		must(t, n.client.PutSets(n.network, []hns.Set{
			{ID: "felid4-old", Name: "felid4-old", Members: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}},
			{ID: "azure-npm-1", Name: "azure-npm-1", Members: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}},
		}, nil))
		n.mustApply(nil)
		net, err := n.client.Network(n.network)
		must(t, err)
		if text := fmt.Sprint(net.Sets); strings.Contains(text, "old") || !strings.Contains(text, "azure-npm-1") {
			t.Errorf("%s: there is %s", name, text)
		}
	}
}

// TestOtherForm: lists of the other form are all rewritten before the sets that they named go, and never the other way round.
func TestOtherForm(t *testing.T) {
	n := newNode(t, forms["sets"], 2)
	n.mustApply(nil)
	n.ResetLog()
	for _, step := range []struct {
		form Form
		want []string
	}{
		{forms["plain"], []string{"endpoint", "endpoint", "Remove clients"}},
		{forms["sets"], []string{"Add clients", "endpoint", "endpoint"}},
	} {
		n.cfg.Form = step.form
		n.d = n.open()
		n.mustApply(nil)
		n.wantWrites(step.want...)
		must(t, n.members())
	}
}

// TestOtherFormInPart: as long as one endpoint does not take its new list, the set that its old one names stays.
func TestOtherFormInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, forms["sets"], 2)
		n.mustApply(nil)
		n.ResetLog()
		n.cfg.Form = forms["plain"]
		n.d = n.open()
		disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: n.ids[0], Code: 0x803b0017})
		r, err := n.apply(nil)
		must(t, err)
		if len(r.Endpoints) != 1 {
			t.Errorf("reported %v", r.Endpoints)
		}
		if got := strings.Join(n.writes(), " "); strings.Contains(got, "Remove") {
			t.Errorf("the set went: %s", got)
		}
		disarm()
		n.settle(time.Minute)
		if got := strings.Join(n.writes(), " "); !strings.Contains(got, "Remove clients") {
			t.Errorf("the set stayed: %s", got)
		}
		must(t, n.d.Close())
	})
}

// TestRecreatedNetwork has another ID and nothing on it: sets and lists are put there again.
func TestRecreatedNetwork(t *testing.T) {
	inBubble(t, forms["sets"], 2, func(t *testing.T, n *node) {
		n.mustApply(nil)
		must(t, n.client.DeleteNetwork(n.network))
		n.network, n.ids = n.newNetwork("azure"), nil
		for i := range 2 {
			n.ids = append(n.ids, n.pod(podAddr(i).String()))
		}
		drifted, err := n.d.CheckDrift(t.Context())
		must(t, err)
		if !drifted {
			t.Error("not noticed")
		}
		n.settle(time.Minute)
		must(t, n.members())
	})
}

// TestForeignChangesOfSets are found by a full check.
func TestForeignChangesOfSets(t *testing.T) {
	one := []netip.Prefix{netip.MustParsePrefix("10.66.0.0/16")}
	for name, harm := range map[string]func(n *node) error{
		"other members": func(n *node) error {
			return n.client.PutSets(n.network, nil, []hns.Set{{ID: "felid4-clients", Name: "felid4-clients", Members: one}})
		},
		"one of our name": func(n *node) error {
			return n.client.PutSets(n.network, []hns.Set{{ID: "felid4-x", Name: "felid4-x", Members: one}}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, forms["sets"], 2, func(t *testing.T, n *node) {
				n.mustApply(nil)
				before := n.observe()
				must(t, harm(n))
				time.Sleep(6 * time.Minute)
				drifted, err := n.d.CheckDrift(t.Context())
				must(t, err)
				if !drifted {
					t.Fatal("not noticed")
				}
				n.settle(time.Minute)
				if r := n.mustApply(dataplane.NewChanges()); r.Stats.Repairs != 1 {
					t.Errorf("%d repairs are counted", r.Stats.Repairs)
				}
				if after := n.observe(); after != before {
					t.Errorf("there is\n%s\nwas\n%s", after, before)
				}
			})
		})
	}
}

// TestSetThatWaitsIsWrittenBeforeItBlocks: a member that waits for others does so no longer when a list comes that denies by the set.
func TestSetThatWaitsIsWrittenBeforeItBlocks(t *testing.T) {
	inBubble(t, forms["sets"], 1, func(t *testing.T, n *node) {
		n.mustApply(nil)
		n.mustApply(leave(n.state, "clients", "10.0.3.5/32"))
		n.writes()
		n.mustApply(join(n.state, "clients", "10.0.3.99/32"))
		n.wantWrites()
		n.mustApply(change(n.state, func(s *dataplane.State) {
			id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}
			p := *s.Policies[id]
			p.Ingress = []dataplane.Rule{{Action: dataplane.Deny, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"clients"}}}, {Action: dataplane.Allow, Index: 1}}
			s.Policies[id] = &p
		}))
		n.wantWrites("Update clients", "endpoint")
		must(t, n.members())
	})
}
