package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// HostPort is a port that stays open on host endpoints.
type HostPort struct {
	Protocol uint8 // IANA number
	Port     uint16
	Net      netip.Prefix // of the other side; the zero Prefix: anybody, of both families
}

// noPorts is what stands for no port at all: an empty text is taken for a mistake.
const noPorts = "none"

// portProtocols are those that have ports, by IANA number: TCP, UDP, SCTP and UDPLite.
var portProtocols = []uint8{6, 17, 132, 136}

// HostPorts reads a comma-separated list of "tcp:22" and "udp:68@10.0.0.0/8", or "none".
func HostPorts(text string) ([]HostPort, error) {
	if text == noPorts {
		return nil, nil
	}
	var out []HostPort
	for part := range strings.SplitSeq(text, ",") {
		p, err := parseHostPort(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func parseHostPort(text string) (HostPort, error) {
	what, net, limited := strings.Cut(text, "@")
	protocol, port, ok := strings.Cut(what, ":")
	if !ok {
		return HostPort{}, fmt.Errorf("%q is not a protocol and a port", text)
	}
	parsed, err := v3.ParseProtocol(protocol)
	if err != nil {
		return HostPort{}, fmt.Errorf("%q: %w", text, err)
	}
	number, _ := parsed.Number8()
	if !slices.Contains(portProtocols, number) {
		return HostPort{}, fmt.Errorf("%q: protocol %s has no ports", text, parsed)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return HostPort{}, fmt.Errorf("%q: port %q is not a number from 1 to 65535", text, port)
	}
	p := HostPort{Protocol: number, Port: uint16(n)}
	if limited {
		if p.Net, _, err = v3.ParseCIDR(net); err != nil {
			return HostPort{}, fmt.Errorf("%q: %w", text, err)
		}
	}
	return p, nil
}
