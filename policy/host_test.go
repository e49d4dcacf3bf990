package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

func hostEndpoint(name, node, iface string, addresses ...string) *v3.HostEndpoint {
	return &v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"host": "y", "name": name}},
		Spec:       v3.HostEndpointSpec{Node: node, InterfaceName: iface, ExpectedIPs: addresses},
	}
}

func node(name string, addresses ...string) *v3.Node {
	n := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addresses {
		n.Spec.Addresses = append(n.Spec.Addresses, v3.NodeAddress{Address: a})
	}
	return n
}

// forHosts is a policy for all host endpoints, with rules for ports of TCP: "in allow 22", "out deny 80", "in pass 1", "in deny".
func forHosts(name string, edit func(*v3.GlobalNetworkPolicySpec), rules ...string) *v3.GlobalNetworkPolicy {
	p := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Selector = "host == 'y'"
	for _, text := range rules {
		words := strings.Fields(text)
		r := v3.Rule{Action: v3.Action(strings.ToUpper(words[1][:1]) + words[1][1:])}
		if len(words) > 2 {
			port, err := v3.ParsePort(words[2])
			if err != nil {
				panic(err)
			}
			r.Protocol, r.Destination.Ports = tcp, []v3.Port{port}
		}
		if words[0] == "in" {
			p.Spec.Ingress = append(p.Spec.Ingress, r)
		} else {
			p.Spec.Egress = append(p.Spec.Egress, r)
		}
	}
	if edit != nil {
		edit(&p.Spec)
	}
	return p
}

func untracked(s *v3.GlobalNetworkPolicySpec) { s.DoNotTrack, s.ApplyOnForward = true, true }
func preDNAT(s *v3.GlobalNetworkPolicySpec)   { s.PreDNAT, s.ApplyOnForward = true, true }
func forward(s *v3.GlobalNetworkPolicySpec)   { s.ApplyOnForward = true }

// tierNames are the policies of each tier, of both directions: "default Deny in:a,b out:c".
func tierNames(tiers []dataplane.EndpointTier) []string {
	names := func(ids []dataplane.PolicyID) string {
		var out []string
		for _, id := range ids {
			out = append(out, id.Name)
		}
		return strings.Join(out, ",")
	}
	var out []string
	for _, t := range tiers {
		out = append(out, t.Name+" "+t.Default.String()+" in:"+names(t.Ingress)+" out:"+names(t.Egress))
	}
	return out
}

func TestHostEndpointStages(t *testing.T) {
	namespaced := networkPolicy(v3.Rule{Action: v3.Allow})
	lender := &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: "lender"}, Spec: v3.ProfileSpec{LabelsToApply: map[string]string{
		"projectcalico.org/namespace": "a", "lent": "y",
	}}}
	byLabel := forHosts("by-label", nil, "in allow 1")
	byLabel.Spec.Selector = "lent == 'y'"
	host := hostEndpoint("h", "one", "eth0", "192.0.2.1")
	host.Spec.Profiles = []string{"lender", v3.DefaultAllowProfile}
	host.Spec.Ports = []v3.EndpointPort{{Name: "web", Protocol: v3.Protocol{Name: "TCP"}, Port: 80}}
	state, report := policy.Resolve([]v3.Object{
		host, lender, namespaced, byLabel, pod("a", "x", map[string]string{"host": "y"}, "10.0.0.1"),
		forHosts("normal", nil, "in deny", "out deny"), forHosts("forward", forward, "in allow 2"), forHosts("raw", untracked, "in allow 3", "out allow 3"),
		forHosts("early", preDNAT, "in deny 4"), forHosts("bare", func(s *v3.GlobalNetworkPolicySpec) { s.DoNotTrack = true }, "in allow 5"),
		forHosts("both", func(s *v3.GlobalNetworkPolicySpec) { s.DoNotTrack, s.PreDNAT = true, true }, "in allow 6"),
		forHosts("out-early", preDNAT, "out deny 7"), forHosts("away", func(s *v3.GlobalNetworkPolicySpec) { s.DoNotTrack, s.Tier = true, "away" }, "in allow 8"),
	}, offline)
	ep := state.Endpoints["hostendpoint/h"]
	if ep == nil || ep.Node != "one" || ep.Interface != "eth0" || len(ep.Addresses) != 1 || len(ep.Ports) != 1 || ep.Host == nil || ep.Host.Fault != "" {
		t.Fatalf("endpoint %+v", ep)
	}
	for stage, test := range map[string]struct{ got, want []string }{
		"normal":    {tierNames(ep.Tiers), []string{"default Deny in:by-label,forward,normal out:normal"}},
		"forward":   {tierNames(ep.Host.Forward), []string{"default Deny in:forward out:"}},
		"untracked": {tierNames(ep.Host.Untracked), []string{"default Pass in:bare,both,raw out:raw", "away Pass in:away out:"}},
		"preDNAT":   {tierNames(ep.Host.PreDNAT), []string{"default Pass in:early out:"}},
		"a pod's":   {tierNames(state.Endpoints["pod/a/x"].Tiers), []string{"default Deny in:forward,normal,p out:normal"}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s tiers (-want +got):\n%s", stage, diff)
		}
	}
	if got, want := ep.Profiles, []dataplane.PolicyID{{Kind: "Profile", Name: v3.DefaultAllowProfile}}; !slices.Equal(got, want) {
		t.Errorf("profiles %v, want %v", got, want)
	}
	if p := state.Policies[ep.Profiles[0]]; p == nil || len(p.Ingress) != 1 || len(p.Egress) != 1 || p.Ingress[0].Action != dataplane.Allow {
		t.Errorf("the built-in profile is %+v", p)
	}
	want := []string{
		"GlobalNetworkPolicy away spec.tier TierMissing", "GlobalNetworkPolicy both spec.preDNAT PartiallyInvalid",
		"GlobalNetworkPolicy out-early spec.egress PartiallyInvalid",
	}
	if diff := cmp.Diff(want, conditionTexts(report)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
}

func TestProfileInPlaceOfTheBuiltInOne(t *testing.T) {
	host := hostEndpoint("h", "one", "*")
	host.Spec.Profiles = []string{v3.DefaultAllowProfile}
	own := &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: v3.DefaultAllowProfile}, Spec: v3.ProfileSpec{Egress: []v3.Rule{{Action: v3.Allow}}}}
	state, _ := policy.Resolve([]v3.Object{host, own}, offline)
	if p := state.Policies[dataplane.PolicyID{Kind: "Profile", Name: v3.DefaultAllowProfile}]; len(p.Ingress) != 0 || len(p.Egress) != 1 {
		t.Errorf("the profile is %+v", p)
	}
}

// TestOneEndpointAnInterface: the first by name, but those that can't be read come before the others.
func TestOneEndpointAnInterface(t *testing.T) {
	unreadable := hostEndpoint("z", "one", v3.UnreadableInterface)
	unreadable.Spec.Invalid = "spec.interfaceName 5 does not fit"
	labels := hostEndpoint("y", "one", "eth1")
	labels.Spec.Invalid = "metadata.labels is a number"
	for _, test := range []struct {
		name      string
		hosts     []*v3.HostEndpoint
		want      []string // those that count
		conflicts []string // those that don't
	}{
		{"one each", []*v3.HostEndpoint{hostEndpoint("a", "one", "eth0"), hostEndpoint("b", "one", "*"), hostEndpoint("c", "one", "", "10.0.0.1")}, []string{"a", "b", "c"}, nil},
		{"by name", []*v3.HostEndpoint{hostEndpoint("b", "one", "eth0"), hostEndpoint("a", "one", "eth0")}, []string{"a"}, []string{"b"}},
		{"of all interfaces", []*v3.HostEndpoint{hostEndpoint("b", "one", "*"), hostEndpoint("a", "one", "*")}, []string{"a"}, []string{"b"}},
		{"on two nodes", []*v3.HostEndpoint{hostEndpoint("b", "one", "eth0"), hostEndpoint("a", "two", "eth0")}, []string{"a", "b"}, nil},
		{"by address", []*v3.HostEndpoint{
			hostEndpoint("a", "one", "", "10.0.0.1", "10.0.0.2"), hostEndpoint("b", "one", "", "10.0.0.2", "10.0.0.3"), hostEndpoint("c", "one", "", "10.0.0.3"),
			hostEndpoint("d", "one", "", "10.0.0.1", "10.0.0.3"),
		}, []string{"a", "b"}, []string{"c", "d"}},
		{"unreadable interface", []*v3.HostEndpoint{hostEndpoint("a", "one", "*"), unreadable, hostEndpoint("b", "one", "eth0")}, []string{"b", "z"}, []string{"a"}},
		{"unreadable labels", []*v3.HostEndpoint{hostEndpoint("a", "one", "eth1"), labels}, []string{"y"}, []string{"a"}},
	} {
		var objects []v3.Object
		for _, h := range test.hosts {
			objects = append(objects, h)
		}
		state, report := policy.Resolve(objects, offline)
		var got, conflicts []string
		for _, h := range test.hosts {
			if state.Endpoints[policy.HostEndpointID(h.Name)] != nil {
				got = append(got, h.Name)
			}
		}
		for _, c := range report.Conditions {
			if c.Type == policy.ConditionNotEnforced {
				conflicts = append(conflicts, c.Object.Name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) || !slices.Equal(conflicts, test.conflicts) {
			t.Errorf("%s: %v count, want %v; %v reported, want %v", test.name, got, test.want, conflicts, test.conflicts)
		}
	}
}

func TestUnreadableHostEndpoint(t *testing.T) {
	spoil := func(edit func(*v3.HostEndpoint)) *v3.HostEndpoint {
		h := hostEndpoint("h", "one", "eth0", "192.0.2.1")
		h.Spec.Profiles = []string{v3.DefaultAllowProfile}
		edit(h)
		return h
	}
	const partly = "HostEndpoint h spec PartiallyInvalid"
	for _, test := range []struct {
		name      string
		host      *v3.HostEndpoint
		iface     string // "": there is no endpoint
		fault     bool
		condition string
	}{
		{"interface", spoil(func(h *v3.HostEndpoint) { h.Spec.InterfaceName = "a b" }), "*", true, partly},
		{"nothing says which", spoil(func(h *v3.HostEndpoint) { h.Spec.InterfaceName, h.Spec.ExpectedIPs = "", nil }), "*", true, partly},
		{"no address can be read", spoil(func(h *v3.HostEndpoint) { h.Spec.InterfaceName, h.Spec.ExpectedIPs = "", []string{"x"} }), "*", true, partly},
		{"an address", spoil(func(h *v3.HostEndpoint) { h.Spec.ExpectedIPs = []string{"x", "192.0.2.1"} }), "eth0", false, "HostEndpoint h spec.expectedIPs[0] PartiallyInvalid"},
		{"labels", spoil(func(h *v3.HostEndpoint) { h.Spec.Invalid = "metadata.labels is a number" }), "eth0", true, partly},
		{"node", spoil(func(h *v3.HostEndpoint) { h.Spec.Node = "" }), "", false, "HostEndpoint h spec.node Invalid"},
	} {
		state, report := policy.Resolve([]v3.Object{test.host, forHosts("p", nil, "in allow", "out allow")}, offline)
		if !slices.Contains(conditionTexts(report), test.condition) {
			t.Errorf("%s: conditions %v, want %q", test.name, conditionTexts(report), test.condition)
		}
		ep := state.Endpoints["hostendpoint/h"]
		if (ep != nil) != (test.iface != "") {
			t.Errorf("%s: endpoint %+v", test.name, ep)
		}
		if ep == nil {
			continue
		}
		if ep.Interface != test.iface || (ep.Host.Fault != "") != test.fault || (len(ep.Tiers)+len(ep.Profiles) == 0) != test.fault {
			t.Errorf("%s: interface %q, fault %q, tiers %v, profiles %v", test.name, ep.Interface, ep.Host.Fault, ep.Tiers, ep.Profiles)
		}
	}
}

// TestNothingOpensByUnreadableLabels: whether a rule means an endpoint whose labels are lost is not known.
func TestNothingOpensByUnreadableLabels(t *testing.T) {
	host := hostEndpoint("h", "one", "eth0", "192.0.2.1")
	host.Spec.Invalid = "metadata.labels.quarantined 5 does not fit"
	rule := v3.Rule{Action: v3.Allow, Source: v3.EntityRule{NamespaceSelector: "global()", Selector: "!has(quarantined)"}}
	state, _ := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), host, networkPolicy(rule)}, offline)
	f := policy.Flow{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("10.0.0.1"), Protocol: 6, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	if v := policy.Evaluate(state, "pod/a/x", dataplane.Ingress, f); v.Action != dataplane.Deny {
		t.Errorf("got %s by %+v, want Deny", v.Action, v.By)
	}
}

// TestHostEndpointsShareAddresses: in an Allow too, if they are of one node.
func TestHostEndpointsShareAddresses(t *testing.T) {
	older, newer, elsewhere := hostEndpoint("older", "one", "*", "192.0.2.1"), hostEndpoint("newer", "one", "eth0", "192.0.2.1"), hostEndpoint("other", "two", "*", "192.0.2.1")
	newer.CreationTimestamp = metav1.Time{Time: time.Unix(1000, 0)}
	var rules []v3.Rule
	for _, name := range []string{"older", "newer", "other"} {
		rules = append(rules, v3.Rule{Action: v3.Allow, Source: v3.EntityRule{NamespaceSelector: "global()", Selector: "name == '" + name + "'"}})
	}
	state, _ := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), older, newer, elsewhere, networkPolicy(rules...)}, offline)
	var got []int
	for _, rule := range state.Policies[policyID].Ingress {
		got = append(got, len(state.IPSets[rule.Src.IPSets[0]].Members))
	}
	if want := []int{1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("members per rule %v, want %v", got, want)
	}
}
