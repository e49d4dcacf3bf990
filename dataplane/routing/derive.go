package routing

import (
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// node is what routing needs of a Node.
type node struct {
	v4, v6       netip.Addr
	net4, net6   netip.Prefix // the node's subnets, where known
	vtepAddr     netip.Addr
	vtepMAC      string
	resourceName dataplane.NodeName
}

// address of the family of a.
func (n *node) address(a netip.Addr) netip.Addr {
	if a.Is4() {
		return n.v4
	}
	return n.v6
}

// addressTypes in the order in which they are preferred. BGP's own address comes before them.
var addressTypes = []string{"CalicoNodeIP", "InternalIP", "", "ExternalIP"}

func readNode(o *v3.Node) *node {
	n := &node{resourceName: dataplane.NodeName(o.Name), vtepMAC: o.Spec.VXLANTunnelMACAddr}
	if o.Spec.BGP != nil {
		n.take(o.Spec.BGP.IPv4Address)
		n.take(o.Spec.BGP.IPv6Address)
	}
	for _, typ := range addressTypes {
		for _, a := range o.Spec.Addresses {
			if a.Type == typ {
				n.take(a.Address)
			}
		}
	}
	n.vtepAddr, _ = netip.ParseAddr(o.Spec.IPv4VXLANTunnelAddr)
	return n
}

// take reads "172.18.0.1/24" or "172.18.0.1", unless the node has an address of the family already.
func (n *node) take(text string) {
	bare, _, _ := strings.Cut(text, "/")
	a, err := netip.ParseAddr(bare)
	if err != nil || a.Zone() != "" || n.address(a).IsValid() {
		return
	}
	subnet, _, err := v3.ParseCIDR(text)
	if err != nil {
		return
	}
	if a.Is4() {
		n.v4, n.net4 = a, subnet
	} else {
		n.v6, n.net6 = a, subnet
	}
}

// sameSubnet tells whether both can reach one another without a router, as far as their addresses say.
func sameSubnet(a, b *node, v4 bool) bool {
	x, y := a.net6, b.net6
	if v4 {
		x, y = a.net4, b.net4
	}
	return x.IsValid() && x == y && !x.IsSingleIP()
}

// vtep is the tunnel end of a node; false where it has none.
func (n *node) vtep() (dataplane.VTEP, bool) {
	v := dataplane.VTEP{Node: n.resourceName, Addr: n.vtepAddr, MAC: n.vtepMAC, Via: n.v4}
	return v, v.Addr.IsValid() && v.MAC != "" && v.Via.IsValid()
}

// pool is what routing needs of an IPPool.
type pool struct {
	cidr        netip.Prefix
	ipip, vxlan v3.EncapMode
	masquerade  bool
	workloads   bool // pods may have addresses of it
}

func readPool(o *v3.IPPool) *pool {
	cidr, _, err := v3.ParseCIDR(o.Spec.CIDR)
	if err != nil {
		return nil
	}
	uses := o.Spec.AllowedUses
	return &pool{
		cidr: cidr, ipip: o.Spec.IPIPMode, vxlan: o.Spec.VXLANMode, masquerade: o.Spec.NATOutgoing,
		workloads: !(len(uses) == 1 && uses[0] == "LoadBalancer"),
	}
}

// encap is how packets of the pool get from one node to another.
func (p *pool) encap(from, to *node) dataplane.Encap {
	near := from != nil && sameSubnet(from, to, p.cidr.Addr().Is4())
	over := func(mode v3.EncapMode) bool { return mode == v3.EncapAlways || mode == v3.EncapCrossSubnet && !near }
	switch {
	case over(p.vxlan):
		return dataplane.EncapVXLAN
	case over(p.ipip):
		return dataplane.EncapIPIP
	}
	return dataplane.EncapNone
}

// dest is where a prefix of a block is to be found.
type dest struct {
	prefix netip.Prefix
	node   string
}

const hostAffinity = "host:"

// readBlock lists where a block leads: as a whole to the node that it is affine to, and each address that another node has borrowed to
// that one.
func readBlock(o *v3.IPAMBlock) []dest {
	cidr, _, err := v3.ParseCIDR(o.Spec.CIDR)
	if err != nil || o.Spec.Deleted {
		return nil
	}
	var out []dest
	owner := ""
	if o.Spec.Affinity != nil {
		if name, ok := strings.CutPrefix(*o.Spec.Affinity, hostAffinity); ok && name != "" {
			owner = name
			out = append(out, dest{cidr, owner})
		}
	}
	borrowers := make([]string, len(o.Spec.Attributes))
	lent := false
	for i, a := range o.Spec.Attributes {
		if name := a.Secondary["node"]; name != owner && a.ReleasedAt == nil {
			borrowers[i], lent = name, lent || name != ""
		}
	}
	if !lent {
		return out
	}
	for ordinal, index := range o.Spec.Allocations {
		if index == nil || *index < 0 || *index >= len(borrowers) || borrowers[*index] == "" {
			continue
		}
		if a := nth(cidr.Addr(), ordinal); cidr.Contains(a) {
			out = append(out, dest{netip.PrefixFrom(a, a.BitLen()), borrowers[*index]})
		}
	}
	return out
}

// nth is the address n after a.
func nth(a netip.Addr, n int) netip.Addr {
	bytes := a.AsSlice()
	for i := len(bytes) - 1; i >= 0 && n > 0; i-- {
		n += int(bytes[i])
		bytes[i] = byte(n)
		n >>= 8
	}
	out, _ := netip.AddrFromSlice(bytes)
	return out
}

// route to a destination, as the node self sees it; false where there is none to be made. Pods' own addresses need none here: the driver
// routes to its endpoints.
func route(self string, d dest, nodes map[string]*node, pools map[string]*pool) (dataplane.Route, bool) {
	if d.node == self {
		return dataplane.Route{Prefix: d.prefix, Node: dataplane.NodeName(self), Blackhole: true}, !d.prefix.IsSingleIP()
	}
	n := nodes[d.node]
	if n == nil || !n.address(d.prefix.Addr()).IsValid() {
		return dataplane.Route{}, false
	}
	r := dataplane.Route{Prefix: d.prefix, Node: dataplane.NodeName(d.node), Via: n.address(d.prefix.Addr())}
	if p := poolOf(d.prefix, pools); p != nil {
		r.Encap = p.encap(nodes[self], n)
	}
	return r, true
}

// poolOf is the smallest pool around a prefix; of two with one CIDR, the first by name.
func poolOf(prefix netip.Prefix, pools map[string]*pool) *pool {
	var best *pool
	bestName := ""
	for name, p := range pools {
		if p.cidr.Bits() > prefix.Bits() || !p.cidr.Contains(prefix.Addr()) {
			continue
		}
		if best == nil || p.cidr.Bits() > best.cidr.Bits() || p.cidr.Bits() == best.cidr.Bits() && name < bestName {
			best, bestName = p, name
		}
	}
	return best
}

// nat is what the pools say of masquerading. Pools for load balancers alone have no pods, and what goes to them leaves the cluster.
func nat(pools map[string]*pool) dataplane.NAT {
	var out dataplane.NAT
	for _, p := range pools {
		if !p.workloads {
			continue
		}
		out.Exclude = append(out.Exclude, p.cidr)
		if p.masquerade {
			out.Masquerade = append(out.Masquerade, p.cidr)
		}
	}
	for _, list := range []*[]netip.Prefix{&out.Masquerade, &out.Exclude} {
		slices.SortFunc(*list, netip.Prefix.Compare)
		*list = slices.Compact(*list)
	}
	return out
}
