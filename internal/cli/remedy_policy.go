package cli

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/selector"
)

// wording is how a policy says whom it is about.
type wording int

const (
	byLabels    wording = iota // both ends by labels that no other pod has
	byOwnLabels                // its own end by such labels, the other by its address
	byAddresses                // its own end by all its labels, and both by their addresses
	inPlace                    // both by their addresses, in a policy that is there: it selects nobody anew
)

// turn is what one side has to say about a connection, and where.
type turn struct {
	flow    policy.Flow
	cluster *cluster
	dir     dataplane.Direction
	action  v3.Action
	own     *v3.WorkloadEndpoint
	peer    *v3.WorkloadEndpoint // nil for what is no pod
	tier    string
	order   *float64
	// beside is the policy that may take the rule itself, at index of its rules; -1: at their end.
	beside dataplane.PolicyID
	index  int
}

func (c *connection) turn(dir dataplane.Direction, v *policy.Verdict, turned dataplane.Action) (*turn, error) {
	t := &turn{flow: c.flow, cluster: c.cluster, dir: dir, action: v3.Action(turned.String())}
	peer := c.from
	if dir == dataplane.Egress {
		peer = c.to
	}
	t.own, t.peer = c.cluster.workloadObject(v.Endpoint), c.cluster.workloadObject(peer)
	if t.own == nil || t.own.Namespace == "" {
		return nil, errors.New(string(v.Endpoint) + " is in no namespace, so that no NetworkPolicy can select it")
	}
	t.place(c.cluster.state.Endpoints[v.Endpoint], v.By)
	return t, nil
}

// workloadObject is the resource that an endpoint comes from; nil for what is none.
func (c *cluster) workloadObject(id dataplane.EndpointID) *v3.WorkloadEndpoint {
	e := c.state.Endpoints[id]
	if e == nil {
		return nil
	}
	for _, o := range c.objects {
		if w, ok := o.(*v3.WorkloadEndpoint); ok && policy.EndpointIDOf(w) == id && w.Spec.Node == string(e.Node) {
			return w
		}
	}
	return nil
}

// place finds the tier and order where the policy decides, and brings the endpoint under no tier's end that it was not under: a tier that has
// policies for it in this direction, else one that passes at its end.
func (t *turn) place(e *dataplane.Endpoint, by policy.Decider) {
	var tiers []dataplane.EndpointTier
	for _, tier := range e.Tiers {
		if len(t.of(&tier)) > 0 {
			tiers = append(tiers, tier)
		}
	}
	if len(tiers) == 0 {
		t.tier = t.passingTier()
		return
	}
	n := slices.IndexFunc(tiers, func(tier dataplane.EndpointTier) bool { return tier.Name == by.Tier && by.Tier != "" })
	decider := dataplane.PolicyID{Kind: by.Kind, Namespace: by.Namespace, Name: by.Name}
	switch {
	case t.action == v3.Deny:
		n = 0 // nothing comes before it
		t.beside = t.of(&tiers[0])[0]
	case n < 0:
		n = len(tiers) - 1 // the profiles decided
		t.beside = t.of(&tiers[n])[0]
	case by.Reason == policy.ReasonEndOfTier:
		t.tier, t.beside, t.index = by.Tier, decider, -1
		return
	default:
		t.beside, t.index = decider, by.Rule
	}
	t.tier, t.order = tiers[n].Name, t.cluster.orderBefore(t.beside)
}

func (t *turn) of(tier *dataplane.EndpointTier) []dataplane.PolicyID {
	if t.dir == dataplane.Egress {
		return tier.Egress
	}
	return tier.Ingress
}

// passingTier is a tier that passes at its end: for a Deny the first, else the last. There always is one of Kubernetes' own.
func (t *turn) passingTier() string {
	var found []*v3.Tier
	for _, o := range t.cluster.objects {
		if tier, ok := o.(*v3.Tier); ok && tier.Spec.DefaultAction == v3.Pass {
			found = append(found, tier)
		}
	}
	slices.SortFunc(found, func(a, b *v3.Tier) int {
		return cmp.Or(cmp.Compare(orderIn(a.Spec.Order), orderIn(b.Spec.Order)), strings.Compare(a.Name, b.Name))
	})
	switch {
	case len(found) > 0 && t.action == v3.Deny:
		return found[0].Name
	case len(found) > 0:
		return found[len(found)-1].Name
	case t.action == v3.Deny:
		return v3.TierKubeAdmin
	}
	return v3.TierKubeBaseline
}

// orderIn is an order as a number: none is last.
func orderIn(order *float64) float64 {
	if order == nil {
		return 1e300
	}
	return *order
}

// orderBefore is an order by which a policy comes before another.
func (c *cluster) orderBefore(id dataplane.PolicyID) *float64 {
	order := 1000.0 // before one that has none
	for _, o := range c.objects {
		if v3.KeyOf(o) == keyOfPolicy(id) {
			if given := policySpec(o).Order; given != nil {
				order = *given - 1
			}
		}
	}
	return &order
}

// policies are what is to be added to, or put in the place of, what is there and some objects more, worded in a way; none where it can't be
// said so.
func (t *turn) policies(w wording, more []v3.Object) []v3.Object {
	own, unique := t.cluster.labelsOf(t.own)
	if w < byAddresses && !unique {
		return nil
	}
	rule := v3.Rule{Action: t.action}
	if !t.ends(&rule, w) {
		return nil
	}
	t.matter(&rule)
	if w == inPlace {
		return t.edited(rule, more)
	}
	p := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: t.own.Namespace, Name: t.name()}}
	p.Spec.Tier, p.Spec.Order, p.Spec.Selector = t.tier, t.order, own
	if t.dir == dataplane.Egress {
		p.Spec.Types, p.Spec.Egress = []v3.PolicyType{v3.PolicyTypeEgress}, []v3.Rule{rule}
	} else {
		p.Spec.Types, p.Spec.Ingress = []v3.PolicyType{v3.PolicyTypeIngress}, []v3.Rule{rule}
	}
	return []v3.Object{p}
}

// ends asks for the two ends; false where they can't be said so.
func (t *turn) ends(rule *v3.Rule, w wording) bool {
	ownAddr, peerAddr := t.flow.Dst, t.flow.Src
	mine, other := &rule.Destination, &rule.Source
	if t.dir == dataplane.Egress {
		ownAddr, peerAddr = peerAddr, ownAddr
		mine, other = other, mine
	}
	other.Nets = []string{single(peerAddr)}
	if w >= byAddresses {
		mine.Nets = []string{single(ownAddr)}
	}
	if w != byLabels {
		return true
	}
	if t.dualStack() {
		version := 4
		if ownAddr.Is6() {
			version = 6
		}
		rule.IPVersion = &version
	}
	return t.byPeerLabels(other)
}

// edited is the policy beside which the rule would stand, with the rule in it; none where that is not ours to write.
func (t *turn) edited(rule v3.Rule, more []v3.Object) []v3.Object {
	key := keyOfPolicy(t.beside)
	if key.Kind != v3.KindNetworkPolicy && key.Kind != v3.KindGlobalNetworkPolicy {
		return nil
	}
	for _, o := range slices.Concat(more, t.cluster.objects) {
		if v3.KeyOf(o) != key {
			continue
		}
		o = o.Copy()
		spec := policySpec(o)
		spec.Types = slices.Clone(spec.EffectiveTypes())
		rules := &spec.Ingress
		if t.dir == dataplane.Egress {
			rules = &spec.Egress
		}
		at := t.index
		if at < 0 {
			at = len(*rules)
		}
		*rules = slices.Insert(*rules, at, rule)
		return []v3.Object{o}
	}
	return nil
}

func single(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// byPeerLabels selects the peer by labels that nothing else has; false where there are none.
func (t *turn) byPeerLabels(e *v3.EntityRule) bool {
	if t.peer == nil || t.peer.Namespace == "" {
		return false
	}
	labels, unique := t.cluster.labelsOf(t.peer)
	if !unique {
		return false
	}
	e.Nets, e.Selector = nil, labels
	if t.peer.Namespace != t.own.Namespace {
		e.NamespaceSelector = selector.Equals("projectcalico.org/name", t.peer.Namespace).String()
	}
	return true
}

// dualStack tells whether both ends have addresses of both families, so that labels mean more than one connection.
func (t *turn) dualStack() bool {
	both := func(w *v3.WorkloadEndpoint) bool {
		e := t.cluster.state.Endpoints[policy.EndpointIDOf(w)]
		return slices.ContainsFunc(e.Addresses, netip.Addr.Is4) && slices.ContainsFunc(e.Addresses, netip.Addr.Is6)
	}
	return both(t.own) && t.peer != nil && both(t.peer)
}

// matter asks for the connection's protocol and ports.
func (t *turn) matter(r *v3.Rule) {
	f := t.flow
	r.Protocol = &v3.Protocol{Name: policy.ProtocolName(f.Protocol)}
	if number := policy.ProtocolName(f.Protocol); number[0] >= '0' && number[0] <= '9' {
		r.Protocol = &v3.Protocol{Number: f.Protocol}
	}
	switch {
	case f.ICMPType >= 0:
		typ, code := int(f.ICMPType), int(f.ICMPCode)
		r.ICMP = &v3.ICMPFields{Type: &typ, Code: &code}
	case hasPorts(f.Protocol):
		r.Destination.Ports = []v3.Port{{Min: f.DstPort, Max: f.DstPort}}
	}
	if f.SrcPort != 0 {
		r.Source.Ports = []v3.Port{{Min: f.SrcPort, Max: f.SrcPort}}
	}
}

// name says what the policy is for, and is nobody else's.
func (t *turn) name() string {
	f := t.flow
	what := strings.ToLower(policy.ProtocolName(f.Protocol))
	switch {
	case f.ICMPType >= 0:
		what += fmt.Sprintf("-%d-%d", f.ICMPType, f.ICMPCode)
	case f.DstPort != 0:
		what += fmt.Sprintf("-%d", f.DstPort)
	}
	h := fnv.New32a()
	fmt.Fprint(h, t.own.Namespace, t.own.Name, f)
	base := fmt.Sprintf("%s-%s-%s-%08x", strings.ToLower(string(t.action)), t.dir, what, h.Sum32())
	name := base
	taken := func(o v3.Object) bool {
		return v3.KeyOf(o) == v3.Key{Kind: v3.KindNetworkPolicy, Namespace: t.own.Namespace, Name: name}
	}
	for n := 2; slices.ContainsFunc(t.cluster.objects, taken); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// labelsOf is a selector for a pod by the fewest labels that nothing else in its namespace has together; where there are none, by all.
func (c *cluster) labelsOf(w *v3.WorkloadEndpoint) (text string, unique bool) {
	var others []map[string]string
	for _, o := range c.objects {
		if o.GetNamespace() == w.Namespace && o != v3.Object(w) {
			switch o.(type) {
			case *v3.WorkloadEndpoint, *v3.NetworkSet:
				others = append(others, o.GetLabels())
			}
		}
	}
	keys := slices.SortedFunc(maps.Keys(w.Labels), func(a, b string) int {
		return cmp.Or(cmp.Compare(fleeting(a), fleeting(b)), strings.Compare(a, b))
	})
	keys = slices.DeleteFunc(keys, func(key string) bool { return given(key) || selectorProblem(key, w.Labels[key]) })
	chosen, unique := fewest(w.Labels, keys, others)
	s := selector.All()
	for _, key := range chosen {
		s = selector.And(s, selector.Equals(key, w.Labels[key]))
	}
	return s.String(), unique
}

// fleeting puts labels last that a pod's next version does not have.
func fleeting(key string) int {
	if strings.Contains(key, "hash") || strings.HasPrefix(key, "statefulset.") || strings.Contains(key, "uid") {
		return 1
	}
	return 0
}

// given tells whether a label is not the pod's own to carry.
func given(key string) bool {
	return strings.HasPrefix(key, "projectcalico.org/") || strings.HasPrefix(key, selector.NamespacePrefix) || strings.HasPrefix(key, selector.ServiceAccountPrefix)
}

// selectorProblem tells whether a selector can't name the label.
func selectorProblem(key, value string) bool {
	_, err := selector.Parse(selector.Equals(key, value).String())
	return err != nil
}

// fewest are one or two keys by whose values labels differ from all others; all of them where that takes more, or where nothing does.
func fewest(labels map[string]string, keys []string, others []map[string]string) (chosen []string, unique bool) {
	tells := func(chosen []string) bool {
		return !slices.ContainsFunc(others, func(other map[string]string) bool {
			return !slices.ContainsFunc(chosen, func(key string) bool { v, ok := other[key]; return !ok || v != labels[key] })
		})
	}
	for i, a := range keys {
		if tells(keys[i : i+1]) {
			return []string{a}, true
		}
	}
	for i, a := range keys {
		for _, b := range keys[i+1:] {
			if two := []string{a, b}; tells(two) {
				return two, true
			}
		}
	}
	return keys, len(keys) > 0 && tells(keys)
}
