package flatten

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

// drawTiers are tiers as Tiers wants them: each ends with something for everything.
func drawTiers(t *rapid.T) [][]Rule {
	sets := NewSets(someSets)
	var tiers [][]Rule
	n := rapid.IntRange(1, 4).Draw(t, "tiers")
	for i := range n {
		actions := []dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass}
		if i == n-1 {
			actions = actions[:2]
		}
		action := rapid.SampledFrom(actions)
		var rules []Rule
		for j := range rapid.IntRange(0, 4).Draw(t, "rules") {
			r := drawRule(t)
			_, over := sets.Matches(&r)
			a := action.Draw(t, "action")
			for _, m := range over {
				rules = append(rules, Rule{Match: m, Action: a, From: Origin{Tier: fmt.Sprint(i), Index: j}})
			}
		}
		tiers = append(tiers, append(rules, Rule{Action: action.Draw(t, "default"), From: Origin{Tier: fmt.Sprint(i), Index: -1}}))
	}
	return tiers
}

func firstOf(rules []Rule, p packet) Rule {
	for _, r := range rules {
		if r.has(p) {
			return r
		}
	}
	panic("nothing matches")
}

// walk is what tiers do with a packet, and the rules that passed it on.
func walk(tiers [][]Rule, p packet) (decided Rule, passed []Origin) {
	for _, tier := range tiers {
		if decided = firstOf(tier, p); decided.Action != dataplane.Pass {
			break
		}
		passed = append(passed, decided.From)
	}
	return decided, passed
}

func TestTiersAreOneList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tiers := drawTiers(t)
		limit := rapid.SampledFrom([]int{1, 3, 10, 1000000}).Draw(t, "limit")
		rules, denied := Tiers(tiers, limit)
		if limit == 1000000 && len(denied) > 0 {
			t.Fatalf("denied %v", denied)
		}
		for range 20 {
			p := drawPacket(t)
			got := firstOf(rules, p)
			want, passed := walk(tiers, p)
			if got.Action == dataplane.Deny && slices.ContainsFunc(passed, func(o Origin) bool { return slices.Contains(denied, o) }) {
				continue // for want of room
			}
			if got.Action != want.Action {
				t.Fatalf("%+v: %v by %v, want %v by %v", p, got.Action, got.From, want.Action, want.From)
			}
		}
	})
}

// plain is the definition: the later rules in the place of each Pass, limited to what it matches.
func plain(tiers [][]Rule) []Rule {
	var after []Rule
	for i := len(tiers) - 1; i >= 0; i-- {
		var list []Rule
		for _, r := range tiers[i] {
			if r.Action != dataplane.Pass {
				list = append(list, r)
			} else {
				for _, next := range after {
					if both, ok := r.Match.Intersect(next.Match); ok {
						list = append(list, Rule{Match: both, Action: next.Action})
					}
				}
			}
			if r.Everything() {
				break
			}
		}
		after = list
	}
	return after
}

// TestTiersAreNeverDearer than they are with the later rules in the place of each Pass.
func TestTiersAreNeverDearer(t *testing.T) {
	all, shorter := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tiers := drawTiers(t)
		rules, _ := Tiers(tiers, 1000000)
		want := plain(tiers)
		if cost(rules) > cost(want) {
			t.Fatalf("%d rules (cost %d), plainly %d (cost %d)", len(rules), cost(rules), len(want), cost(want))
		}
		all++
		if len(rules) < len(want) {
			shorter++
		}
	})
	if shorter*50 < all {
		t.Errorf("%d of %d lists were shorter: too few to mean anything", shorter, all)
	}
}

// TestTidyKeepsEveryVerdict, and leaves no rule out that is needed to.
func TestTidyKeepsEveryVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawTiers(t)[0]
		tidied := tidy(list)
		for range 20 {
			p := drawPacket(t)
			if got, want := firstOf(tidied, p), firstOf(list, p); got.Action != want.Action {
				t.Fatalf("%+v: %v, want %v", p, got.Action, want.Action)
			}
		}
		if again := tidy(tidied); len(again) != len(tidied) {
			t.Fatalf("%d rules became %d, then %d", len(list), len(tidied), len(again))
		}
	})
}

func on(action dataplane.Action, protocol uint8, port uint16, nets ...string) Rule {
	r := Rule{Action: action}
	if protocol != 0 {
		r.Protocols = ProtocolsOf(protocol)
	}
	if port != 0 {
		r.DstPorts = PortsOf(dataplane.PortRange{Min: port, Max: port})
	}
	if len(nets) > 0 {
		r.Src = AddrsOf(prefixes(nets...)...)
	}
	return r
}

// application is a tier of a namespace: n rules that do not merge, of which every fourth denies, and the end.
func application(n int) []Rule {
	var out []Rule
	for i := range n {
		action := dataplane.Allow
		if i%4 == 3 {
			action = dataplane.Deny
		}
		out = append(out, on(action, 6, uint16(8000+i), fmt.Sprintf("10.%d.0.0/15", 2*i), "fd00::/16"))
	}
	return append(out, on(dataplane.Deny, 0, 0))
}

// admin is a tier of Pass rules that have no set in common, and the end.
func admin(n int, end dataplane.Action) []Rule {
	var out []Rule
	for i := range n {
		out = append(out, on(dataplane.Pass, 6, uint16(8000+i), fmt.Sprintf("10.%d.0.0/16", 2*i), "fd00::/32"))
	}
	return append(out, on(end, 0, 0))
}

func TestTiersAreSmall(t *testing.T) {
	const allow, deny, pass = dataplane.Allow, dataplane.Deny, dataplane.Pass
	all := func(a dataplane.Action) []Rule { return []Rule{on(a, 0, 0)} }
	for name, c := range map[string]struct {
		tiers [][]Rule
		most  int
	}{
		"Pass before all-Deny":              {[][]Rule{append([]Rule{on(allow, 6, 80)}, admin(5, deny)...), all(deny)}, 2},
		"Pass before all-Allow":             {[][]Rule{admin(5, deny), all(allow)}, 6},
		"Pass of everything":                {[][]Rule{append([]Rule{on(deny, 17, 0)}, all(pass)...), application(20)}, 22},
		"Pass that meets one rule each":     {[][]Rule{admin(5, deny), application(20)}, 6},
		"Pass by the default":               {[][]Rule{append([]Rule{on(pass, 6, 80)}, all(pass)...), application(20)}, 21},
		"Pass of single sets become one":    {[][]Rule{{on(pass, 0, 0, "10.0.0.0/9"), on(pass, 0, 0, "11.0.0.0/8"), on(pass, 0, 0, "10.128.0.0/9"), on(deny, 0, 0)}, application(20)}, 22},
		"a rule between them that commutes": {[][]Rule{{on(pass, 0, 0, "10.0.0.0/9"), on(allow, 0, 0, "12.0.0.0/8"), on(pass, 0, 0, "11.0.0.0/8"), on(deny, 0, 0)}, application(20)}, 23},
		"rules merged on ports":             {[][]Rule{{on(allow, 6, 80), on(deny, 17, 53), on(allow, 6, 443), on(deny, 0, 0)}}, 2},
		"rules shadowed by two":             {[][]Rule{{on(allow, 0, 0, "10.0.0.0/9"), on(allow, 0, 0, "10.128.0.0/9"), on(deny, 6, 0, "10.64.0.0/10"), on(deny, 6, 80), on(allow, 0, 0)}}, 3},
		"an Admin tier of five wide Passes": {[][]Rule{widePasses(5), application(20)}, 28},
		"ten of them":                       {[][]Rule{widePasses(10), application(20)}, 33},
		"three such tiers":                  {[][]Rule{widePasses(5), widePasses(5), application(20)}, 28},
	} {
		rules, denied := Tiers(c.tiers, 8192)
		if len(rules) > c.most || len(denied) > 0 {
			t.Errorf("%s: %d rules (plainly %d), want %d; denied %v", name, len(rules), len(plain(c.tiers)), c.most, denied)
		}
	}
}

// widePasses are Pass rules of a tier that each meet many rules of the next, and do not merge.
func widePasses(n int) []Rule {
	var out []Rule
	for i := range n {
		r := on(dataplane.Pass, 6, 0, fmt.Sprintf("10.%d.0.0/12", 16*i), "fd00::/16")
		r.DstPorts = PortsOf(dataplane.PortRange{Min: 8000, Max: uint16(8100 + i)})
		out = append(out, r)
	}
	return append(out, on(dataplane.Deny, 0, 0))
}

// TestTiersWithoutRoom: Pass rules whose product explodes deny what they match, all of them are named, and the rest goes on.
func TestTiersWithoutRoom(t *testing.T) {
	first, second := []Rule{on(dataplane.Allow, 17, 53)}, []Rule{}
	for i := range 40 {
		r := on(dataplane.Pass, 6, uint16(1000+2*i), fmt.Sprintf("10.%d.0.0/16", i))
		r.From = Origin{Tier: "first", Index: i}
		first = append(first, r)
		r = on(dataplane.Allow, 0, 0)
		r.Protocols, r.Dst, r.SrcPorts = ProtocolsOf(6, 17), AddrsOf(prefixes(fmt.Sprintf("11.%d.0.0/16", i))...), PortsOf(dataplane.PortRange{Min: uint16(2 * i), Max: uint16(2 * i)})
		second = append(second, r)
	}
	tiers := [][]Rule{append(first, on(dataplane.Allow, 0, 0)), append(second, on(dataplane.Deny, 0, 0))}
	if rules, denied := Tiers(tiers, 10000); len(denied) > 0 || len(rules) > len(plain(tiers)) {
		t.Errorf("with room for all: %d rules, plainly %d, %d denied", len(rules), len(plain(tiers)), len(denied))
	}
	rules, denied := Tiers(tiers, 60)
	if len(rules) > 60+len(first) || len(denied) == 0 {
		t.Fatalf("%d rules, %d denied", len(rules), len(denied))
	}
	for i := range 40 {
		p := packet{src: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), dst: netip.AddrFrom4([4]byte{11, 3, 0, 1}), protocol: 6, srcPort: 6, dstPort: uint16(1000 + 2*i)}
		got := firstOf(rules, p).Action
		if named := slices.Contains(denied, Origin{Tier: "first", Index: i}); named != (got == dataplane.Deny) {
			t.Errorf("Pass %d: %v, named as denied: %t", i, got, named)
		}
	}
}

func BenchmarkTiers(b *testing.B) {
	for name, tiers := range map[string][][]Rule{
		"admin=5,application=20":  {widePasses(5), application(20)},
		"admin=10,application=90": {widePasses(10), application(90)},
		"three":                   {widePasses(5), widePasses(5), application(40)},
		"scattered=200":           {admin(110, dataplane.Deny), application(110)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				rules, _ := Tiers(tiers, 8192)
				n = len(rules)
			}
			b.ReportMetric(float64(n), "rules")
			b.ReportMetric(float64(len(plain(tiers))), "plain-rules")
		})
	}
}

// TestTidyOfLongSets: rules that are about many ranges are left alone where it would be much work to see that they are not needed, and still
// decide alike; those that are within another go all the same.
func TestTidyOfLongSets(t *testing.T) {
	scattered := func(from, n int) Addrs {
		var out []netip.Prefix
		for i := range n {
			out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte((from + i) >> 7), byte((from + i) << 1)}), 32))
		}
		return AddrsOf(out...)
	}
	rule := func(action dataplane.Action, src Addrs, port uint16) Rule {
		r := on(action, 6, port)
		r.Src = src
		return r
	}
	for name, c := range map[string]struct {
		list []Rule
		want int
	}{
		"apart":    {[]Rule{rule(dataplane.Allow, scattered(0, 600), 80), rule(dataplane.Deny, scattered(300, 600), 0), on(dataplane.Allow, 0, 0)}, 3},
		"within":   {[]Rule{rule(dataplane.Deny, scattered(0, 600), 0), rule(dataplane.Allow, scattered(100, 300), 80), on(dataplane.Deny, 0, 0)}, 1},
		"shadowed": {[]Rule{rule(dataplane.Deny, scattered(0, 600), 0), rule(dataplane.Allow, scattered(100, 300), 80), on(dataplane.Allow, 0, 0)}, 2},
		"by two":   {[]Rule{rule(dataplane.Allow, scattered(0, 400), 80), rule(dataplane.Deny, scattered(0, 500), 80), rule(dataplane.Allow, scattered(300, 500), 80), on(dataplane.Deny, 0, 0)}, 4},
	} {
		tidied := tidy(c.list)
		if len(tidied) != c.want {
			t.Errorf("%s: %d rules, want %d", name, len(tidied), c.want)
		}
		for i := range 2000 {
			p := packet{src: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), dst: netip.MustParseAddr("10.9.9.9"), protocol: 6, dstPort: uint16(79 + i%3)}
			if got, want := firstOf(tidied, p), firstOf(c.list, p); got.Action != want.Action {
				t.Fatalf("%s: %+v: %v, want %v", name, p, got.Action, want.Action)
			}
		}
	}
}
