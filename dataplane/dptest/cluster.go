package dptest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// InterfacePrefix begins the host's side of every pod's interface in the cases.
const InterfacePrefix = "fld"

// InterfaceName is the host's side of eth0 of a pod.
func InterfaceName(namespace, pod string) string {
	sum := sha1.Sum([]byte(namespace + "." + pod))
	return InterfacePrefix + hex.EncodeToString(sum[:])[:11]
}

// epoch is when pods of the cases were created, unless they say otherwise.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// cluster collects the short form as Kubernetes objects.
type cluster struct {
	nodes      []*corev1.Node
	namespaces []*corev1.Namespace
	accounts   []*corev1.ServiceAccount
	pods       []*corev1.Pod
	devices    map[string]devices // of nodes, beside Uplink
}

// devices tell which interface of a node has an address.
type devices map[netip.Addr]string

// parseCluster reads the short form; see the package's documentation.
func parseCluster(text string) (*cluster, error) {
	c := &cluster{devices: map[string]devices{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := c.line(words); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
	}
	return c, nil
}

func (c *cluster) line(words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("want a name after %q", words[0])
	}
	switch words[0] {
	case "node":
		return c.node(words[1], words[2:])
	case "namespace":
		ns := c.namespace(words[1])
		return labels(&ns.ObjectMeta, words[2:])
	case "serviceaccount":
		namespace, name, ok := strings.Cut(words[1], "/")
		if !ok {
			return fmt.Errorf("want NAMESPACE/NAME, not %q", words[1])
		}
		return labels(&c.account(namespace, name).ObjectMeta, words[2:])
	case "pod":
		return c.pod(words[1], words[2:])
	}
	return fmt.Errorf("unknown word %q; valid are node, namespace, serviceaccount, pod", words[0])
}

func labels(meta *metav1.ObjectMeta, words []string) error {
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("can't read %q, want KEY=VALUE", w)
		}
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels[k] = v
	}
	return nil
}

// node reads addresses of Uplink, "IFACE:ADDRESS" of further interfaces, and labels.
func (c *cluster) node(name string, words []string) error {
	node := &corev1.Node{TypeMeta: core("Node"), ObjectMeta: metav1.ObjectMeta{Name: name}}
	var addrs, others []string
	c.devices[name] = devices{}
	for _, word := range words {
		if strings.Contains(word, "=") {
			if err := labels(&node.ObjectMeta, []string{word}); err != nil {
				return err
			}
			continue
		}
		if _, err := netip.ParseAddr(word); err == nil {
			addrs = append(addrs, word)
			continue
		}
		iface, text, _ := strings.Cut(word, ":")
		a, err := netip.ParseAddr(text)
		if err != nil || iface == Uplink || strings.HasPrefix(iface, InterfacePrefix) {
			return fmt.Errorf("can't read %q of a node, want an address, or IFACE:ADDRESS of another interface than %s", word, Uplink)
		}
		c.devices[name][a], others = iface, append(others, text)
	}
	if n := len(c.nodes) + 1; len(addrs) == 0 {
		addrs = []string{fmt.Sprintf("172.18.0.%d", n), fmt.Sprintf("fd00:18::%x", n)}
	}
	for _, a := range append(addrs, others...) {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	c.nodes = append(c.nodes, node)
	return nil
}

func core(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: "v1", Kind: kind}
}

// namespace returns the namespace, made where it is not there yet.
func (c *cluster) namespace(name string) *corev1.Namespace {
	for _, ns := range c.namespaces {
		if ns.Name == name {
			return ns
		}
	}
	ns := &corev1.Namespace{TypeMeta: core("Namespace"), ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name},
	}}
	c.namespaces = append(c.namespaces, ns)
	return ns
}

func (c *cluster) account(namespace, name string) *corev1.ServiceAccount {
	for _, sa := range c.accounts {
		if sa.Namespace == namespace && sa.Name == name {
			return sa
		}
	}
	sa := &corev1.ServiceAccount{TypeMeta: core("ServiceAccount"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.accounts = append(c.accounts, sa)
	return sa
}

func (c *cluster) pod(path string, words []string) error {
	namespace, name, ok := strings.Cut(path, "/")
	if !ok {
		return fmt.Errorf("want NAMESPACE/NAME, not %q", path)
	}
	pod := &corev1.Pod{TypeMeta: core("Pod"), ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(epoch),
	}}
	pod.Spec.NodeName, pod.Spec.ServiceAccountName = "n1", "default"
	pod.Spec.Containers = []corev1.Container{{Name: "main"}}
	pod.Status.Phase = corev1.PodRunning
	for _, w := range words {
		if err := podWord(pod, w); err != nil {
			return err
		}
	}
	c.pods = append(c.pods, pod)
	n := len(c.pods)
	if len(pod.Status.PodIPs) == 0 {
		pod.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.65.0.%d", n)}, {IP: fmt.Sprintf("fd00:65::%x", n)}}
	}
	if pod.Status.PodIP = pod.Status.PodIPs[0].IP; pod.Status.PodIP == "" {
		pod.Status.PodIPs = nil
	}
	c.namespace(namespace)
	c.account(namespace, pod.Spec.ServiceAccountName)
	return c.needNode(pod.Spec.NodeName)
}

func (c *cluster) needNode(name string) error {
	for _, n := range c.nodes {
		if n.Name == name {
			return nil
		}
	}
	return c.node(name, nil)
}

// podWord reads one attribute of a pod, or a label.
func podWord(pod *corev1.Pod, word string) error {
	if strings.Contains(word, "=") && !strings.HasPrefix(word, "port:") {
		return labels(&pod.ObjectMeta, []string{word})
	}
	key, value, _ := strings.Cut(word, ":")
	switch key {
	case "node":
		pod.Spec.NodeName = value
	case "sa":
		pod.Spec.ServiceAccountName = value
	case "phase":
		pod.Status.Phase = corev1.PodPhase(value)
	case "hostNetwork":
		pod.Spec.HostNetwork = true
	case "created":
		minutes, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		pod.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Duration(minutes) * time.Minute))
	case "ip":
		if value == "none" {
			value = ""
		} else if _, err := netip.ParseAddr(value); err != nil {
			return err
		}
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: value})
	case "port":
		return podPort(pod, value)
	case "probe":
		return podProbe(pod, value)
	default:
		return fmt.Errorf("can't read %q of a pod", word)
	}
	return nil
}

// podPort reads NAME=NUMBER/PROTOCOL.
func podPort(pod *corev1.Pod, text string) error {
	name, rest, _ := strings.Cut(text, "=")
	number, proto, ok := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || !ok {
		return fmt.Errorf("can't read the port %q, want NAME=NUMBER/PROTOCOL", text)
	}
	ports := &pod.Spec.Containers[0].Ports
	*ports = append(*ports, corev1.ContainerPort{Name: name, ContainerPort: int32(n), Protocol: corev1.Protocol(proto)})
	return nil
}

// podProbe reads the number or name of a port that the kubelet probes by TCP.
func podProbe(pod *corev1.Pod, port string) error {
	main := &pod.Spec.Containers[0]
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.Parse(port)}}}
	for _, slot := range []**corev1.Probe{&main.ReadinessProbe, &main.LivenessProbe, &main.StartupProbe} {
		if *slot == nil {
			*slot = probe
			return nil
		}
	}
	return fmt.Errorf("a container has three probes at most")
}
