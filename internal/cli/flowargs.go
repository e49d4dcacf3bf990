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

// flowArgs is a connection as people write it, on the command line and in test files, but for its destination port.
type flowArgs struct {
	from, to   end
	protocol   uint8 // ICMP stands for that of the addresses' family
	sourcePort uint16
	icmp       *icmpArgs
	ipVersion  int // 0: IPv4 where both ends have it, else IPv6
}

type icmpArgs struct {
	Type uint8  `json:"type"`
	Code *uint8 `json:"code,omitempty"` // 0 where it is not given
}

// flowText is a connection not read yet.
type flowText struct {
	from, to, protocol string
	sourcePort         uint16
	icmp               *icmpArgs
	ipVersion          int
	hasPort            bool
	services           bool // to may be a service
}

// parse reads a connection; the error names all that is wrong with it.
func (t *flowText) parse() (*flowArgs, error) {
	a := &flowArgs{sourcePort: t.sourcePort, icmp: t.icmp, ipVersion: t.ipVersion}
	var errs []error
	fail := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	readEnd := func(field, text string, parse func(string) (end, error)) end {
		if text == "" {
			fail(field, errors.New("is missing; valid: pod/NS/NAME, hostendpoint/NAME, node/NAME, or an address"))
			return end{}
		}
		e, err := parse(text)
		fail(field, err)
		return e
	}
	a.from, a.to = readEnd("from", t.from, parseEnd), readEnd("to", t.to, t.parseTo)
	if t.ipVersion != 0 && t.ipVersion != 4 && t.ipVersion != 6 {
		fail("ip version", fmt.Errorf("%d; valid: 4, 6", t.ipVersion))
	}
	protocol, err := t.parseProtocol()
	fail("protocol", err)
	a.protocol = protocol
	if a.protocol == dataplane.ProtoICMPv6 {
		if t.ipVersion == 4 {
			fail("ip version", errors.New("4 has no ICMPv6; valid: 6"))
		}
		a.ipVersion = 6
	}
	return a, errors.Join(errs...)
}

// parseTo reads the end that the connection goes to.
func (t *flowText) parseTo(text string) (end, error) {
	if service, ok := parseService(text); ok && t.services {
		return service, nil
	}
	return parseEnd(text)
}

func (t *flowText) parseProtocol() (uint8, error) {
	name := t.protocol
	switch {
	case name == "" && t.icmp != nil:
		name = "ICMP"
	case name == "":
		name = "TCP"
	}
	p, err := v3.ParseProtocol(name)
	if err != nil {
		return 0, err
	}
	number, _ := p.Number8()
	isICMP := number == dataplane.ProtoICMP || number == dataplane.ProtoICMPv6
	switch {
	case t.icmp != nil && !isICMP:
		return 0, fmt.Errorf("%s has no ICMP type; valid: ICMP, ICMPv6", name)
	case (t.hasPort || t.sourcePort != 0) && !hasPorts(number):
		return 0, fmt.Errorf("%s has no ports; valid with ports: TCP, UDP, SCTP, UDPLite", name)
	}
	return number, nil
}

func hasPorts(protocol uint8) bool {
	return slices.Contains([]uint8{dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite}, protocol)
}

// connection is a flow between known ends.
type connection struct {
	cluster  *cluster
	from, to dataplane.EndpointID // "" for what is no endpoint
	flow     policy.Flow
}

// find looks the ends up.
func (a *flowArgs) find(c *cluster) (*connection, error) {
	f := policy.Flow{Protocol: a.protocol, SrcPort: a.sourcePort, ICMPType: -1, ICMPCode: -1}
	sources, err := c.addresses(a.from)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	destinations, err := c.addresses(a.to)
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	if f.Src, f.Dst, err = samePair(sources, destinations, a.ipVersion); err != nil {
		return nil, fmt.Errorf("%s to %s: %w", a.from.text, a.to.text, err)
	}
	if f.Protocol == dataplane.ProtoICMP && f.Src.Is6() {
		f.Protocol = dataplane.ProtoICMPv6
	}
	if a.icmp != nil {
		f.ICMPType, f.ICMPCode = int16(a.icmp.Type), 0
		if a.icmp.Code != nil {
			f.ICMPCode = int16(*a.icmp.Code)
		}
	}
	return &connection{c, c.endpointOf(a.from, f.Src), c.endpointOf(a.to, f.Dst), f}, nil
}

// explain judges the connection to one port.
func (c *connection) explain(port uint16) policy.Answer {
	f := c.flow
	f.DstPort = port
	return c.cluster.explainer().Between(c.from, c.to, f)
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
		return netip.Addr{}, netip.Addr{}, fmt.Errorf("not both have an IPv%d address", version)
	}
	return netip.Addr{}, netip.Addr{}, errors.New("they have no addresses of one family")
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
		return nil, fmt.Errorf("%q is not an ICMP type; valid: TYPE or TYPE/CODE, each 0 to 255", text)
	}
	out := &icmpArgs{Type: uint8(t)}
	if hasCode {
		c, err := strconv.ParseUint(code, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%q is not an ICMP code; valid: TYPE or TYPE/CODE, each 0 to 255", text)
		}
		n := uint8(c)
		out.Code = &n
	}
	return out, nil
}
