package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// flowArgs is a connection as people write it, on the command line and in test files.
type flowArgs struct {
	from, to   string
	protocol   string // default TCP; ICMP where icmp is given
	port       uint16
	sourcePort uint16
	icmp       *icmpArgs
	ipVersion  int // 0: IPv4 where both ends have it, else IPv6
}

type icmpArgs struct {
	Type int16  `json:"type"`
	Code *int16 `json:"code,omitempty"`
}

// flow looks the ends up in the resolved state.
func (a *flowArgs) flow(s *dataplane.State) (policy.Flow, error) {
	f := policy.Flow{DstPort: a.port, SrcPort: a.sourcePort, ICMPType: -1, ICMPCode: -1}
	sources, err := addresses(s, a.from)
	if err != nil {
		return f, fmt.Errorf("from: %w", err)
	}
	destinations, err := addresses(s, a.to)
	if err != nil {
		return f, fmt.Errorf("to: %w", err)
	}
	if f.Src, f.Dst, err = samePair(sources, destinations, a.ipVersion); err != nil {
		return f, err
	}
	return f, a.fillProtocol(&f)
}

func (a *flowArgs) fillProtocol(f *policy.Flow) error {
	name := a.protocol
	if name == "" {
		name = "TCP"
		if a.icmp != nil {
			name = "ICMP"
		}
	}
	p, err := v3.ParseProtocol(name)
	if err != nil {
		return fmt.Errorf("protocol: %w", err)
	}
	f.Protocol, _ = p.Number8()
	if f.Protocol == dataplane.ProtoICMP && f.Src.Is6() {
		f.Protocol = dataplane.ProtoICMPv6
	}
	if a.icmp != nil {
		f.ICMPType, f.ICMPCode = a.icmp.Type, 0
		if a.icmp.Code != nil {
			f.ICMPCode = *a.icmp.Code
		}
	}
	return nil
}

// addresses are those of "pod/NS/NAME", "hostendpoint/NAME", "node/NAME", or the address itself.
func addresses(s *dataplane.State, end string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(end); err == nil {
		return []netip.Addr{addr.Unmap().WithZone("")}, nil
	}
	if name, ok := strings.CutPrefix(end, "node/"); ok {
		if node := s.Nodes[dataplane.NodeName(name)]; node != nil && len(node.Addresses) > 0 {
			return node.Addresses, nil
		}
		return nil, fmt.Errorf("%s does not exist, or has no address", end)
	}
	if !strings.HasPrefix(end, "pod/") && !strings.HasPrefix(end, "hostendpoint/") && !strings.HasPrefix(end, "container/") {
		return nil, fmt.Errorf("%q is not an end of a connection; valid: pod/NS/NAME, hostendpoint/NAME, node/NAME, or an address", end)
	}
	e := s.Endpoints[dataplane.EndpointID(end)]
	switch {
	case e == nil:
		return nil, fmt.Errorf("%s does not exist, or is not an endpoint (host-networked, finished, or without an address)", end)
	case len(e.Addresses) == 0:
		return nil, fmt.Errorf("%s has no address", end)
	}
	return e.Addresses, nil
}

// samePair picks the first addresses of one family, IPv4 where no version is asked for and both ends have it.
func samePair(src, dst []netip.Addr, version int) (netip.Addr, netip.Addr, error) {
	for _, v := range []int{4, 6} {
		if version != 0 && v != version {
			continue
		}
		is := func(a netip.Addr) bool { return a.Is4() == (v == 4) }
		i, j := slices.IndexFunc(src, is), slices.IndexFunc(dst, is)
		if i >= 0 && j >= 0 {
			return src[i], dst[j], nil
		}
	}
	if version != 0 {
		return netip.Addr{}, netip.Addr{}, fmt.Errorf("not both ends have an IPv%d address", version)
	}
	return netip.Addr{}, netip.Addr{}, errors.New("the ends have no address of one family")
}

// parsePort reads a port number.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port; valid: 0 to 65535", text)
	}
	return uint16(n), nil
}

// parseICMP reads "8" or "8/0".
func parseICMP(text string) (*icmpArgs, error) {
	typ, code, hasCode := strings.Cut(text, "/")
	t, err := strconv.ParseUint(typ, 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%q is not an ICMP type; valid: TYPE or TYPE/CODE", text)
	}
	out := &icmpArgs{Type: int16(t)}
	if hasCode {
		c, err := strconv.ParseUint(code, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%q is not an ICMP code; valid: TYPE or TYPE/CODE", text)
		}
		n := int16(c)
		out.Code = &n
	}
	return out, nil
}
