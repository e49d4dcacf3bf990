package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

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

// leakedBy says why an address that was given to a pod on a node is not the pod's; "" if it is, or may be. endpoints are those of the pod, and block all
// allocations of the block.
func leakedBy(a *ipam.Allocation, node string, endpoints []podEndpoint, block []ipam.Allocation) string {
	if a.Released {
		return "it was given back"
	}
	if len(endpoints) == 0 {
		return "its pod does not exist"
	}
	reason := ""
	for i := range endpoints {
		if reason = endpoints[i].disowns(a, node, block); reason == "" {
			return ""
		}
	}
	return reason
}

// disowns says why an address is not the endpoint's; "" if it may be.
func (e *podEndpoint) disowns(a *ipam.Allocation, node string, block []ipam.Allocation) string {
	// That of a static pod is of another form than that of the Pod object which stands for it.
	if uid := a.Attrs[v3.AttributePodUID]; uid != "" && len(uid) == len(e.uid) && uid != e.uid {
		return "its pod is gone, and another has the name"
	}
	if e.node == "" || node == "" {
		return ""
	}
	if e.node != node {
		return "its pod runs on node " + e.node
	}
	if slices.Contains(e.addresses, a.Address) {
		return ""
	}
	for i := range block {
		if r := &block[i]; slices.Contains(e.addresses, r.Address) && replaced(a, r) {
			return "its pod has " + r.Address.String()
		}
	}
	return ""
}

// replaced says whether an address was given to an interface before another of the same block was. The block's own numbers say so: clocks may be
// wrong, and lost sandboxes whose addresses are in different blocks are left to their node.
func replaced(a, by *ipam.Allocation) bool {
	for _, attr := range []string{ipam.AttrPod, ipam.AttrNamespace, ipam.AttrNode, ipam.AttrInterface, ipam.AttrNetwork} {
		if a.Attrs[attr] != by.Attrs[attr] {
			return false
		}
	}
	return a.Sequence < by.Sequence
}

// describe is an allocation in a log line.
func describe(a *ipam.Allocation, reason string) string {
	if pod, ok := podOf(a); ok {
		return fmt.Sprintf("%s of pod %s/%s (%s)", a.Address, pod.namespace, pod.name, reason)
	}
	return fmt.Sprintf("%s of %s (%s)", a.Address, a.Handle, reason)
}
