package policy

import (
	"net/netip"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// newNode reads a node's addresses.
func newNode(o *v3.Node, r *reader) *dataplane.Node {
	var texts []string
	for _, a := range o.Spec.Addresses {
		texts = append(texts, a.Address)
	}
	addrs := r.addrs("spec.addresses", texts)
	if b := o.Spec.BGP; b != nil {
		addrs = append(addrs, r.addrs("spec.bgp.ipv4Address", nonEmpty(b.IPv4Address))...)
		addrs = append(addrs, r.addrs("spec.bgp.ipv6Address", nonEmpty(b.IPv6Address))...)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return &dataplane.Node{Name: dataplane.NodeName(o.Name), Addresses: slices.Clip(slices.Compact(addrs))}
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}
