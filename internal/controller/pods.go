package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
)

// podName names a pod.
type podName struct{ namespace, name string }

// podEndpoint is what of an interface of a pod says which addresses the pod has.
type podEndpoint struct {
	key       string // name of the endpoint
	node      string
	uid       string // of the pod; "" unknown
	addresses []netip.Addr
}

// endpointOf reads it.
func endpointOf(key v3.Key, o *v3.WorkloadEndpoint) (podName, podEndpoint) {
	e := podEndpoint{key: key.Name, node: o.Spec.Node, uid: string(o.UID)}
	for _, text := range o.Spec.IPNetworks {
		if prefix, _, err := v3.ParseCIDR(text); err == nil {
			e.addresses = append(e.addresses, prefix.Addr())
		}
	}
	return podName{key.Namespace, cmp.Or(o.Spec.Pod, key.Name)}, e
}

func (e *podEndpoint) equal(o *podEndpoint) bool {
	return e.key == o.key && e.node == o.node && e.uid == o.uid && slices.Equal(e.addresses, o.addresses)
}

// podOf is the pod that an address was given to; false: to something else.
func podOf(a *ipam.Allocation) (podName, bool) {
	pod := podName{a.Attrs[ipam.AttrNamespace], a.Attrs[ipam.AttrPod]}
	return pod, pod.name != ""
}

// leakedBy says why an address that was given to a pod on a node is not the pod's; "" if it is, or may be. endpoints are those of the pod, and rivals all
// addresses that blocks give to it.
func leakedBy(a *ipam.Allocation, node string, endpoints []podEndpoint, rivals []ipam.Allocation) string {
	if a.Released {
		return "it was given back"
	}
	if len(endpoints) == 0 {
		return "its pod does not exist"
	}
	reason := ""
	for i := range endpoints {
		e := &endpoints[i]
		switch uid := a.Attrs[v3.AttributePodUID]; {
		case uid != "" && e.uid != "" && uid != e.uid:
			reason = "its pod is gone, and another has its name"
		case e.node == "" || node == "":
			return ""
		case e.node != node:
			reason = "its pod runs on node " + e.node
		default:
			other := supersededBy(a, e, rivals)
			if !other.IsValid() {
				return ""
			}
			reason = "its pod has " + other.String()
		}
	}
	return reason
}

// supersededBy is the later address of the same family that the endpoint has in place of this one; the zero Addr if that is not certain. Both were given by
// one node, so that one clock says which was later.
func supersededBy(a *ipam.Allocation, e *podEndpoint, rivals []ipam.Allocation) netip.Addr {
	if slices.Contains(e.addresses, a.Address) {
		return netip.Addr{}
	}
	for i := range rivals {
		r := &rivals[i]
		if r.Address.BitLen() == a.Address.BitLen() && slices.Contains(e.addresses, r.Address) && r.Attrs[ipam.AttrNode] == a.Attrs[ipam.AttrNode] &&
			r.Attrs[ipam.AttrInterface] == a.Attrs[ipam.AttrInterface] && r.Attrs[ipam.AttrNetwork] == a.Attrs[ipam.AttrNetwork] && earlier(a, r) {
			return r.Address
		}
	}
	return netip.Addr{}
}

// earlier says whether one address was certainly given before another.
func earlier(a, b *ipam.Allocation) bool {
	one, err := time.Parse(time.RFC3339, a.Attrs[ipam.AttrTimestamp])
	two, err2 := time.Parse(time.RFC3339, b.Attrs[ipam.AttrTimestamp])
	return err == nil && err2 == nil && one.Before(two)
}

// describe is an allocation in a log line.
func describe(a *ipam.Allocation, reason string) string {
	if pod, ok := podOf(a); ok {
		return fmt.Sprintf("%s of pod %s/%s (%s)", a.Address, pod.namespace, pod.name, reason)
	}
	return fmt.Sprintf("%s of %s (%s)", a.Address, a.Handle, reason)
}
