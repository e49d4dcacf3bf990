package agent

import (
	"maps"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/policy"
)

// placed is an endpoint with its interface. Beside another network plugin that is what the gate has on record; a pod that came without the
// gate, as before felid was installed, has no record: its interface is then taken to be named as plugins do whose pods others police
// (AWS VPC CNI, Azure CNI in transparent mode, GKE), and the pod counts as ungated.
func (l *loop) placed(key v3.Key, object v3.Object) v3.Object {
	if l.o.Host.Owner {
		return object
	}
	wep, _ := object.(*v3.WorkloadEndpoint)
	if wep == nil || wep.Spec.Node != string(l.o.Host.Node) || wep.Spec.ContainerID != "" || len(wep.Spec.IPNetworks) == 0 {
		delete(l.ungated, key)
		return object
	}
	l.ungated[key] = string(policy.EndpointIDOf(wep))
	if wep.Spec.InterfaceName != "" {
		return object
	}
	named := *wep // what the watch delivers is shared
	named.Spec.InterfaceName = server.InterfaceName(l.o.Host.InterfacePrefix, wep.Namespace, wep.Spec.Pod, "", "eth0")
	return &named
}

// ungatedNames are the endpoints that came without the gate, sorted.
func (l *loop) ungatedNames() []string {
	return slices.Sorted(maps.Values(l.ungated))
}

// Ungated are the endpoints of this node that came without the gate, "pod/NS/NAME" each, sorted: until their policy was in force they
// were without it.
func (a *Agent) Ungated() []string { return a.status.Load().Ungated }
