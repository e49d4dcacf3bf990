package windows

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// randomTiers are tiers of rules about nets, sets and ports of a cluster, some of which are Pass, and meet rules of later tiers.
func randomTiers(seed uint64, tiers, rules, passes int, sets bool) *dataplane.State {
	random := rand.New(rand.NewPCG(seed, 1))
	s := state(nil, nil)
	ep := s.Endpoints[testID]
	ep.Tiers = nil
	for i := range 40 {
		id := dataplane.IPSetID(fmt.Sprintf("pods-%d", i))
		s.IPSets[id] = podSet(id, 20, i+int(seed))
	}
	for t := range tiers {
		id := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: fmt.Sprintf("tier%d", t)}
		p := &dataplane.Policy{ID: id, Tier: fmt.Sprint(t)}
		pass := map[int]bool{}
		for len(pass) < passes {
			pass[random.IntN(rules)] = true
		}
		for i := range rules {
			r := dataplane.Rule{Index: i, Action: dataplane.Allow, Protocol: []uint8{6, 6, 6, 17}[random.IntN(4)]}
			low := uint16(8000 + random.IntN(200))
			r.Dst.Ports = []dataplane.PortRange{{Min: low, Max: low + uint16(random.IntN(3))}}
			bits := 20 + random.IntN(5)
			switch {
			case pass[i]:
				r.Action, bits = dataplane.Pass, 11+random.IntN(4)
				r.Dst.Ports = []dataplane.PortRange{{Min: low, Max: low + uint16(random.IntN(100))}}
			case random.IntN(3) == 0:
				r.Action = dataplane.Deny
			}
			r.Src.Nets = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.IntN(256)), byte(random.IntN(256)), 0}), bits).Masked()}
			if sets && !pass[i] && random.IntN(2) == 0 {
				r.Src = dataplane.Side{IPSets: []dataplane.IPSetID{dataplane.IPSetID(fmt.Sprintf("pods-%d", random.IntN(40)))}}
			}
			p.Ingress = append(p.Ingress, r)
		}
		s.Policies[id] = p
		ep.Tiers = append(ep.Tiers, dataplane.EndpointTier{Name: fmt.Sprint(t), Ingress: []dataplane.PolicyID{id}, Default: dataplane.Pass})
	}
	ep.Tiers[tiers-1].Default = dataplane.Deny
	return s
}

// TestTiersWithPassAreShortAndExact: five tiers of a hundred rules, ten of them Pass, are fewer than 2,000 ACLs, and these allow exactly the
// connections that the tiers allow.
func TestTiersWithPassAreShortAndExact(t *testing.T) {
	states := map[string]*dataplane.State{"regular": tiersWithPass(5, 100, 10)}
	for seed := range uint64(3) {
		states[fmt.Sprint("random nets ", seed)] = randomTiers(seed, 5, 100, 10, false)
		states[fmt.Sprint("random sets ", seed)] = randomTiers(seed, 5, 100, 10, true)
	}
	for name, s := range states {
		l := Render(s, testID, Options{Form: Form{IPv6: true}})
		if len(l.ACLs) >= 2000 || len(l.Unsupported) > 0 {
			t.Errorf("%s: %d ACLs, unsupported %v", name, len(l.ACLs), l.Unsupported)
		}
		d := flatten.Diff(s, asOneTier(t, s, l.ACLs))
		if len(d.Opens)+len(d.Closes)+len(d.Moved) > 0 {
			t.Errorf("%s: opens %v, closes %v", name, d.Opens, d.Closes)
		}
		sample(t, name, s, l.ACLs)
	}
}

// asOneTier is a state whose one tier has a list's rules of policy.
func asOneTier(t *testing.T, s *dataplane.State, acls []hns.ACL) *dataplane.State {
	t.Helper()
	out := *s
	id := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "list"}
	p := &dataplane.Policy{ID: id, Tier: "list"}
	for i, a := range acls {
		if a.RuleType != hns.Switch || a.Priority < policyPriority {
			continue
		}
		r := ruleOf(t, a)
		if r.Index = i; a.Direction == hns.In {
			p.Ingress = append(p.Ingress, r)
		} else {
			p.Egress = append(p.Egress, r)
		}
	}
	ep := *s.Endpoints[testID]
	ep.Tiers = []dataplane.EndpointTier{{Name: "list", Ingress: []dataplane.PolicyID{id}, Egress: []dataplane.PolicyID{id}, Default: dataplane.Deny}}
	ep.Profiles = nil
	out.Policies = map[dataplane.PolicyID]*dataplane.Policy{id: p}
	out.Endpoints = map[dataplane.EndpointID]*dataplane.Endpoint{testID: &ep}
	return &out
}

// ruleOf reads an ACL as a rule.
func ruleOf(t *testing.T, a hns.ACL) dataplane.Rule {
	t.Helper()
	r := dataplane.Rule{Action: dataplane.Deny}
	if a.Action == hns.Allow {
		r.Action = dataplane.Allow
	}
	if a.Protocols != "" {
		n, err := strconv.ParseUint(a.Protocols, 10, 8)
		if err != nil {
			t.Fatalf("%s: protocols %q", a.ID, a.Protocols)
		}
		r.Protocol = uint8(n)
	}
	local, remote := &r.Src, &r.Dst
	if a.Direction == hns.In {
		local, remote = &r.Dst, &r.Src
	}
	local.Nets, remote.Nets = netsOf(t, a.LocalAddresses), netsOf(t, a.RemoteAddresses)
	local.Ports, remote.Ports = rangesOf(t, a.LocalPorts), rangesOf(t, a.RemotePorts)
	return r
}

func netsOf(t *testing.T, text string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			p = single(item)
		}
		out = append(out, p)
	}
	return out
}

func rangesOf(t *testing.T, text string) []dataplane.PortRange {
	t.Helper()
	var out []dataplane.PortRange
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		low, high, ok := strings.Cut(item, "-")
		if !ok {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil {
			t.Fatalf("ports %q", text)
		}
		out = append(out, dataplane.PortRange{Min: uint16(from), Max: uint16(to)})
	}
	return out
}

// sample sends packets through HNS's model of the list, and through tiers as they are written. Most are at the edges of what rules name.
func sample(t *testing.T, name string, s *dataplane.State, acls []hns.ACL) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	var list []byte
	for i, a := range acls {
		list = append(append(list, "[,"[min(i, 1)]), a.Raw()...)
	}
	port := dptest.HNSOf(26100).NewNetwork().NewPort()
	if err := port.SetACLs(append(list, ']')); err != nil {
		t.Fatal(err)
	}
	allowed := 0
	for range 2000 {
		tier := s.Policies[s.Endpoints[testID].Tiers[random.IntN(len(s.Endpoints[testID].Tiers))].Ingress[0]].Ingress
		rule := tier[random.IntN(len(tier))]
		p := dptest.Tuple{Src: netip.AddrFrom4([4]byte{10, byte(random.IntN(256)), byte(random.IntN(256)), 1}), Dst: ownAddrs[0], Protocol: rule.Protocol, SrcPort: 4000, ICMPType: -1, ICMPCode: -1}
		if len(rule.Src.Nets) > 0 {
			p.Src = rule.Src.Nets[0].Addr()
		}
		p.DstPort = rule.Dst.Ports[0].Min + uint16(random.IntN(4))
		port.Forget()
		got, want := port.Pass(dataplane.Ingress, p), decide(s, dataplane.Ingress, p)
		if got.Action != want {
			t.Fatalf("%s: %+v: %v by %s, want %v", name, p, got.Action, got.ID, want)
		}
		if want == dataplane.Allow {
			allowed++
		}
	}
	if allowed < 20 {
		t.Errorf("%s: %d of 2,000 packets are allowed: too few to mean anything", name, allowed)
	}
}
