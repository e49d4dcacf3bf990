package v3

import (
	"fmt"
	"net"
	"net/netip"
)

func (v *validator) networkSet(s *NetworkSetSpec) {
	v.expect(len(s.Nets) <= maxSetNets, "spec.nets", fmt.Sprintf("at most %d", maxSetNets), "has %d elements", len(s.Nets))
	v.nets("spec.nets", s.Nets)
	v.domainNames("spec.allowedEgressDomains", s.AllowedEgressDomains)
}

func (v *validator) hostEndpoint(s *HostEndpointSpec) {
	v.expect(s.Node != "", "spec.node", "the name of a node", "is missing")
	v.expect(s.InterfaceName != "" || len(s.ExpectedIPs) > 0, "spec.interfaceName", "interfaceName or expectedIPs", "is missing")
	v.expect(s.InterfaceProblem() == nil, "spec.interfaceName", `"*", or a name of at most 15 characters`, "%q is not an interface", s.InterfaceName)
	v.expect(len(s.ExpectedIPs) <= maxExpectedIPs, "spec.expectedIPs", fmt.Sprintf("at most %d", maxExpectedIPs), "has %d elements", len(s.ExpectedIPs))
	for i, text := range s.ExpectedIPs {
		if _, err := parseAddr(text); err != nil {
			v.element(fmt.Sprintf("spec.expectedIPs[%d]", i), err)
		}
	}
	v.endpointPorts(s.Ports)
}

func (v *validator) endpointPorts(ports []EndpointPort) {
	for i, port := range ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		named, err := ParsePort(port.Name)
		v.expect(err == nil && named.Name != "", at+".name", "letters, digits and '-'", "%q is not a name of a port", port.Name)
		v.protocol(at+".protocol", &port.Protocol)
		v.expect(port.Port > 0, at+".port", "1 to 65535", "is 0")
	}
}

func (v *validator) workloadEndpoint(s *WorkloadEndpointSpec) {
	for i, prefix := range v.nets("spec.ipNetworks", s.IPNetworks) {
		v.expect(!prefix.IsValid() || prefix.IsSingleIP(), fmt.Sprintf("spec.ipNetworks[%d]", i), "one address (/32, /128)", "%s is a whole network", prefix)
	}
	v.nets("spec.allowSpoofedSourcePrefixes", s.AllowSpoofedSourcePrefixes)
	v.address("spec.ipv4Gateway", s.IPv4Gateway, 4)
	v.address("spec.ipv6Gateway", s.IPv6Gateway, 6)
	for i, nat := range s.IPNATs {
		v.address(fmt.Sprintf("spec.ipNATs[%d].internalIP", i), nat.InternalIP, 0)
		v.address(fmt.Sprintf("spec.ipNATs[%d].externalIP", i), nat.ExternalIP, 0)
	}
	v.mac("spec.mac", s.MAC)
	v.endpointPorts(s.Ports)
	for i, port := range s.ProbePorts {
		v.expect(port > 0, fmt.Sprintf("spec.probePorts[%d]", i), "1 to 65535", "is 0")
	}
}

// address judges one that may be absent; want is 4, 6 or 0 for both.
func (v *validator) address(field, text string, want int) {
	if text == "" {
		return
	}
	addr, err := parseAddr(text)
	if err != nil {
		v.add(FieldError{Field: field, Problem: err.Error()})
		return
	}
	v.expect(want == 0 || family(addr) == want, field, fmt.Sprintf("an address of IPv%d", want), "%s is of the other family", text)
}

func (v *validator) mac(field, text string) {
	if text == "" {
		return
	}
	_, err := net.ParseMAC(text)
	v.expect(err == nil, field, "such as ee:ee:ee:ee:ee:ee", "%q is not a MAC address", text)
}

func (v *validator) node(s *NodeSpec) {
	for i, a := range s.Addresses {
		v.nodeAddress(fmt.Sprintf("spec.addresses[%d].address", i), a.Address)
	}
	v.address("spec.ipv4VXLANTunnelAddr", s.IPv4VXLANTunnelAddr, 4)
	v.address("spec.ipv6VXLANTunnelAddr", s.IPv6VXLANTunnelAddr, 6)
	v.mac("spec.vxlanTunnelMACAddr", s.VXLANTunnelMACAddr)
	v.mac("spec.vxlanTunnelMACAddrV6", s.VXLANTunnelMACAddrV6)
	if s.BGP == nil {
		return
	}
	v.nodeAddress("spec.bgp.ipv4Address", s.BGP.IPv4Address)
	v.nodeAddress("spec.bgp.ipv6Address", s.BGP.IPv6Address)
	v.address("spec.bgp.ipv4IPIPTunnelAddr", s.BGP.IPv4IPIPTunnelAddr, 4)
	v.address("spec.bgp.routeReflectorClusterID", s.BGP.RouteReflectorClusterID, 4)
}

// nodeAddress is an address, or one with the length of its network's prefix.
func (v *validator) nodeAddress(field, text string) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		text = prefix.Addr().String()
	}
	v.address(field, text, 0)
}
