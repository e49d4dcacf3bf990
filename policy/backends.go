package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Backends are where a connection to a port of a service may end: what its slices list, or, where it has none, the pods that it selects. Sorted;
// ready or not, as in policy. The error says that there is no such service, or no such port.
func Backends(objects []v3.Object, namespace, name string, protocol uint8, port uint16) ([]netip.AddrPort, error) {
	svc, pods := newService(), newWorld(Options{})
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.ServiceEndpoints:
			if of, slice := serviceOf(o.Namespace, o.Name); of == (serviceName{namespace, name}) {
				svc.set(o.Name, o, slice, &reader{key: v3.KeyOf(o)})
			}
		case *v3.Profile:
			pods.read(o)
		case *v3.WorkloadEndpoint:
			if o.Namespace == namespace {
				pods.read(o)
			}
		}
	}
	if svc.view == nil {
		return nil, fmt.Errorf("service/%s/%s does not exist", namespace, name)
	}
	at := slices.IndexFunc(svc.view.Spec.Ports, func(p v3.ServicePort) bool {
		number, ok := p.Protocol.Number8()
		return ok && number == protocol && p.Port == port
	})
	if at < 0 {
		return nil, fmt.Errorf("service/%s/%s has no port %d of %s; it has: %s", namespace, name, port, ProtocolName(protocol), servicePorts(svc.view))
	}
	return svc.backends(svc.view.Spec.Ports[at], pods.peers), nil
}

// servicePorts is "80 TCP, 53 UDP", or "none".
func servicePorts(s *v3.ServiceEndpoints) string {
	texts := make([]string, len(s.Spec.Ports))
	for i, p := range s.Spec.Ports {
		texts[i] = fmt.Sprintf("%d %s", p.Port, p.Protocol)
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// backends are those of one port of the service.
func (s *service) backends(port v3.ServicePort, pods []*peer) []netip.AddrPort {
	var out []netip.AddrPort
	if len(s.slices) > 0 {
		for _, slice := range s.slices {
			for _, e := range slice.Spec.Endpoints {
				out = append(out, listed(&e, port)...)
			}
		}
	} else if s.selector != nil {
		for _, p := range pods {
			if s.selector.Evaluate(p) {
				out = append(out, served(p, targets(port, p.ports))...)
			}
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}

// listed is what a slice's endpoint serves of a port of the service: its own port of the same name.
func listed(e *v3.ServiceEndpoint, port v3.ServicePort) []netip.AddrPort {
	prefix, _, err := v3.ParseCIDR(e.Address)
	if err != nil {
		return nil
	}
	want, _ := port.Protocol.Number8()
	var out []netip.AddrPort
	for _, p := range e.Ports {
		if number, ok := p.Protocol.Number8(); ok && number == want && p.Name == port.Name {
			out = append(out, netip.AddrPortFrom(prefix.Addr(), p.Port))
		}
	}
	return out
}

func served(p *peer, ports []dataplane.NamedPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, port := range ports {
		for _, net := range p.nets {
			out = append(out, netip.AddrPortFrom(net.Addr(), port.Port))
		}
	}
	return out
}
