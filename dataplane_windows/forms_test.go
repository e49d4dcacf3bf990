package windows

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// bySets is the form with sets.
var bySets = Options{Form: Form{IPv6: true, Sets: true}}

// valuesOf are the sets that a list names, as HNS is given them.
func valuesOf(r *Renderer, l *List) map[string]string {
	out := map[string]string{}
	for _, ref := range l.Sets {
		set := r.Set(ref)
		var values []string
		for _, p := range set.Members {
			values = append(values, p.String())
		}
		out[set.ID] = strings.Join(values, ",")
	}
	return out
}

// TestSharedCasesBySets runs every shared case through lists that name sets.
func TestSharedCasesBySets(t *testing.T) {
	dptest.RunACLs(t, func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		r := NewRenderer(s, bySets)
		l := r.List(id)
		text, err := json.Marshal(l.ACLs)
		if err != nil {
			t.Fatal(err)
		}
		return dptest.ACLs{JSON: text, Sets: valuesOf(r, &l), Unsupported: l.Unsupported}
	})
}

// TestListsThatNameSetsDecideAsTheStateDoes draws states and packets, and compares what a port of HNS does with a plain walk through tiers,
// policies and rules.
func TestListsThatNameSetsDecideAsTheStateDoes(t *testing.T) {
	named := 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawSetState(t)
		r := NewRenderer(s, bySets)
		l := r.List(testID)
		checkSources(t, s, &l)
		named += len(l.Sets)
		network := dptest.HNSOf(26100).NewNetwork()
		for id, values := range valuesOf(r, &l) {
			if err := network.PutSet(id, "IPSET", values); err != nil {
				t.Fatal(err)
			}
		}
		port := network.NewPort()
		text, err := json.Marshal(l.ACLs)
		if err == nil {
			err = port.SetACLs(text)
		}
		if err == nil {
			err = port.Lint()
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, show(l.ACLs))
		}
		for range 12 {
			dir := rapid.SampledFrom([]dataplane.Direction{dataplane.Ingress, dataplane.Egress}).Draw(t, "direction")
			p := drawPacket(t, s, dir)
			want := decide(s, dir, p)
			port.Forget()
			got := port.Pass(dir, p)
			if got.Action == want || got.Action == dataplane.Deny && reports(l.Unsupported, dir) {
				continue
			}
			t.Fatalf("%s %+v: %v by %s, want %v; unsupported %v\n%s", dir, p, got.Action, got.ID, want, l.Unsupported, show(l.ACLs))
		}
	})
	if named < 5 {
		t.Errorf("%d sets were named: too few to mean anything", named)
	}
}

// drawSetState is a state many rules of which ask for one set, and little else.
func drawSetState(t *rapid.T) *dataplane.State {
	s := drawState(t)
	sets := rapid.SampledFrom([]dataplane.IPSetID{"web", "web", "db", "none"})
	simplify := func(rules []dataplane.Rule) {
		for i := range rules {
			r := &rules[i]
			ports := dataplane.Side{Ports: some(t, []dataplane.PortRange{{Min: 2, Max: 2}, {Min: 3, Max: 5}}), PortSets: some(t, []dataplane.IPSetID{"http"})}
			switch rapid.IntRange(0, 4).Draw(t, "kind of rule") {
			case 0:
				r.Src, r.Dst = dataplane.Side{IPSets: []dataplane.IPSetID{sets.Draw(t, "source")}}, ports
			case 1:
				r.Src, r.Dst = dataplane.Side{}, ports
				r.Dst.IPSets = []dataplane.IPSetID{sets.Draw(t, "destination")}
			case 2:
				*r = dataplane.Rule{Action: r.Action, Index: r.Index, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{sets.Draw(t, "source")}}, Dst: ports}
			case 3:
				*r = dataplane.Rule{Action: r.Action, Index: r.Index, Dst: ports}
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.Policies), func(a, b dataplane.PolicyID) int { return strings.Compare(a.Name, b.Name) }) {
		simplify(s.Policies[id].Ingress)
		simplify(s.Policies[id].Egress)
	}
	return s
}

// checkSources holds what a list says of its sources against its ACLs.
func checkSources(t *rapid.T, s *dataplane.State, l *List) {
	names := map[string]bool{}
	for _, a := range l.ACLs {
		for _, field := range []string{a.LocalAddresses, a.RemoteAddresses} {
			if strings.HasPrefix(field, setMark) {
				names[field] = true
			}
		}
	}
	for _, ref := range l.Sets {
		if !names[ref.ID()] || !hasFamily(s.IPSets[ref.Set], ref.Family) || !slices.Contains(l.Present, ref) {
			t.Fatalf("%v is among the sets, and of no use", ref)
		}
		delete(names, ref.ID())
	}
	if len(names) > 0 {
		t.Fatalf("sets that no ACL names: %v", names)
	}
}

// TestListIsAFunctionOfItsSources: as long as neither policy nor what a list says that it was made from moves, the list is the same.
func TestListIsAFunctionOfItsSources(t *testing.T) {
	same, moved := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawSetState(t)
		options := Options{Form: Form{IPv6: true, Sets: rapid.Bool().Draw(t, "sets")}}
		r := NewRenderer(s, options)
		before := r.List(testID)
		index := NewIndex()
		index.Put(s.Endpoints[testID], &before)
		c := moveMembers(t, s)
		after := NewRenderer(s, options).List(testID)
		if diff := cmp.Diff(after, r.Next(s, options, c).List(testID)); diff != "" {
			t.Fatalf("what was kept of sets makes another list: %s", diff)
		}
		if len(index.Affected(s, c)) > 0 {
			moved++
			return
		}
		if len(c.IPSets) > 0 {
			same++
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("%v moved, and the list of %v did, unaffected: %s", c.IPSets, before, diff)
		}
	})
	if same < 5 || moved < 5 {
		t.Errorf("%d lists were unaffected, %d affected: too few to mean anything", same, moved)
	}
}

// moveMembers adds members to sets of a state and takes others out.
func moveMembers(t *rapid.T, s *dataplane.State) *dataplane.Changes {
	c := dataplane.NewChanges()
	for _, id := range []dataplane.IPSetID{"web", "none", "http", "nobody"} {
		if !rapid.Bool().Draw(t, "moves "+string(id)) {
			continue
		}
		set, delta := s.IPSets[id], &dataplane.SetDelta{}
		if rapid.IntRange(0, 3).Draw(t, "empties") == 0 {
			delta.Removed = slices.Collect(maps.Keys(set.Members))
		} else {
			m := dataplane.Member{Prefix: single(rapid.SampledFrom(append(otherAddrs[4], otherAddrs[6]...)).Draw(t, "member"))}
			if set.Type == dataplane.SetAddrPorts {
				m.Protocol, m.Port = 6, 4
			}
			if _, ok := set.Members[m]; ok {
				delta.Removed = []dataplane.Member{m}
			} else {
				delta.Added = []dataplane.Member{m}
			}
		}
		for _, m := range delta.Added {
			set.Members[m] = struct{}{}
		}
		for _, m := range delta.Removed {
			delete(set.Members, m)
		}
		if c.IPSets[id] = delta; rapid.IntRange(0, 9).Draw(t, "as a whole") == 0 {
			c.IPSets[id] = nil
		}
	}
	return c
}

// TestEqualMeaningGivesEqualText: a state that says the same in other words has the same lists, but for the names of rules.
func TestEqualMeaningGivesEqualText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSetState(t)
		other := reworded(t, s)
		for _, form := range []Form{{IPv6: true}, {IPv6: true, Sets: true}} {
			a, b := Render(s, testID, Options{Form: form}), Render(other, testID, Options{Form: form})
			if diff := cmp.Diff(nameless(a.ACLs), nameless(b.ACLs)); diff != "" {
				t.Fatalf("%v: %s", form, diff)
			}
			if diff := cmp.Diff(a.Sets, b.Sets); diff != "" {
				t.Fatalf("%v: sets %s", form, diff)
			}
		}
	})
}

func nameless(acls []hns.ACL) []hns.ACL {
	out := slices.Clone(acls)
	for i := range out {
		out[i].ID = ""
	}
	return out
}

// reworded is a state that means the same: prefixes and ports in another order, twice, and in halves; rules said twice, and rules of Log.
func reworded(t *rapid.T, s *dataplane.State) *dataplane.State {
	out := *s
	out.Policies = map[dataplane.PolicyID]*dataplane.Policy{}
	for id, p := range s.Policies {
		q := *p
		q.Ingress, q.Egress = rewordedRules(t, p.Ingress), rewordedRules(t, p.Egress)
		out.Policies[id] = &q
	}
	out.IPSets = map[dataplane.IPSetID]*dataplane.IPSet{}
	for id, set := range s.IPSets {
		other := *set
		other.Members = map[dataplane.Member]struct{}{}
		for m := range set.Members {
			other.Members[m] = struct{}{}
		}
		out.IPSets[id] = &other
	}
	return &out
}

func rewordedRules(t *rapid.T, rules []dataplane.Rule) []dataplane.Rule {
	var out []dataplane.Rule
	for _, r := range rules {
		if r.Action == dataplane.Log {
			continue
		}
		for _, side := range []*dataplane.Side{&r.Src, &r.Dst} {
			side.Nets, side.NotNets = shuffled(t, halved(side.Nets)), shuffled(t, halved(side.NotNets))
			side.Ports, side.NotPorts = shuffled(t, splitRanges(side.Ports)), shuffled(t, splitRanges(side.NotPorts))
			side.NotIPSets, side.PortSets = shuffled(t, side.NotIPSets), shuffled(t, side.PortSets)
		}
		out = append(out, r)
		if rapid.IntRange(0, 3).Draw(t, "says it again") == 0 {
			out = append(out, r)
		}
	}
	return out
}

func shuffled[T any](t *rapid.T, from []T) []T {
	if len(from) == 0 {
		return nil
	}
	return rapid.Permutation(append(slices.Clone(from), from[0])).Draw(t, "order")
}

func halved(nets []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range nets {
		out = append(out, halves(n)...)
	}
	return out
}

func splitRanges(ranges []dataplane.PortRange) []dataplane.PortRange {
	var out []dataplane.PortRange
	for _, r := range ranges {
		for p := r.Min; p <= r.Max; p++ {
			out = append(out, dataplane.PortRange{Min: p, Max: p})
		}
	}
	return out
}

// TestMembersMoveASetAlone: a list that names a set is the same whoever its members are, and loses the rule with the last of them.
func TestMembersMoveASetAlone(t *testing.T) {
	tcp := dataplane.Rule{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"web"}}, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 80}}}}
	s := state([]dataplane.Rule{tcp}, []dataplane.Rule{{Action: dataplane.Allow, Dst: dataplane.Side{IPSets: []dataplane.IPSetID{"web"}}}})
	s.IPSets["web"] = set("web", dataplane.SetNets, dataplane.Member{Prefix: single("10.65.0.2")})
	ref4, ref6 := SetRef{"web", 4}, SetRef{"web", 6}
	first := Render(s, testID, bySets)
	want := List{ACLs: first.ACLs, Sets: []SetRef{ref4}, Present: []SetRef{ref4}, Absent: []SetRef{ref6}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Fatal(diff)
	}
	for name, fields := range map[string]hns.ACL{
		"felid/NetworkPolicy/a/p/in/0":  {LocalAddresses: "felid4-web", Protocols: "6", LocalPorts: "80"},
		"felid/NetworkPolicy/a/p/out/0": {RemoteAddresses: "felid4-web"},
	} {
		at := slices.IndexFunc(first.ACLs, func(a hns.ACL) bool { return a.ID == name })
		a := first.ACLs[at]
		if got := (hns.ACL{LocalAddresses: a.LocalAddresses, RemoteAddresses: a.RemoteAddresses, Protocols: a.Protocols, LocalPorts: a.LocalPorts, RemotePorts: a.RemotePorts}); got != fields {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s.IPSets["web"].Members[dataplane.Member{Prefix: single("10.65.0.3")}] = struct{}{}
	if diff := cmp.Diff(first, Render(s, testID, bySets)); diff != "" {
		t.Errorf("with one more member: %s", diff)
	}
	clear(s.IPSets["web"].Members)
	if last := Render(s, testID, bySets); len(last.Sets) > 0 || len(last.ACLs) != len(first.ACLs)-2 {
		t.Errorf("without members: %s", show(last.ACLs))
	}
}

// TestWhatSetsTakeTheirMembers: where a rule asks for more of an address than one set, its members are written, and change the list.
func TestWhatSetsTakeTheirMembers(t *testing.T) {
	side := func(ids ...dataplane.IPSetID) dataplane.Side { return dataplane.Side{IPSets: ids} }
	allow := func(src, dst dataplane.Side) dataplane.Rule {
		return dataplane.Rule{Action: dataplane.Allow, Protocol: 6, Src: src, Dst: dst}
	}
	http := dataplane.Side{PortSets: []dataplane.IPSetID{"http"}}
	udp := allow(side("web"), http)
	udp.Protocol = 17
	anyICMP := allow(side("web"), dataplane.Side{})
	anyICMP.Protocol, anyICMP.ICMP = 1, &dataplane.ICMP{Type: 8, Code: -1}
	for name, c := range map[string]struct {
		rule            dataplane.Rule
		named, expanded string
	}{
		"a set":                       {allow(side("web"), dataplane.Side{}), "[{web 4} {web 6}]", "[]"},
		"of one family":               {dataplane.Rule{Action: dataplane.Allow, IPVersion: 4, Src: side("web")}, "[{web 4}]", "[]"},
		"a set twice":                 {allow(side("web", "web"), dataplane.Side{}), "[]", "[web]"},
		"two sets":                    {allow(side("web", "none"), dataplane.Side{}), "[]", "[none web]"},
		"a set and a net":             {allow(dataplane.Side{IPSets: side("web").IPSets, Nets: someNets[:1]}, dataplane.Side{}), "[]", "[web]"},
		"not a set":                   {allow(dataplane.Side{NotIPSets: side("web").IPSets}, dataplane.Side{}), "[]", "[web]"},
		"a named port of its own":     {allow(side("web"), http), "[{web 4}]", "[http]"},
		"a named port, not of TCP":    {udp, "[]", "[http web]"},
		"a set of its own":            {allow(side("web"), side("web")), "[{web 4} {web 6}]", "[web]"},
		"a type of ICMP, and no rule": {anyICMP, "[]", "[]"},
		"an empty set":                {allow(side("none"), dataplane.Side{}), "[]", "[]"},
	} {
		l := Render(state([]dataplane.Rule{c.rule}, nil), testID, bySets)
		if named, expanded := fmt.Sprint(l.Sets), fmt.Sprint(l.Expanded); named != c.named || expanded != c.expanded {
			t.Errorf("%s: names %s, takes members of %s, want %s and %s\n%s", name, named, expanded, c.named, c.expanded, show(l.ACLs))
		}
	}
}

func TestSetOfEverything(t *testing.T) {
	s := state(nil, nil)
	s.IPSets["all"] = set("all", dataplane.SetNets, dataplane.Member{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, dataplane.Member{Prefix: netip.MustParsePrefix("::/0")})
	r := NewRenderer(s, bySets)
	if got := fmt.Sprint(r.Set(SetRef{"all", 4}), r.Set(SetRef{"all", 6})); got != "{felid4-all felid4-all [0.0.0.0/1 128.0.0.0/1]} {felid6-all felid6-all [::/1 8000::/1]}" {
		t.Error(got)
	}
	if set := r.Set(SetRef{"none", 4}); len(set.Members) > 0 {
		t.Errorf("an empty set has %v", set.Members)
	}
}

func TestOwnSet(t *testing.T) {
	ref := SetRef{"s-Zg_1", 6}
	if got, ok := OwnSet(ref.ID()); !ok || got != ref {
		t.Errorf("%s is %v", ref.ID(), got)
	}
	for _, id := range []string{"", "felid4-", "felid5-x", "felid", "azure-npm-1"} {
		if ref, ok := OwnSet(id); ok {
			t.Errorf("%q is %v", id, ref)
		}
	}
}

// TestIPv6IsDeniedWhereHNSTakesNone: in the form without IPv6 addresses nothing of IPv6 passes, whatever HNS does with what no ACL matches.
func TestIPv6IsDeniedWhereHNSTakesNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		if rapid.IntRange(0, 3).Draw(t, "IPv6 alone") == 0 {
			s.Endpoints[testID].Addresses = ownAddrs[1:]
		}
		if !slices.Contains(s.Endpoints[testID].Addresses, ownAddrs[1]) {
			return
		}
		l := Render(s, testID, Options{})
		model := dptest.HNSOf(20348)
		model.IPv6 = false
		port := model.NewNetwork().NewPort()
		if err := port.SetACLs(mustJSON(t, l.ACLs)); err != nil {
			t.Fatalf("%v\n%s", err, show(l.ACLs))
		}
		for range 8 {
			dir := rapid.SampledFrom([]dataplane.Direction{dataplane.Ingress, dataplane.Egress}).Draw(t, "direction")
			p := drawPacket(t, s, dir)
			port.Forget()
			got, want := port.Pass(dir, p).Action, decide(s, dir, p)
			if got == dataplane.Allow && (p.Family() == 6 || want != dataplane.Allow) || got != want && p.Family() == 4 && !reports(l.Unsupported, dir) {
				t.Fatalf("%s %+v: %v, want %v\n%s", dir, p, got, want, show(l.ACLs))
			}
		}
	})
}

func mustJSON(t *rapid.T, acls []hns.ACL) []byte {
	text, err := json.Marshal(acls)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
