package kube

import (
	"cmp"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Service is the view by which its pods are found where it has no EndpointSlices. The selector names the namespace and matches
// pods only; that of a service without one, or of type ExternalName, matches nothing.
func Service(s *corev1.Service) *v3.ServiceEndpoints {
	out := &v3.ServiceEndpoints{
		TypeMeta:   typeMeta(v3.KindServiceEndpoints),
		ObjectMeta: objectMeta(&s.ObjectMeta, s.Namespace, s.Name),
	}
	out.Spec.Selector = serviceSelector(s).String()
	for _, p := range s.Spec.Ports {
		if port, ok := servicePort(p); ok {
			out.Spec.Ports = append(out.Spec.Ports, port)
		}
	}
	return out
}

func serviceSelector(s *corev1.Service) *selector.Selector {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return selector.Not(selector.All())
	}
	sel, err := labelsSelector(s.Spec.Selector)
	if err != nil {
		return selector.Not(selector.All())
	}
	return selector.And(sel, selector.And(ofPods, selector.Equals(selector.LabelNamespace, s.Namespace)))
}

func servicePort(p corev1.ServicePort) (v3.ServicePort, bool) {
	number, ok := portNumber(p.Port)
	if !ok {
		return v3.ServicePort{}, false
	}
	out := v3.ServicePort{Name: p.Name, Protocol: v3.Protocol{Name: string(cmp.Or(p.Protocol, corev1.ProtocolTCP))}, Port: number}
	if p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "" {
		out.Target = v3.Port{Name: p.TargetPort.StrVal}
		return out, true
	}
	target, ok := portNumber(cmp.Or(p.TargetPort.IntVal, p.Port))
	out.Target = v3.Port{Min: target, Max: target}
	return out, ok
}

func portNumber(n int32) (uint16, bool) {
	return uint16(n), n >= 1 && n <= 65535
}

// EndpointSlice is the view of the addresses behind a service; nil for a slice that belongs to none. Endpoints count whether they
// are ready or not: readiness is about where new connections are sent, while policy must not flap with it. A port without a
// number (it would mean all of them) is left out.
func EndpointSlice(s *discoveryv1.EndpointSlice) *v3.ServiceEndpoints {
	service := s.Labels[discoveryv1.LabelServiceName]
	if service == "" {
		return nil
	}
	out := &v3.ServiceEndpoints{
		TypeMeta:   typeMeta(v3.KindServiceEndpoints),
		ObjectMeta: objectMeta(&s.ObjectMeta, s.Namespace, service+"/"+s.Name),
	}
	out.Spec.Service = service
	ports := slicePorts(s.Ports)
	for _, e := range s.Endpoints {
		for _, text := range e.Addresses {
			if a, ok := parseAddr(text); ok {
				out.Spec.Endpoints = append(out.Spec.Endpoints, v3.ServiceEndpoint{Address: a.String(), Ports: ports})
			}
		}
	}
	return out
}

func slicePorts(of []discoveryv1.EndpointPort) []v3.EndpointPort {
	var ports []v3.EndpointPort
	for _, p := range of {
		if p.Port == nil {
			continue
		}
		number, ok := portNumber(*p.Port)
		if !ok {
			continue
		}
		port := v3.EndpointPort{Port: number, Protocol: v3.Protocol{Name: string(corev1.ProtocolTCP)}}
		if p.Name != nil {
			port.Name = *p.Name
		}
		if p.Protocol != nil && *p.Protocol != "" {
			port.Protocol.Name = string(*p.Protocol)
		}
		ports = append(ports, port)
	}
	return slices.Clip(ports)
}
