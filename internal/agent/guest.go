package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// placed is an endpoint with its interface. Beside another network plugin that is what the gate has on record; a pod that came without the
// gate, as before felid was installed, has no record: its interface is the one that the host's routes lead to its addresses by, or else the one that
// plugins give it whose pods others police (AWS VPC CNI, Azure CNI in transparent mode, GKE). Where the host has no interfaces of pods, as on Windows, the
// dataplane finds the endpoint by its addresses. The pod counts as ungated.
func (l *loop) placed(key v3.Key, object v3.Object, heard time.Time) v3.Object {
	if l.o.Host.Owner {
		return object
	}
	wep, _ := object.(*v3.WorkloadEndpoint)
	if wep == nil || wep.Spec.Node != string(l.o.Host.Node) || wep.Spec.ContainerID != "" || len(wep.Spec.IPNetworks) == 0 {
		l.gated(key)
		return object
	}
	if _, known := l.ungated[key]; !known {
		id := policy.EndpointIDOf(wep)
		l.ungated[key], l.open[id] = string(id), cmp.Or(heard, time.Now())
	}
	if wep.Spec.InterfaceName != "" || l.o.InterfaceTo == nil {
		return object
	}
	named := *wep // what the watch delivers is shared
	named.Spec.InterfaceName = cmp.Or(l.leadsTo(wep), server.InterfaceName(l.o.Host.InterfacePrefix, wep.Namespace, wep.Spec.Pod, "", "eth0"))
	return &named
}

// gated forgets that an endpoint came without the gate.
func (l *loop) gated(key v3.Key) {
	delete(l.open, dataplane.EndpointID(l.ungated[key]))
	delete(l.ungated, key)
}

// closeWindows measures, for endpoints that came without the gate and whose policy is in force now, for how long it was not, as far as this node knows:
// before it heard of them they ran already.
func (l *loop) closeWindows(state *dataplane.State, result *dataplane.Result) {
	for id, heard := range l.open {
		if state.Endpoints[id] != nil && result.Endpoints[id] == nil {
			l.o.Metrics.window.Observe(time.Since(heard).Seconds())
			delete(l.open, id)
		}
	}
}

// leadsTo is the interface, among those of pods, that the host reaches an endpoint by; "" if it can't be told.
func (l *loop) leadsTo(wep *v3.WorkloadEndpoint) string {
	var addrs []netip.Addr
	for _, text := range wep.Spec.IPNetworks {
		if p, err := netip.ParsePrefix(text); err == nil {
			addrs = append(addrs, p.Addr())
		}
	}
	if name := l.o.InterfaceTo(addrs); strings.HasPrefix(name, l.o.Host.InterfacePrefix) {
		return name
	}
	return ""
}

// ungatedNames are the endpoints that came without the gate, sorted.
func (l *loop) ungatedNames() []string {
	return slices.Sorted(maps.Values(l.ungated))
}

// Ungated are the endpoints of this node that came without the gate, "pod/NS/NAME" each, sorted: until their policy was in force they
// were without it.
func (a *Agent) Ungated() []string { return a.status.Load().Ungated }
