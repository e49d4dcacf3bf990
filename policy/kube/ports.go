package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// portMatch is one protocol with its ports; no ports are all of them, no protocol is any.
type portMatch struct {
	protocol *v3.Protocol
	ports    []v3.Port
}

// ports has an entry per protocol, in order of first mention. No ports at all are any protocol.
func (c *converter) ports(field string, ports []networkingv1.NetworkPolicyPort) []portMatch {
	if len(ports) == 0 {
		return []portMatch{{}}
	}
	var out []portMatch
	whole := map[string]bool{} // protocols of which every port is allowed
	for i := range ports {
		protocol, port, ok := c.port(fmt.Sprintf("%s[%d]", field, i), &ports[i])
		if !ok {
			continue
		}
		at := slices.IndexFunc(out, func(m portMatch) bool { return m.protocol.Name == protocol })
		if at < 0 {
			at = len(out)
			out = append(out, portMatch{protocol: &v3.Protocol{Name: protocol}})
		}
		if port == nil {
			whole[protocol] = true
		} else {
			out[at].ports = append(out[at].ports, *port)
		}
	}
	for i := range out {
		out[i].ports = mergePorts(out[i].ports)
		if whole[out[i].protocol.Name] {
			out[i].ports = nil
		}
	}
	return out
}

// port is nil for all ports of the protocol.
func (c *converter) port(field string, p *networkingv1.NetworkPolicyPort) (protocol string, port *v3.Port, ok bool) {
	protocol = string(corev1.ProtocolTCP)
	if p.Protocol != nil {
		protocol = string(*p.Protocol)
	}
	switch corev1.Protocol(protocol) {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
	default:
		c.report(field+".protocol", fmt.Sprintf("unknown protocol %q", protocol), "TCP, UDP or SCTP")
		return "", nil, false
	}
	if p.Port == nil {
		if p.EndPort != nil {
			c.report(field+".endPort", "there is no port", "endPort stands beside a numeric port")
		}
		return protocol, nil, p.EndPort == nil
	}
	if p.Port.Type == intstr.String {
		port, ok = c.namedPort(field, p)
	} else {
		port, ok = c.portRange(field, p)
	}
	return protocol, port, ok
}

func (c *converter) namedPort(field string, p *networkingv1.NetworkPolicyPort) (*v3.Port, bool) {
	if problems := validation.IsValidPortName(p.Port.StrVal); len(problems) > 0 {
		c.report(field+".port", fmt.Sprintf("bad port name %q", p.Port.StrVal), strings.Join(problems, "; "))
		return nil, false
	}
	if p.EndPort != nil {
		c.report(field+".endPort", "the port is a name", "endPort stands beside a numeric port")
		return nil, false
	}
	return &v3.Port{Name: p.Port.StrVal}, true
}

func (c *converter) portRange(field string, p *networkingv1.NetworkPolicyPort) (*v3.Port, bool) {
	low, ok := portNumber(p.Port.IntVal)
	if !ok {
		c.report(field+".port", fmt.Sprintf("bad port %d", p.Port.IntVal), "1 to 65535")
		return nil, false
	}
	if p.EndPort == nil {
		return &v3.Port{Min: low, Max: low}, true
	}
	high, ok := portNumber(*p.EndPort)
	if !ok || high < low {
		c.report(field+".endPort", fmt.Sprintf("bad end %d", *p.EndPort), fmt.Sprintf("%d to 65535", low))
		return nil, false
	}
	return &v3.Port{Min: low, Max: high}, true
}

// mergePorts joins numbers and ranges that touch, in order, and puts names after them, once each.
func mergePorts(ports []v3.Port) []v3.Port {
	slices.SortFunc(ports, func(a, b v3.Port) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Min, b.Min), cmp.Compare(a.Max, b.Max))
	})
	ports = slices.Compact(ports)
	var out []v3.Port
	for _, p := range ports {
		if last := len(out) - 1; p.Name == "" && last >= 0 && int(p.Min) <= int(out[last].Max)+1 {
			out[last].Max = max(out[last].Max, p.Max)
			continue
		}
		out = append(out, p)
	}
	return out
}
