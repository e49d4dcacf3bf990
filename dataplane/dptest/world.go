package dptest

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// world is the resources, as the judge looks at them: lists to be walked, nothing indexed.
type world struct {
	endpoints []*endpoint
	sets      []*netSet
	policies  []*judged // in the order in which they are looked at
	profiles  map[string]*v3.Profile
	services  []*v3.ServiceEndpoints
	nodes     map[string][]netip.Addr
	// nodeLabels are by the node's name.
	nodeLabels map[string]map[string]string
	blocks     []*v3.IPAMBlock
}

// endpoint is a workload or host endpoint with the labels it has and inherits.
type endpoint struct {
	id        dataplane.EndpointID
	namespace string // "" for host endpoints
	pod, node string
	iface     string // the host's side
	host      bool
	fault     string // why a host endpoint can't be read
	lost      bool   // of a host endpoint it may be the labels that can't be read
	labels    map[string]string
	account   map[string]string // labels of its service account
	nsLabels  map[string]string
	saName    string
	addrs     []netip.Addr
	allowed   []netip.Prefix // further sources
	ports     []v3.EndpointPort
	probes    []uint16 // TCP
	profiles  []string
	created   time.Time
}

// netSet is a NetworkSet or GlobalNetworkSet.
type netSet struct {
	namespace string
	labels    map[string]string
	nsLabels  map[string]string
	nets      []netip.Prefix
	broken    bool // there are nets that can't be read
}

// judged is a policy with what decides its place.
type judged struct {
	key       v3.Key
	spec      v3.PolicySpec
	namespace string // of the endpoints it may select; "" all
	nsSel     string
	stage     stage
	onForward bool // what is not of a stage of its own is for forwarded packets too
	tier      string
	last      v3.Action // default action of the tier
	tierOrder float64
	missing   bool // the tier: it comes after all that are there
	order     float64
	cluster   *clusterPolicy // of a ClusterNetworkPolicy, in place of spec and selectors
}

// stage is when policy of a host endpoint is asked.
type stage uint8

const (
	stageNormal stage = iota
	stageUntracked
	stagePreDNAT
)

const (
	labelNamespace    = "projectcalico.org/namespace"
	labelName         = "projectcalico.org/name"
	labelOrchestrator = "projectcalico.org/orchestrator"
	labelAccount      = "projectcalico.org/serviceaccount"
)

func newWorld(objects []v3.Object) *world {
	w := &world{profiles: map[string]*v3.Profile{}, nodes: map[string][]netip.Addr{}, nodeLabels: map[string]map[string]string{}}
	tiers := map[string]*v3.Tier{}
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.Profile:
			w.profiles[o.Name] = o
		case *v3.Tier:
			tiers[o.Name] = o
		case *v3.Node:
			w.nodes[o.Name], w.nodeLabels[o.Name] = nodeAddrs(o), o.Labels
		case *v3.IPAMBlock:
			w.blocks = append(w.blocks, o)
		case *v3.ServiceEndpoints:
			w.services = append(w.services, o)
		}
	}
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.WorkloadEndpoint:
			w.endpoints = append(w.endpoints, w.workload(o))
		case *v3.HostEndpoint:
			if o.Spec.Node != "" { // else it is nobody's
				w.endpoints = append(w.endpoints, w.hostEndpoint(o))
			}
		case *v3.NetworkSet:
			w.sets = append(w.sets, w.set(o.Namespace, o.Labels, o.Spec))
		case *v3.GlobalNetworkSet:
			w.sets = append(w.sets, w.set("", o.Labels, o.Spec))
		}
		w.addPolicy(o, tiers)
	}
	slices.SortFunc(w.policies, comparePolicies)
	return w
}

// comparePolicies orders by tier, then within it; what has no order is last.
func comparePolicies(a, b *judged) int {
	return cmp.Or(
		cmp.Compare(a.tierOrder, b.tierOrder), compareBool(a.missing, b.missing), cmp.Compare(a.tier, b.tier),
		cmp.Compare(a.order, b.order), cmp.Compare(a.key.Name, b.key.Name),
		cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.Kind, b.key.Kind),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (w *world) nodeNames() []dataplane.NodeName {
	seen := map[dataplane.NodeName]bool{}
	for _, e := range w.endpoints {
		seen[dataplane.NodeName(e.node)] = true
	}
	for n := range w.nodes {
		seen[dataplane.NodeName(n)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// namespaceLabels are those that a namespace selector sees.
func (w *world) namespaceLabels(namespace string) map[string]string {
	if namespace == "" {
		return nil
	}
	m := map[string]string{labelName: namespace}
	if p := w.profiles["kns."+namespace]; p != nil {
		stripInto(m, p.Spec.LabelsToApply, "pcns.")
	}
	return m
}

func stripInto(m, labels map[string]string, prefix string) {
	for k, v := range labels {
		if k, ok := strings.CutPrefix(k, prefix); ok {
			m[k] = v
		}
	}
}

// effectiveLabels are the labels of the profiles, then the endpoint's own, which win.
func (w *world) effectiveLabels(profiles []string, own map[string]string) map[string]string {
	m := map[string]string{}
	for _, name := range slices.Backward(profiles) {
		if p := w.profiles[name]; p != nil {
			maps.Copy(m, p.Spec.LabelsToApply)
		}
	}
	for k, v := range own {
		if !strings.HasPrefix(k, "pcns.") && !strings.HasPrefix(k, "pcsa.") { // it does not speak for its namespace or account
			m[k] = v
		}
	}
	return m
}

func (w *world) workload(o *v3.WorkloadEndpoint) *endpoint {
	lenders := slices.Clone(o.Spec.Profiles)
	if o.Namespace != "" { // whatever its profiles, it is in its namespace and runs under its account
		lenders = append(lenders, "kns."+o.Namespace, "ksa."+o.Namespace+"."+o.Spec.ServiceAccountName)
	}
	e := &endpoint{
		id: workloadID(o), namespace: o.Namespace, pod: o.Spec.Pod, node: o.Spec.Node, iface: o.Spec.InterfaceName,
		labels: w.effectiveLabels(lenders, o.Labels), nsLabels: map[string]string{},
		saName: o.Spec.ServiceAccountName, account: map[string]string{},
		addrs: readableAddrs(o.Spec.IPNetworks), allowed: readablePrefixes(o.Spec.AllowSpoofedSourcePrefixes),
		ports: o.Spec.Ports, probes: o.Spec.ProbePorts, profiles: o.Spec.Profiles, created: o.CreationTimestamp.Time,
	}
	stripInto(e.nsLabels, e.labels, "pcns.")
	stripInto(e.account, e.labels, "pcsa.")
	if o.Namespace != "" {
		e.labels[labelNamespace] = o.Namespace
	}
	if o.Spec.Orchestrator != "" {
		e.labels[labelOrchestrator] = o.Spec.Orchestrator
	}
	if e.saName != "" {
		e.labels[labelAccount] = e.saName
	}
	return e
}

func workloadID(o *v3.WorkloadEndpoint) dataplane.EndpointID {
	id := "pod/" + o.Namespace + "/" + o.Spec.Pod
	if o.Spec.Pod == "" {
		id = "container/" + o.Spec.ContainerID
	} else if o.Spec.Endpoint == "eth0" || o.Spec.Endpoint == "" {
		return dataplane.EndpointID(id)
	}
	return dataplane.EndpointID(id + "/" + o.Spec.Endpoint)
}

func (w *world) hostEndpoint(o *v3.HostEndpoint) *endpoint {
	e := &endpoint{
		id: dataplane.EndpointID("hostendpoint/" + o.Name), node: o.Spec.Node, iface: o.Spec.InterfaceName, host: true, fault: o.Spec.Invalid, lost: o.Spec.Invalid != "",
		labels: w.effectiveLabels(o.Spec.Profiles, o.Labels), addrs: readableAddrs(o.Spec.ExpectedIPs),
		ports: o.Spec.Ports, profiles: o.Spec.Profiles, created: o.CreationTimestamp.Time,
	}
	if !readableInterface(e) {
		e.iface, e.fault = "*", "its interface can't be read"
	}
	return e
}

// readableInterface: a name of an interface has at most 15 characters, and is not needed where there is an address.
func readableInterface(e *endpoint) bool {
	if e.iface == "" {
		return len(e.addrs) > 0
	}
	return e.iface == "*" || len(e.iface) <= 15 && !strings.ContainsAny(e.iface, "*<>/ \t")
}

func (w *world) set(namespace string, own map[string]string, spec v3.NetworkSetSpec) *netSet {
	s := &netSet{namespace: namespace, labels: map[string]string{}, nsLabels: w.namespaceLabels(namespace)}
	nets, bad := parseNets(spec.Nets)
	s.nets, s.broken = nets, bad > 0
	if p := w.profiles["kns."+namespace]; p != nil && namespace != "" {
		maps.Copy(s.labels, p.Spec.LabelsToApply)
	}
	maps.Copy(s.labels, own)
	if namespace != "" {
		s.labels[labelNamespace] = namespace
	}
	return s
}

// addPolicy adds o if it is a policy whose place and scope can be read.
func (w *world) addPolicy(o v3.Object, tiers map[string]*v3.Tier) {
	p := &judged{key: v3.KeyOf(o)}
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		p.spec, p.namespace = o.Spec.PolicySpec, o.Namespace
	case *v3.GlobalNetworkPolicy:
		if o.GetKind() == v3.KindClusterNetworkPolicy {
			return // see addClusterPolicies
		}
		p.spec, p.nsSel = o.Spec.PolicySpec, o.Spec.NamespaceSelector
		p.onForward = o.Spec.ApplyOnForward
		switch {
		case o.Spec.DoNotTrack:
			p.stage = stageUntracked
		case o.Spec.PreDNAT:
			p.stage = stagePreDNAT
		}
	default:
		return
	}
	if !readableScope(p) {
		return
	}
	p.tier, p.last, p.tierOrder = cmp.Or(p.spec.Tier, v3.DefaultTier), v3.Deny, math.Inf(1)
	p.order = orderOf(p.spec.Order)
	if t := tiers[p.tier]; t != nil {
		p.tierOrder = orderOf(t.Spec.Order)
		if t.Spec.DefaultAction == v3.Pass {
			p.last = v3.Pass
		}
	} else {
		p.builtIn()
	}
	w.policies = append(w.policies, p)
}

// builtIn places the tiers that exist without an object.
func (p *judged) builtIn() {
	switch p.tier {
	case "kube-admin":
		p.tierOrder, p.last = 1000, v3.Pass
	case v3.DefaultTier:
		p.tierOrder = 1e6
	case "kube-baseline":
		p.tierOrder, p.last = 1e7, v3.Pass
	default:
		p.missing = true
	}
}

func orderOf(order *float64) float64 {
	if order == nil {
		return math.Inf(1)
	}
	return *order
}

func readableScope(p *judged) bool {
	for _, s := range []string{p.spec.Selector, p.nsSel, p.spec.ServiceAccountSelector} {
		if _, err := parseSelector(s); err != nil {
			return false
		}
	}
	for _, t := range p.spec.Types {
		if t != v3.PolicyTypeIngress && t != v3.PolicyTypeEgress {
			return false
		}
	}
	return !strings.ContainsAny(p.spec.Tier, " ./")
}

// applies tells whether the policy has a say in a direction.
func (p *judged) applies(dir dataplane.Direction) bool {
	if p.cluster != nil {
		return len(p.cluster.rules(dir)) > 0
	}
	types := p.spec.Types
	if len(types) == 0 {
		egress, ingress := len(p.spec.Egress) > 0, len(p.spec.Ingress) > 0
		return dir == dataplane.Egress && egress || dir == dataplane.Ingress && (ingress || !egress)
	}
	if dir == dataplane.Egress {
		return slices.Contains(types, v3.PolicyTypeEgress)
	}
	return slices.Contains(types, v3.PolicyTypeIngress)
}

func nodeAddrs(n *v3.Node) []netip.Addr {
	var texts []string
	for _, a := range n.Spec.Addresses {
		texts = append(texts, a.Address)
	}
	if b := n.Spec.BGP; b != nil {
		texts = append(texts, b.IPv4Address, b.IPv6Address)
	}
	return readableAddrs(texts)
}
