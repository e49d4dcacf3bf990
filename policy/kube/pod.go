package kube

import (
	"cmp"
	"net/netip"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	corev1 "k8s.io/api/core/v1"
)

// DefaultInterface is the interface of a pod that has one.
const DefaultInterface = "eth0"

// Pod is its eth0. It is nil for a pod that is no endpoint: one on the host's network, or one that has finished (phase Succeeded
// or Failed). A pod without an address in its status gives a view without addresses: by itself it is no endpoint yet, and the
// resolver of policy ignores it; merged with the record of its sandbox (see Merge) it gives labels and ports at once.
func Pod(p *corev1.Pod) *v3.WorkloadEndpoint {
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	account := cmp.Or(p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount, defaultServiceAccount)
	out := &v3.WorkloadEndpoint{
		TypeMeta:   typeMeta(v3.KindWorkloadEndpoint),
		ObjectMeta: objectMeta(&p.ObjectMeta, p.Namespace, p.Name),
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator:       OrchestratorKubernetes,
			Node:               p.Spec.NodeName,
			Pod:                p.Name,
			Endpoint:           DefaultInterface,
			ServiceAccountName: account,
			IPNetworks:         podNetworks(&p.Status),
			Profiles:           []string{NamespaceProfile(p.Namespace), ServiceAccountProfile(p.Namespace, account)},
			Ports:              podPorts(&p.Spec),
			ProbePorts:         probePorts(p),
		},
	}
	out.Labels = podLabels(p.Labels, p.Namespace, account)
	return out
}

// podNetworks are the addresses of a pod as /32 and /128. What is no address is left out.
func podNetworks(status *corev1.PodStatus) []string {
	ips := status.PodIPs
	if len(ips) == 0 && status.PodIP != "" {
		ips = []corev1.PodIP{{IP: status.PodIP}}
	}
	var networks []string
	for _, ip := range ips {
		if a, ok := parseAddr(ip.IP); ok {
			networks = append(networks, netip.PrefixFrom(a, a.BitLen()).String())
		}
	}
	return networks
}

func parseAddr(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// podPorts are the named ports of the containers that run as long as the pod does.
func podPorts(spec *corev1.PodSpec) []v3.EndpointPort {
	var ports []v3.EndpointPort
	eachLastingContainer(spec, func(c *corev1.Container) { ports = appendPorts(ports, c.Ports) })
	return ports
}

func appendPorts(ports []v3.EndpointPort, of []corev1.ContainerPort) []v3.EndpointPort {
	for _, p := range of {
		if p.Name == "" || p.ContainerPort < 1 || p.ContainerPort > 65535 {
			continue
		}
		port := v3.EndpointPort{
			Name:     p.Name,
			Protocol: v3.Protocol{Name: string(cmp.Or(p.Protocol, corev1.ProtocolTCP))},
			Port:     uint16(p.ContainerPort),
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// Merge joins what the API server says of a pod with what the CNI plugin recorded of one of its interfaces. From the pod come
// labels, ports, those of probes too, profiles, service account and age, which say who it is; from the record name, addresses, interface, node and
// container, which say where. An addressless record of eth0 takes the pod's addresses. Either may be nil: then the other counts.
func Merge(pod, record *v3.WorkloadEndpoint) *v3.WorkloadEndpoint {
	if pod == nil {
		return record
	}
	if record == nil {
		return pod
	}
	out := *record
	out.Labels = pod.Labels
	out.CreationTimestamp = pod.CreationTimestamp
	out.DeletionTimestamp = pod.DeletionTimestamp
	out.Spec.Orchestrator = pod.Spec.Orchestrator
	out.Spec.Pod = pod.Spec.Pod
	out.Spec.Ports = pod.Spec.Ports
	out.Spec.ProbePorts = pod.Spec.ProbePorts
	out.Spec.Profiles = pod.Spec.Profiles
	out.Spec.ServiceAccountName = pod.Spec.ServiceAccountName
	out.Spec.Node = cmp.Or(record.Spec.Node, pod.Spec.Node)
	out.Spec.Endpoint = cmp.Or(record.Spec.Endpoint, DefaultInterface)
	if len(record.Spec.IPNetworks) == 0 && out.Spec.Endpoint == DefaultInterface {
		out.Spec.IPNetworks = pod.Spec.IPNetworks
	}
	return &out
}
