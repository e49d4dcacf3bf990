package policy_test

import (
	"encoding/json"
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

var (
	offline  = policy.Options{Host: dataplane.Host{IPv6: true}}
	policyID = dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p"}
	tcp      = &v3.Protocol{Name: "TCP"}
)

func pod(namespace, name string, labels map[string]string, addresses ...string) *v3.WorkloadEndpoint {
	return &v3.WorkloadEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator: "k8s", Node: "one", Pod: name, Endpoint: "eth0", IPNetworks: addresses, Profiles: []string{"kns." + namespace},
		},
	}
}

func networkPolicy(ingress ...v3.Rule) *v3.NetworkPolicy {
	return &v3.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"},
		Spec:       v3.NetworkPolicySpec{PolicySpec: v3.PolicySpec{Ingress: ingress}},
	}
}

func openNamespace(name string) *v3.Profile {
	allow := []v3.Rule{{Action: v3.Allow}}
	return &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: "kns." + name}, Spec: v3.ProfileSpec{Ingress: allow, Egress: allow}}
}

func conditionTexts(r *policy.Report) []string {
	var texts []string
	for _, c := range r.Conditions {
		texts = append(texts, c.Object.String()+" "+c.Field+" "+c.Type)
	}
	return texts
}

// TestInvalidRules: whatever can't be read or expressed, nothing opens, and the report names it.
func TestInvalidRules(t *testing.T) {
	denyAll := []dataplane.Rule{{Action: dataplane.Deny}}
	prefix := netip.MustParsePrefix("10.0.0.0/8")
	entity := func(e v3.EntityRule) v3.Rule { return v3.Rule{Source: e} }
	badSelector, badNets := entity(v3.EntityRule{Selector: "app ="}), entity(v3.EntityRule{Nets: []string{"x"}})
	someNets, someNotNets := entity(v3.EntityRule{Nets: []string{"x", "10.0.0.0/8"}}), entity(v3.EntityRule{NotNets: []string{"10.0.0.0/8", "x"}})
	domains := entity(v3.EntityRule{Domains: []string{"example.org"}})
	for _, test := range []struct {
		name      string
		rule      v3.Rule
		action    v3.Action
		want      []dataplane.Rule
		condition string // " field type", of the last
	}{
		{"selector", badSelector, v3.Allow, nil, "spec.ingress[0] PartiallyInvalid"},
		{"selector", badSelector, v3.Deny, denyAll, "spec.ingress[0] PartiallyInvalid"},
		{"selector", badSelector, v3.Pass, denyAll, "spec.ingress[0] PartiallyInvalid"},
		{"selector", badSelector, v3.Log, nil, "spec.ingress[0] PartiallyInvalid"},
		{"action", v3.Rule{}, "Jump", denyAll, "spec.ingress[0] PartiallyInvalid"},
		{"all nets", badNets, v3.Allow, nil, "spec.ingress[0].source.nets[0] PartiallyInvalid"},
		{"all nets", badNets, v3.Deny, denyAll, "spec.ingress[0].source.nets[0] PartiallyInvalid"},
		{"one net", someNets, v3.Allow, []dataplane.Rule{{Action: dataplane.Allow, Src: dataplane.Side{Nets: []netip.Prefix{prefix}}}}, "spec.ingress[0].source.nets[0] PartiallyInvalid"},
		{"one negated net", someNotNets, v3.Allow, nil, "spec.ingress[0].source.notNets[1] PartiallyInvalid"},
		{"one negated net", someNotNets, v3.Deny, []dataplane.Rule{{Action: dataplane.Deny, Src: dataplane.Side{NotNets: []netip.Prefix{prefix}}}}, "spec.ingress[0].source.notNets[1] PartiallyInvalid"},
		{"domains", domains, v3.Deny, denyAll, "spec.ingress[0].source.domains PartiallyInvalid"},
		{"invalid", v3.Rule{Invalid: "is a number"}, v3.Deny, denyAll, "spec.ingress[0] PartiallyInvalid"},
		{"http", v3.Rule{HTTP: &v3.HTTPMatch{}}, v3.Allow, nil, "spec.ingress[0] Unsupported"},
		{"unknown", v3.Rule{Unknown: []string{"mood"}, Protocol: tcp}, v3.Allow, nil, "spec.ingress[0] Unsupported"},
		{"unknown", v3.Rule{Unknown: []string{"mood"}, Protocol: tcp}, v3.Pass, []dataplane.Rule{{Action: dataplane.Deny, Protocol: 6}}, "spec.ingress[0] Unsupported"},
		{"protocol", v3.Rule{Protocol: &v3.Protocol{Name: "XYZ"}}, v3.Deny, denyAll, "spec.ingress[0] PartiallyInvalid"},
		{"code alone", v3.Rule{ICMP: &v3.ICMPFields{Code: new(1)}}, v3.Deny, denyAll, "spec.ingress[0] PartiallyInvalid"},
	} {
		t.Run(test.name+" "+string(test.action), func(t *testing.T) {
			test.rule.Action = test.action
			state, report := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), networkPolicy(test.rule)}, offline)
			got := slices.Clone(state.Policies[policyID].Ingress)
			for i := range got {
				got[i].Note = ""
			}
			if diff := cmp.Diff(test.want, got, compareValues); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if want := "NetworkPolicy a/p " + test.condition; !slices.Contains(conditionTexts(report), want) {
				t.Errorf("conditions %v, want %q among them", conditionTexts(report), want)
			}
		})
	}
}

func TestAnyICMPIsOfTheFamily(t *testing.T) {
	rule := v3.Rule{Action: v3.Allow, ICMP: &v3.ICMPFields{}}
	state, _ := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), networkPolicy(rule)}, offline)
	want := []dataplane.Rule{{Action: dataplane.Allow, IPVersion: 4, Protocol: 1}, {Action: dataplane.Allow, IPVersion: 6, Protocol: 58}}
	if diff := cmp.Diff(want, state.Policies[policyID].Ingress); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// TestUnreadablePolicyCountsAsAbsent: selector, tier and types.
func TestUnreadablePolicyCountsAsAbsent(t *testing.T) {
	for field, spoil := range map[string]func(*v3.PolicySpec){
		"spec.selector":               func(s *v3.PolicySpec) { s.Selector = "app =" },
		"spec.serviceAccountSelector": func(s *v3.PolicySpec) { s.ServiceAccountSelector = "app =" },
		"spec.tier":                   func(s *v3.PolicySpec) { s.Tier = "a.b" },
		"spec.types":                  func(s *v3.PolicySpec) { s.Types = []v3.PolicyType{"Sideways"} },
	} {
		p := networkPolicy()
		spoil(&p.Spec.PolicySpec)
		state, report := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), p}, offline)
		if len(state.Policies) > 0 {
			t.Errorf("%s: policies %v, want none", field, state.Policies)
		}
		if want := []string{"NetworkPolicy a/p " + field + " Invalid"}; !slices.Equal(conditionTexts(report), want) {
			t.Errorf("%s: conditions %v, want %v", field, conditionTexts(report), want)
		}
	}
}

func TestTiers(t *testing.T) {
	inTier := func(name string) v3.Object {
		p := networkPolicy()
		p.Name, p.Spec.Tier = "in-"+name, name
		return p
	}
	first := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v3.TierSpec{Order: new(1.0), DefaultAction: v3.Pass}}
	unordered := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "unordered"}}
	objects := []v3.Object{
		pod("a", "x", nil, "10.0.0.1"), unordered, first, inTier("kube-baseline"), inTier("default"), inTier("absent"), inTier("kube-admin"), inTier("first"), inTier("unordered"),
	}
	state, report := policy.Resolve(objects, offline)
	var got []string
	for _, tier := range state.Endpoints["pod/a/x"].Tiers {
		got = append(got, tier.Name+" "+tier.Default.String())
	}
	want := []string{"first Pass", "kube-admin Pass", "default Deny", "kube-baseline Pass", "unordered Deny", "absent Deny"}
	if !slices.Equal(got, want) {
		t.Errorf("tiers %q, want %q", got, want)
	}
	if want := []string{"NetworkPolicy a/in-absent spec.tier TierMissing"}; !slices.Equal(conditionTexts(report), want) {
		t.Errorf("conditions %v, want %v", conditionTexts(report), want)
	}
}

// TestDisputedAddress: it counts in an Allow for its owner alone, in a Deny for every claimant.
func TestDisputedAddress(t *testing.T) {
	older, newer := pod("a", "older", map[string]string{"app": "a"}, "10.0.0.9"), pod("a", "newer", map[string]string{"app": "b"}, "10.0.0.9")
	newer.CreationTimestamp = metav1.Time{Time: time.Unix(1000, 0)}
	from := func(action v3.Action, app string) v3.Rule {
		return v3.Rule{Action: action, Source: v3.EntityRule{Selector: "app == '" + app + "'"}}
	}
	objects := []v3.Object{pod("a", "x", nil, "10.0.0.1"), older, newer, networkPolicy(from(v3.Allow, "a"), from(v3.Allow, "b"), from(v3.Deny, "a"), from(v3.Deny, "b"))}
	state, _ := policy.Resolve(objects, offline)
	var got []int
	for _, rule := range state.Policies[policyID].Ingress {
		got = append(got, len(state.IPSets[rule.Src.IPSets[0]].Members))
	}
	if want := []int{0, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("members per rule %v, want %v", got, want)
	}
}

// TestLossyNetworkSet: a set that lost an element may have held any address, so what is not in it is unknown.
func TestLossyNetworkSet(t *testing.T) {
	set := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: map[string]string{"blocked": "y"}}}
	set.Spec.Nets = []string{"192.0.2.0/24", "192.0.2.999"}
	rule := v3.Rule{Action: v3.Allow, Source: v3.EntityRule{NotSelector: "blocked == 'y'", NamespaceSelector: "all()"}}
	caller := pod("a", "y", nil, "10.0.0.2")
	state, report := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), caller, set, networkPolicy(rule)}, offline)
	flow := policy.Flow{Src: netip.MustParseAddr("10.0.0.2"), Dst: netip.MustParseAddr("10.0.0.1"), Protocol: 6, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	if v := policy.Evaluate(state, "pod/a/x", dataplane.Ingress, flow); v.Action != dataplane.Deny {
		t.Errorf("got %s, want Deny", v.Action)
	}
	if want := []string{"GlobalNetworkSet s spec.nets[1] PartiallyInvalid"}; !slices.Equal(conditionTexts(report), want) {
		t.Errorf("conditions %v, want %v", conditionTexts(report), want)
	}
}

// TestTenantLabels: an object's own labels don't speak for its namespace.
func TestTenantLabels(t *testing.T) {
	liar := pod("b", "liar", map[string]string{"pcns.team": "trusted", "projectcalico.org/namespace": "a"}, "10.0.0.2")
	rule := v3.Rule{Action: v3.Allow, Source: v3.EntityRule{NamespaceSelector: "team == 'trusted' || projectcalico.org/name == 'a'"}}
	state, _ := policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), liar, networkPolicy(rule)}, offline)
	for _, set := range state.IPSets {
		if len(set.Members) > 0 {
			t.Errorf("set %q has members %v, want none", set.Text, set.Members)
		}
	}
	if tiers := state.Endpoints["pod/b/liar"].Tiers; len(tiers) > 0 {
		t.Errorf("the policy of namespace a selects a pod of namespace b: %v", tiers)
	}
}

// TestExplainJSON holds the form that scripts read.
func TestExplainJSON(t *testing.T) {
	rule := v3.Rule{Action: v3.Allow, Protocol: tcp, Destination: v3.EntityRule{Ports: []v3.Port{{Min: 443, Max: 443}}}}
	objects := []v3.Object{openNamespace("a"), pod("a", "x", nil, "10.0.0.1"), networkPolicy(rule)}
	state, _ := policy.Resolve(objects, offline)
	flow := policy.Flow{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("10.0.0.1"), Protocol: 6, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	got, err := json.Marshal(policy.Explain(state, flow))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"verdict":"Deny","egress":null,"ingress":{"endpoint":"pod/a/x","verdict":"Deny",` +
		`"by":{"kind":"NetworkPolicy","namespace":"a","name":"p","tier":"default","rule":-1,"reason":"end of tier"},` +
		`"trace":[{"kind":"NetworkPolicy","namespace":"a","name":"p","tier":"default","rule":0,"action":"Allow","matched":false,` +
		`"why":"destination port 80 is none of 443"}]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEvaluateBeforeAndAfterPolicy(t *testing.T) {
	node := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Spec: v3.NodeSpec{Addresses: []v3.NodeAddress{{Address: "192.0.2.1"}}}}
	objects := []v3.Object{node, pod("a", "x", nil, "10.0.0.1", "fd00::1"), pod("b", "y", nil, "10.0.0.2"), openNamespace("a")}
	host := dataplane.Host{IPv6: true, WorkloadToHost: dataplane.Deny}
	for _, test := range []struct {
		src, dst string
		endpoint dataplane.EndpointID
		dir      dataplane.Direction
		edit     func(*dataplane.Host)
		want     dataplane.Action
		reason   string
	}{
		{"10.0.0.2", "10.0.0.9", "pod/a/x", dataplane.Egress, nil, dataplane.Deny, policy.ReasonSpoofed},
		{"10.0.0.1", "10.0.0.9", "pod/a/x", dataplane.Egress, nil, dataplane.Allow, policy.ReasonRule},
		{"10.0.0.1", "192.0.2.1", "pod/a/x", dataplane.Egress, nil, dataplane.Deny, policy.ReasonToHost},
		{"192.0.2.1", "10.0.0.2", "pod/b/y", dataplane.Ingress, nil, dataplane.Allow, policy.ReasonOwnNode},
		{"192.0.2.2", "10.0.0.2", "pod/b/y", dataplane.Ingress, nil, dataplane.Deny, policy.ReasonNoProfile},
		{"192.0.2.1", "10.0.0.2", "pod/b/y", dataplane.Ingress, func(h *dataplane.Host) { h.HostToWorkload = dataplane.HostToWorkloadPolicy }, dataplane.Deny, policy.ReasonNoProfile},
		{"fd00::1", "fd00::2", "pod/a/x", dataplane.Egress, func(h *dataplane.Host) { h.IPv6 = false }, dataplane.Deny, policy.ReasonNoIPv6},
	} {
		h := host
		if test.edit != nil {
			test.edit(&h)
		}
		state, _ := policy.Resolve(objects, policy.Options{Host: h})
		flow := policy.Flow{Src: netip.MustParseAddr(test.src), Dst: netip.MustParseAddr(test.dst), Protocol: 17, DstPort: 53, ICMPType: -1, ICMPCode: -1}
		got := policy.Evaluate(state, test.endpoint, test.dir, flow)
		if got.Action != test.want || got.By.Reason != test.reason {
			t.Errorf("%s of %s to %s: %s by %q, want %s by %q", test.endpoint, test.src, test.dst, got.Action, got.By.Reason, test.want, test.reason)
		}
	}
}

func TestSetIDs(t *testing.T) {
	state, _ := policy.NewResolver(offline).Flush()
	if len(state.IPSets) > 0 {
		t.Fatalf("sets %v of nothing", state.IPSets)
	}
	rules := []v3.Rule{
		{Action: v3.Allow, Protocol: tcp, Source: v3.EntityRule{Selector: "a == 'b'"}, Destination: v3.EntityRule{Ports: []v3.Port{{Name: "http"}}}},
		{Action: v3.Allow, Protocol: tcp, Source: v3.EntityRule{Selector: ` a=="b" `}, Destination: v3.EntityRule{Ports: []v3.Port{{Name: "http"}}}},
	}
	state, _ = policy.Resolve([]v3.Object{pod("a", "x", nil, "10.0.0.1"), networkPolicy(rules...)}, offline)
	if len(state.IPSets) != 2 {
		t.Errorf("%d sets, want 2: rules that mean the same share them", len(state.IPSets))
	}
	for id := range state.IPSets {
		if len(id) > 24 || strings.Trim(string(id), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			t.Errorf("set id %q is not at most 24 of [A-Za-z0-9_-]", id)
		}
	}
}

func TestEndpointIDOf(t *testing.T) {
	for want, spec := range map[dataplane.EndpointID]v3.WorkloadEndpointSpec{
		"pod/a/x":          {Pod: "x", Endpoint: "eth0", ContainerID: "c"},
		"pod/a/x/net1":     {Pod: "x", Endpoint: "net1", ContainerID: "c"},
		"container/c/eth0": {Endpoint: "eth0", ContainerID: "c"},
		"pod/a/o":          {},
	} {
		o := &v3.WorkloadEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "o"}, Spec: spec}
		if got := policy.EndpointIDOf(o); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
