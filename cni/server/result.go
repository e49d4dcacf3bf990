package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// What pods see of the node. The gateways are the same for every pod; the host answers for them on each pod's interface.
var (
	hostMAC  = net.HardwareAddr{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::ecee:eeff:feee:eeee") // of hostMAC, by RFC 4291, appendix A
)

func gatewayOf(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return gateway4
	}
	return gateway6
}

// defaultRoute of addr's family.
func defaultRoute(addr netip.Addr) netip.Prefix {
	if addr.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// result is what ADD answers.
func (s *Server) result(e *entry, c *call) *current.Result {
	mtu := s.plan(c, e, nil).mtu
	r := &current.Result{CNIVersion: current.ImplementedSpecVersion, Interfaces: []*current.Interface{
		{Name: e.host, Mac: hostMAC.String(), Mtu: mtu},
		{Name: e.IfName, Mac: e.record.Spec.MAC, Mtu: mtu, Sandbox: c.netns},
	}}
	for _, addr := range addresses(e.record) {
		gw := net.IP(gatewayOf(addr).AsSlice())
		r.IPs = append(r.IPs, &current.IPConfig{Interface: current.Int(1), Address: ipNet(netip.PrefixFrom(addr, addr.BitLen())), Gateway: gw})
		r.Routes = append(r.Routes, &types.Route{Dst: ipNet(defaultRoute(addr)), GW: gw})
	}
	return r
}

// encodeResult writes r in the form of a version of the specification.
func encodeResult(r *current.Result, version string) (json.RawMessage, error) {
	converted, err := r.GetAsVersion(version)
	if err != nil {
		return nil, types.NewError(types.ErrIncompatibleCNIVersion, fmt.Sprintf("cniVersion %q: %v", version, err), "")
	}
	return json.Marshal(converted)
}
