package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probePorts are the TCP ports that the kubelet's probes of the pod go to: of those containers that run as long as the pod does, liveness,
// readiness and startup alike. A port by name is that of the same container. A probe that names another host is none of the pod.
// Sorted, no duplicates.
func probePorts(p *corev1.Pod) []uint16 {
	var ports []uint16
	eachLastingContainer(&p.Spec, func(c *corev1.Container) {
		for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if probe == nil {
				continue
			}
			if port, ok := probePort(&probe.ProbeHandler, c, &p.Status); ok {
				ports = append(ports, port)
			}
		}
	})
	slices.Sort(ports)
	return slices.Clip(slices.Compact(ports))
}

func probePort(h *corev1.ProbeHandler, c *corev1.Container, status *corev1.PodStatus) (uint16, bool) {
	switch {
	case h.HTTPGet != nil && ofPod(h.HTTPGet.Host, status):
		return containerPort(h.HTTPGet.Port, c)
	case h.TCPSocket != nil && ofPod(h.TCPSocket.Host, status):
		return containerPort(h.TCPSocket.Port, c)
	case h.GRPC != nil:
		return portNumber(h.GRPC.Port)
	}
	return 0, false
}

// ofPod tells whether a probe's host is the pod: it is where none is named.
func ofPod(host string, status *corev1.PodStatus) bool {
	return host == "" || host == status.PodIP || slices.ContainsFunc(status.PodIPs, func(ip corev1.PodIP) bool { return ip.IP == host })
}

// containerPort is a number, or that of the container's port of the name, whose protocol the kubelet does not look at.
func containerPort(port intstr.IntOrString, c *corev1.Container) (uint16, bool) {
	if port.Type == intstr.Int {
		return portNumber(port.IntVal)
	}
	for i := range c.Ports {
		if c.Ports[i].Name == port.StrVal {
			return portNumber(c.Ports[i].ContainerPort)
		}
	}
	return portNumber(int32(port.IntValue())) // "8080" is a number too
}

// eachLastingContainer visits the containers that run as long as the pod does: the init containers that stay as sidecars, and the ordinary ones.
func eachLastingContainer(spec *corev1.PodSpec, visit func(*corev1.Container)) {
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			visit(c)
		}
	}
	for i := range spec.Containers {
		visit(&spec.Containers[i])
	}
}
