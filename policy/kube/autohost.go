package kube

import (
	"maps"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What selectors and clean-up know an automatic host endpoint by: users' policies were written for this label and value.
const (
	labelCreatedBy        = "projectcalico.org/created-by"
	createdByController   = "calico-kube-controllers"
	autoHostEndpointAfter = "-auto-hep"
)

// AutoHostEndpointName is the name of a node's automatic host endpoint.
func AutoHostEndpointName(node string) string { return node + autoHostEndpointAfter }

// IsAutoHostEndpoint says whether a controller made a host endpoint; all others are somebody's own.
func IsAutoHostEndpoint(h *v3.HostEndpoint) bool {
	return h.Labels[labelCreatedBy] == createdByController
}

// AutoHostEndpoint is the host endpoint for all interfaces of a node that have none of their own. It has the node's labels, and allows
// everything until a policy selects it.
func AutoHostEndpoint(n *v3.Node) *v3.HostEndpoint {
	labels := maps.Clone(n.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelCreatedBy] = createdByController
	out := &v3.HostEndpoint{
		TypeMeta:   typeMeta(v3.KindHostEndpoint),
		ObjectMeta: metav1.ObjectMeta{Name: AutoHostEndpointName(n.Name), Labels: labels},
		Spec:       v3.HostEndpointSpec{Node: n.Name, InterfaceName: "*", ExpectedIPs: hostAddresses(&n.Spec), Profiles: []string{v3.DefaultAllowProfile}},
	}
	return out
}

// hostAddresses are the addresses of a node, those of its tunnels included: what it sends to remote pods may come from them. What is no address is
// left out.
func hostAddresses(s *v3.NodeSpec) []string {
	texts := []string{s.IPv4VXLANTunnelAddr, s.IPv6VXLANTunnelAddr}
	if s.BGP != nil {
		texts = append([]string{s.BGP.IPv4Address, s.BGP.IPv6Address}, append(texts, s.BGP.IPv4IPIPTunnelAddr)...)
	}
	var out []string
	add := func(text string) {
		bare, _, _ := strings.Cut(text, "/")
		if addr, ok := parseAddr(bare); ok && !slices.Contains(out, addr.String()) {
			out = append(out, addr.String())
		}
	}
	for _, a := range s.Addresses {
		add(a.Address)
	}
	for _, text := range texts {
		add(text)
	}
	return out
}
