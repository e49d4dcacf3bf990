package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// peer is what selectors select: an endpoint or a network set.
type peer struct {
	key     v3.Key
	own     labelSet
	parents []*profile // that it inherits labels of; the first that has one wins
	// nets are the addresses of an endpoint, as prefixes of full length, or the nets of a network set; sorted, no duplicates.
	nets []netip.Prefix
	// lossy: some of the nets can't be read.
	lossy bool
	// isSet: it is a network set, which claims no address for itself.
	isSet   bool
	ports   []dataplane.NamedPort
	pod     string
	host    dataplane.NodeName // of a host endpoint, its node
	created int64              // seconds since 1970: of those that claim an address the newest owns it
	// endpoint is what the State holds of it, but for tiers and profiles; nil for all but local endpoints.
	endpoint *dataplane.Endpoint
	profiles []*profile // that decide after the last tier
}

// Get is the value of a label, its own or inherited.
func (p *peer) Get(key string) (string, bool) {
	if v, ok := p.own.Get(key); ok {
		return v, true
	}
	for _, parent := range p.parents {
		if v, ok := parent.labels.Get(key); ok {
			return v, true
		}
	}
	return "", false
}

// newPeer is nil for objects that no selector selects, and for endpoints that have no address yet.
func newPeer(o v3.Object, node dataplane.NodeName, profiles profileSet, r *reader) *peer {
	switch o := o.(type) {
	case *v3.WorkloadEndpoint:
		return newWorkload(o, node, profiles, r)
	case *v3.HostEndpoint:
		return newHostEndpoint(o, node, profiles, r)
	case *v3.NetworkSet:
		return newNetworkSet(o, &o.Spec, profiles, r)
	case *v3.GlobalNetworkSet:
		return newNetworkSet(o, &o.Spec, profiles, r)
	}
	return nil
}

func newWorkload(o *v3.WorkloadEndpoint, node dataplane.NodeName, profiles profileSet, r *reader) *peer {
	addrs := r.addrs("spec.ipNetworks", o.Spec.IPNetworks)
	allowed := r.nets("spec.allowSpoofedSourcePrefixes", o.Spec.AllowSpoofedSourcePrefixes)
	ports := r.endpointPorts(o.Spec.Ports)
	if len(addrs) == 0 {
		return nil
	}
	account := o.Spec.ServiceAccountName
	own := r.ownLabels(o.Labels,
		label{keyNamespace, o.Namespace},
		label{keyOrchestrator, o.Spec.Orchestrator},
		label{keyServiceAccount, account}, // longer than a label's value may be, too: a Deny must not miss it
	)
	p := &peer{
		key: v3.KeyOf(o), own: own, nets: fullLength(addrs), ports: ports,
		pod: o.Spec.Pod, created: o.CreationTimestamp.Unix(),
	}
	p.profiles = profiles.allNamed(o.Spec.Profiles)
	p.inherit(o.Namespace, account, profiles)
	if node == "" || o.Spec.Node == string(node) {
		p.endpoint = &dataplane.Endpoint{
			ID: EndpointIDOf(o), Node: dataplane.NodeName(o.Spec.Node), Interface: o.Spec.InterfaceName,
			Addresses: addrs, AllowedSources: allowed, Ports: ports, Probes: probes(o.Spec.ProbePorts),
		}
	}
	return p
}

// probes are ports of TCP, which all probes use: sorted, no duplicates.
func probes(ports []uint16) []dataplane.NamedPort {
	if len(ports) == 0 {
		return nil
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(ports)))
	out := make([]dataplane.NamedPort, len(sorted))
	for i, port := range sorted {
		out[i] = dataplane.NamedPort{Protocol: dataplane.ProtoTCP, Port: port}
	}
	return out
}

// inherit fills parents: the profiles that the endpoint names, and those of its namespace and service account, named or not.
func (p *peer) inherit(namespace, account string, profiles profileSet) {
	p.parents = slices.Clone(p.profiles)
	add := func(name string) {
		if parent := profiles.named(name); !slices.Contains(p.parents, parent) {
			p.parents = append(p.parents, parent)
		}
	}
	if namespace != "" {
		add(namespaceProfile + namespace)
		if account != "" {
			add(serviceAccountProfile + namespace + "." + account)
		}
	}
}

func newNetworkSet(o v3.Object, spec *v3.NetworkSetSpec, profiles profileSet, r *reader) *peer {
	p := &peer{key: v3.KeyOf(o), isSet: true}
	p.nets = r.nets("spec.nets", spec.Nets)
	p.lossy = len(p.nets) < len(spec.Nets) && r.lost("spec.nets")
	if len(spec.AllowedEgressDomains) > 0 {
		r.report("spec.allowedEgressDomains", ConditionNotEnforced, "names add no addresses yet; the nets beside them count")
	}
	p.own = r.ownLabels(o.GetLabels(), label{keyNamespace, o.GetNamespace()})
	p.inherit(o.GetNamespace(), "", profiles)
	return p
}

// EndpointIDOf is the identity of a workload endpoint: "pod/NS/NAME", "pod/NS/NAME/IFACE" for an interface that is not eth0,
// "container/ID/IFACE" without a pod.
func EndpointIDOf(o *v3.WorkloadEndpoint) dataplane.EndpointID {
	pod, iface := o.Spec.Pod, o.Spec.Endpoint
	if pod == "" && o.Spec.ContainerID == "" {
		pod = o.Name
	}
	if pod == "" {
		return dataplane.EndpointID("container/" + o.Spec.ContainerID + "/" + iface)
	}
	if iface == "" || iface == "eth0" {
		return dataplane.EndpointID("pod/" + o.Namespace + "/" + pod)
	}
	return dataplane.EndpointID("pod/" + o.Namespace + "/" + pod + "/" + iface)
}

// resolved is what the State holds of a local endpoint that these policies select.
func (p *peer) resolved(policies []*policy, tierOf func(name string) tier) *dataplane.Endpoint {
	ep := *p.endpoint
	if ep.Host != nil {
		hostTiers(&ep, policies, tierOf)
	} else {
		ep.Tiers = endpointTiers(policies, tierOf)
	}
	ep.Profiles = endpointProfiles(p.profiles)
	return &ep
}

// compareClaim orders those that claim the same address, or the same id: the newest first, then by name.
func (p *peer) compareClaim(q *peer) int {
	return cmp.Or(cmp.Compare(q.created, p.created), compareKeys(p.key, q.key))
}

func compareKeys(a, b v3.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(string(a.Kind), string(b.Kind)))
}

func fullLength(addrs []netip.Addr) []netip.Prefix {
	nets := make([]netip.Prefix, len(addrs))
	for i, a := range addrs {
		nets[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return nets
}
