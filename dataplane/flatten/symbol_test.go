package flatten

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

// hasIn is has, where the members of sets are as in a world.
func (m Match) hasIn(world map[dataplane.IPSetID]*dataplane.IPSet, p packet) bool {
	in := func(set *Symbol, a netip.Addr) bool {
		return set == nil || slices.ContainsFunc(slices.Collect(maps.Keys(world[set.ID].Members)), func(m dataplane.Member) bool { return m.Prefix.Contains(a) })
	}
	return m.has(p) && in(m.SrcSet, p.src) && in(m.DstSet, p.dst)
}

// drawWorld gives three sets members.
func drawWorld(t *rapid.T) map[dataplane.IPSetID]*dataplane.IPSet {
	out := maps.Clone(someSets)
	for _, id := range []dataplane.IPSetID{"a", "b", "c"} {
		set := &dataplane.IPSet{ID: id, Members: map[dataplane.Member]struct{}{}}
		for _, net := range rapid.SliceOfN(rapid.SampledFrom(someNets), 0, 3).Draw(t, "members of "+string(id)) {
			set.Members[dataplane.Member{Prefix: net}] = struct{}{}
		}
		out[id] = set
	}
	return out
}

// drawSymbolicTiers are tiers as Tiers wants them, whose rules mostly ask for a set.
func drawSymbolicTiers(t *rapid.T) [][]dataplane.Rule {
	set := rapid.SampledFrom([]dataplane.IPSetID{"a", "a", "b", "c"})
	var tiers [][]dataplane.Rule
	n := rapid.IntRange(1, 4).Draw(t, "tiers")
	for i := range n {
		actions := []dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass}
		if i == n-1 {
			actions = actions[:2]
		}
		var rules []dataplane.Rule
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			r := dataplane.Rule{Protocol: rapid.SampledFrom([]uint8{0, 6, 17}).Draw(t, "protocol"), IPVersion: rapid.SampledFrom([]uint8{0, 0, 4}).Draw(t, "version")}
			for _, side := range []*dataplane.Side{&r.Src, &r.Dst} {
				switch rapid.IntRange(0, 5).Draw(t, "side") {
				case 0, 1, 2:
					side.IPSets = []dataplane.IPSetID{set.Draw(t, "set")}
				case 3:
					*side = drawSide(t)
				}
			}
			r.Dst.Ports = some(t, "ports", []dataplane.PortRange{{Min: 2, Max: 2}, {Min: 1, Max: 4}})
			r.Action = rapid.SampledFrom(actions).Draw(t, "action")
			rules = append(rules, r)
		}
		tiers = append(tiers, append(rules, dataplane.Rule{Action: rapid.SampledFrom(actions).Draw(t, "default")}))
	}
	return tiers
}

func matchesOf(tiers [][]dataplane.Rule, y *Symbols) [][]Rule {
	var out [][]Rule
	for i := range tiers {
		var rules []Rule
		for j := range tiers[i] {
			_, over := y.Matches(&tiers[i][j])
			for _, m := range over {
				rules = append(rules, Rule{Match: m, Action: tiers[i][j].Action, From: Origin{Tier: fmt.Sprint(i), Index: j}})
			}
		}
		out = append(out, rules)
	}
	return out
}

func firstIn(world map[dataplane.IPSetID]*dataplane.IPSet, rules []Rule, p packet) dataplane.Action {
	for _, r := range rules {
		if r.hasIn(world, p) {
			return r.Action
		}
	}
	panic("nothing matches")
}

// TestListsHoldForOtherMembers: one list that was made with some members decides as its tiers do when those sets have others whose members were
// not taken.
func TestListsHoldForOtherMembers(t *testing.T) {
	free, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tiers, before, other := drawSymbolicTiers(t), drawWorld(t), drawWorld(t)
		y := NewSets(before).Symbols(false)
		rules, denied := y.Tiers(matchesOf(tiers, y), 1000000)
		if len(denied) > 0 {
			t.Fatalf("denied %v", denied)
		}
		noted := y.Noted()
		for _, id := range noted {
			other[id] = before[id]
		}
		plain := NewSets(other)
		want := matchesOf(tiers, plain.Symbols(true))
		for range 20 {
			p := drawPacket(t)
			decided, _ := walk(want, p)
			if got := firstIn(other, rules, p); got != decided.Action {
				t.Fatalf("%+v: %v, want %v by %v; members of %v were taken", p, got, decided.Action, decided.From, noted)
			}
		}
		for _, r := range rules {
			if r.SrcSet != nil && !r.Src.Whole() || r.DstSet != nil && !r.Dst.Whole() {
				t.Fatalf("%+v asks for a set and for part of a family", r.Match)
			}
		}
		all++
		if len(noted) == 0 {
			free++
		}
	})
	if free*10 < all {
		t.Errorf("%d of %d lists took no members: too few to mean anything", free, all)
	}
}

// TestSymbolsInTiers: what takes members of sets, and what does not.
func TestSymbolsInTiers(t *testing.T) {
	const allow, deny, pass = dataplane.Allow, dataplane.Deny, dataplane.Pass
	from := func(action dataplane.Action, set dataplane.IPSetID, port uint16, nets ...string) dataplane.Rule {
		r := dataplane.Rule{Action: action, Src: dataplane.Side{Nets: prefixes(nets...)}}
		if set != "" {
			r.Src.IPSets = []dataplane.IPSetID{set}
		}
		if port != 0 {
			r.Protocol, r.Dst.Ports = 6, []dataplane.PortRange{{Min: port, Max: port}}
		}
		return r
	}
	end := func(a dataplane.Action) dataplane.Rule { return dataplane.Rule{Action: a} }
	type rules = []dataplane.Rule
	for name, c := range map[string]struct {
		tiers []rules
		noted string
		want  int
	}{
		"a tier":                         {[]rules{{from(allow, "a", 80), from(deny, "b", 0), from(allow, "c", 443), end(deny)}}, "[]", 4},
		"ports of one set":               {[]rules{{from(allow, "a", 80), from(allow, "b", 80), from(allow, "a", 443), end(deny)}}, "[]", 3},
		"a set within another rule":      {[]rules{{from(allow, "", 80), from(allow, "a", 80), end(deny)}}, "[]", 2},
		"a net does not know":            {[]rules{{from(allow, "", 80, "10.0.0.0/8"), from(allow, "a", 80), end(deny)}}, "[]", 3},
		"Pass at the end":                {[]rules{{from(deny, "a", 0), end(pass)}, {from(allow, "b", 80), end(deny)}}, "[]", 3},
		"Pass of a port":                 {[]rules{{from(pass, "", 80), end(deny)}, {from(allow, "b", 0), end(deny)}}, "[]", 2},
		"Pass of a set to ports":         {[]rules{{from(pass, "a", 0), end(deny)}, {from(allow, "", 80), end(deny)}}, "[]", 2},
		"Pass of a set to the same":      {[]rules{{from(pass, "a", 0), end(deny)}, {from(allow, "a", 80), end(deny)}}, "[]", 2},
		"Pass of a set to another":       {[]rules{{from(pass, "a", 0), end(deny)}, {from(allow, "b", 80), end(deny)}}, "[a b]", 2},
		"Pass of a net to a set":         {[]rules{{from(pass, "", 0, "10.0.0.0/8"), end(deny)}, {from(allow, "b", 80), end(deny)}}, "[]", 3},
		"a set behind Pass of a net":     {[]rules{{from(pass, "", 80, "10.0.0.0/8"), from(deny, "a", 0), end(pass)}, {from(allow, "", 0), end(deny)}}, "[]", 3},
		"no Pass reaches the second set": {[]rules{{from(allow, "a", 0), end(deny)}, {from(allow, "b", 80), end(deny)}}, "[]", 2},
	} {
		world := map[dataplane.IPSetID]*dataplane.IPSet{}
		for i, id := range []dataplane.IPSetID{"a", "b", "c"} {
			net := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i % 2), 0, 0}), 16)
			world[id] = &dataplane.IPSet{ID: id, Members: members(dataplane.Member{Prefix: net}, dataplane.Member{Prefix: someNets[4]})}
		}
		y := NewSets(world).Symbols(false)
		list, _ := y.Tiers(matchesOf(c.tiers, y), 8192)
		if noted := fmt.Sprint(y.Noted()); noted != c.noted || len(list) != c.want {
			t.Errorf("%s: members of %s were taken, want %s; %d rules, want %d", name, noted, c.noted, len(list), c.want)
		}
	}
}
