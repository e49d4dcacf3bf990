package windows

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// counted counts what is asked of HNS: a list counts for each object that it reads.
type counted struct {
	hns.Calls
	mu             sync.Mutex
	reads, writes  int
	bytes          int
	lists, changes int // of writes: those of endpoints, those of networks
	endpoints      map[string]struct{}
}

func (c *counted) List(kind hns.Kind, filter map[string]any) ([]json.RawMessage, error) {
	raw, err := c.Calls.List(kind, filter)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads += 1 + len(raw)
	return raw, err
}

func (c *counted) Get(kind hns.Kind, id string) (json.RawMessage, error) {
	c.mu.Lock()
	c.reads++
	c.mu.Unlock()
	return c.Calls.Get(kind, id)
}

func (c *counted) Modify(kind hns.Kind, id string, request json.RawMessage) error {
	c.mu.Lock()
	c.writes++
	c.bytes += len(request)
	if kind == hns.KindNetwork {
		c.changes++
	} else {
		c.lists++
		c.endpoints[id] = struct{}{}
	}
	c.mu.Unlock()
	return c.Calls.Modify(kind, id, request)
}

func (c *counted) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads, c.writes, c.bytes, c.lists, c.changes, c.endpoints = 0, 0, 0, 0, 0, map[string]struct{}{}
}

// countedNode is a node in force, whose calls are counted from then on.
func countedNode(t testing.TB, form Form, pods int, prepare func(*dataplane.State)) (*node, *counted) {
	t.Helper()
	n := newNode(t, form, pods)
	if prepare != nil {
		prepare(n.state)
	}
	c := &counted{Calls: n.calls}
	c.reset()
	n.cfg.HNS, n.cfg.Coalesce = hns.NewClient(c), 0
	n.d = n.open()
	return n, c
}

// manyClients gives the set that many members, no two of which are one prefix.
func manyClients(s *dataplane.State, members int) {
	set := setOf("clients")
	for i := range members {
		a := netip.AddrFrom4([4]byte{10, byte(8 + i>>15), byte(i >> 7), byte(i << 1)})
		set.Members[dataplane.Member{Prefix: netip.PrefixFrom(a, 32)}] = struct{}{}
	}
	s.IPSets["clients"] = set
}

// TestOneMemberForAHundredEndpoints: with sets it is one call, and no endpoint is modified; without, one for each.
func TestOneMemberForAHundredEndpoints(t *testing.T) {
	for name, want := range map[string]struct{ lists, changes int }{"sets": {0, 1}, "plain": {100, 0}} {
		t.Run(name, func(t *testing.T) {
			n, c := countedNode(t, forms[name], 100, func(s *dataplane.State) {
				manyClients(s, 1000)
				for i := range 10 { // to these it makes no difference
					s.Endpoints[podID(100+i)] = &dataplane.Endpoint{ID: podID(100 + i), Node: "n1", Addresses: []netip.Addr{podAddr(100 + i)}}
				}
			})
			for i := range 10 {
				n.pod(podAddr(100 + i).String())
			}
			n.mustApply(nil)
			n.mustApply(leave(n.state, "clients", "10.8.0.4/32")) // the first list over another is read back
			c.reset()
			n.mustApply(leave(n.state, "clients", "10.8.0.2/32"))
			if c.lists != want.lists || c.changes != want.changes || c.reads != 0 || len(c.endpoints) != want.lists {
				t.Errorf("%d lists and %d changes of sets were written, %d reads, want %d and %d and none", c.lists, c.changes, c.reads, want.lists, want.changes)
			}
			must(t, n.members())
		})
	}
}

// churn makes a thousand changes of membership in ten seconds, and does what the agent does. Every tenth is one that leaves, if mixed.
func churn(n *node, mixed bool) {
	for i := range 1000 {
		next := time.NewTimer(10 * time.Millisecond)
		if mixed && i%10 == 9 {
			n.mustApply(leave(n.state, "clients", fmt.Sprintf("10.8.%d.%d/32", i>>7, (i<<1)&255)))
		} else {
			n.mustApply(join(n.state, "clients", fmt.Sprintf("10.200.%d.%d/32", i/100, 2*(i%100))))
		}
		for waits := true; waits; {
			select {
			case <-n.d.Drift():
				n.mustApply(dataplane.NewChanges())
			case <-next.C:
				waits = false
			}
		}
	}
	time.Sleep(time.Second)
	n.mustApply(dataplane.NewChanges())
}

// TestThousandChanges: for each list or network, openings in ten seconds are a dozen writes, closings one each.
func TestThousandChanges(t *testing.T) {
	for _, test := range []struct {
		form  string
		mixed bool
		calls int // at most
	}{{"sets", false, 12}, {"sets", true, 112}, {"plain", false, 12 * 5}, {"plain", true, 112 * 5}} {
		t.Run(fmt.Sprint(test.form, " closings too ", test.mixed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := countedNode(t, forms[test.form], 5, func(s *dataplane.State) { manyClients(s, 1000) })
				n.mustApply(nil)
				every, bytes := 1000*c.lists, 1000*c.bytes // if each change rewrote every list as it was at first
				c.reset()
				churn(n, test.mixed)
				must(t, n.members())
				must(t, n.d.Close())
				t.Logf("%d calls of %d bytes, %d of lists, of %d endpoints; rewriting every list each time: %d calls, of more than %d bytes",
					c.writes, c.bytes, c.lists, len(c.endpoints), every, bytes)
				if c.writes > test.calls || test.form == "sets" && c.lists > 0 {
					t.Errorf("%d writes, of which %d were lists, want %d at most", c.writes, c.lists, test.calls)
				}
			})
		})
	}
}

// addPolicies adds policies that select all pods, each with its own port and one of a hundred sets.
func addPolicies(s *dataplane.State, policies int, users int) {
	for i := range 100 {
		id := dataplane.IPSetID(fmt.Sprintf("s%d", i))
		s.IPSets[id] = setOf(id, fmt.Sprintf("10.10.%d.1/32", i), fmt.Sprintf("10.10.%d.8/29", i), fmt.Sprintf("10.11.%d.0/26", i))
	}
	for i := range policies {
		p := &dataplane.Policy{
			ID: dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: fmt.Sprintf("p%d", i)}, Tier: "default",
			Ingress: []dataplane.Rule{allowFrom(dataplane.IPSetID(fmt.Sprintf("s%d", i%100)), uint16(1000+i))},
		}
		s.Policies[p.ID] = p
		for j := range users {
			e := s.Endpoints[podID((i*7+j)%len(s.Endpoints))]
			e.Tiers[0].Ingress = append(e.Tiers[0].Ingress[:len(e.Tiers[0].Ingress):len(e.Tiers[0].Ingress)], p.ID)
		}
	}
}

// TestFiveHundredPoliciesAreOneModify on one endpoint are one modify.
func TestFiveHundredPoliciesAreOneModify(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			n, c := countedNode(t, form, 1, nil)
			n.mustApply(nil)
			c.reset()
			n.d.cfg.Coalesce = -1
			n.mustApply(change(n.state, func(s *dataplane.State) { addPolicies(s, 500, 1) }))
			must(t, n.inForce())
			rules := len(n.stands(n.ids[0]))
			t.Logf("%d rules, %d calls of %d bytes", rules, c.writes, c.bytes)
			if c.lists != 1 || rules >= 1000 {
				t.Errorf("%d lists of %d rules", c.lists, rules)
			}
		})
	}
}

// TestStart of an agent with 60 endpoints and 1,000 policies: it reads each endpoint and writes it once.
func TestStart(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			n, c := countedNode(t, form, 60, func(s *dataplane.State) { addPolicies(s, 1000, 3) })
			n.mustApply(nil)
			must(t, n.members())
			t.Logf("%d reads, %d writes of %d bytes", c.reads, c.writes, c.bytes)
			if most := 3 * 60; c.reads+c.writes > most || c.lists != 60 {
				t.Errorf("%d reads and %d writes for 60 endpoints, want %d at most", c.reads, c.writes, most)
			}
			c.reset()
			n.d = n.open()
			n.mustApply(nil)
			if c.writes != 0 || c.reads > 2*60 {
				t.Errorf("an agent that starts again reads %d and writes %d", c.reads, c.writes)
			}
		})
	}
}

// report gives a benchmark's calls and bytes for each operation.
func (c *counted) report(b *testing.B) {
	b.ReportMetric(float64(c.writes)/float64(b.N), "calls/op")
	b.ReportMetric(float64(c.bytes)/float64(b.N), "bytes/op")
	b.ReportMetric(float64(c.lists)/float64(b.N), "lists/op")
}

// BenchmarkMember is a member that comes or goes, in a set that is used by many endpoints.
func BenchmarkMember(b *testing.B) {
	for _, size := range []struct{ members, endpoints int }{{1000, 100}, {50000, 10}} {
		for name, form := range forms {
			b.Run(fmt.Sprintf("%s/members=%d/endpoints=%d", name, size.members, size.endpoints), func(b *testing.B) {
				n, c := countedNode(b, form, size.endpoints, func(s *dataplane.State) { manyClients(s, size.members) })
				n.cfg.Coalesce = -1
				n.d = n.open()
				n.mustApply(nil)
				n.ResetLog()
				c.reset()
				b.ResetTimer()
				for i := range b.N {
					c := moveMember(n.state, "clients", "10.8.0.2/32", i%2 == 1)
					n.mustApply(c)
				}
				b.StopTimer()
				c.report(b)
			})
		}
	}
}

// BenchmarkPolicy is a rule that changes on one of 60 endpoints, beside 1,000 policies.
func BenchmarkPolicy(b *testing.B) {
	for name, form := range forms {
		b.Run(name, func(b *testing.B) {
			n, c := countedNode(b, form, 60, func(s *dataplane.State) { addPolicies(s, 1000, 1) })
			n.mustApply(nil)
			c.reset()
			id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p5"}
			b.ResetTimer()
			for i := range b.N {
				p := *n.state.Policies[id]
				p.Ingress = []dataplane.Rule{allowFrom("s1", uint16(3000+i%1000))}
				n.state.Policies[id] = &p
				changes := dataplane.NewChanges()
				changes.Policies[id] = struct{}{}
				n.mustApply(changes)
			}
			b.StopTimer()
			c.report(b)
		})
	}
}
