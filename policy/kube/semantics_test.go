package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
)

// TestConversionKeepsKubernetesSemantics judges flows in small random clusters twice: by what Kubernetes says of NetworkPolicy
// objects, with its own label selectors, and by the converted policies with ours.
func TestConversionKeepsKubernetesSemantics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		policies := rapid.SliceOfN(rapid.Custom(w.drawPolicy), 1, 3).Draw(t, "policies")
		var converted []*v3.NetworkPolicy
		for i, np := range policies {
			np.Name = fmt.Sprint("p", i)
			p, errs := NetworkPolicy(np)
			if len(errs) > 0 {
				t.Fatalf("%v of %+v", errs, np)
			}
			converted = append(converted, p)
		}
		for range 100 {
			f := w.drawFlow(t)
			want := w.kubernetesAllows(policies, f, true) && w.kubernetesAllows(policies, f, false)
			got := w.convertedAllow(converted, f, true) && w.convertedAllow(converted, f, false)
			if got != want {
				t.Fatalf("%+v: %v, by Kubernetes %v", f, got, want)
			}
		}
	})
}

type world struct {
	namespaces map[string]map[string]string
	pods       []*corev1.Pod
}

// flow is from a pod or an address outside (pod nil) to another.
type flow struct {
	from, to         *corev1.Pod
	fromAddr, toAddr netip.Addr
	protocol         corev1.Protocol
	port             int32
}

var (
	drawKey      = rapid.SampledFrom([]string{"a", "b"})
	drawValue    = rapid.SampledFrom([]string{"x", "y", "z"})
	drawLabels   = rapid.MapOfN(drawKey, drawValue, 0, 2)
	drawProtocol = rapid.SampledFrom([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP})
	drawNumber   = rapid.Int32Range(1, 8)
)

func drawWorld(t *rapid.T) *world {
	w := &world{namespaces: map[string]map[string]string{}}
	for _, ns := range []string{"n1", "n2"} {
		w.namespaces[ns] = drawLabels.Draw(t, "labels of "+ns)
	}
	for i := range 5 {
		p := &corev1.Pod{}
		p.Name, p.Namespace = fmt.Sprint("p", i), rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "namespace")
		p.Labels = drawLabels.Draw(t, "labels")
		p.Status.PodIP = fmt.Sprintf("10.65.%d.%d", i%2, i)
		for _, name := range []string{"http", "dns"} {
			if rapid.Bool().Draw(t, "has port") {
				port := corev1.ContainerPort{Name: name, ContainerPort: drawNumber.Draw(t, "number"), Protocol: drawProtocol.Draw(t, "protocol")}
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Ports: []corev1.ContainerPort{port}})
			}
		}
		w.pods = append(w.pods, p)
	}
	return w
}

func (w *world) drawFlow(t *rapid.T) flow {
	f := flow{protocol: drawProtocol.Draw(t, "protocol"), port: drawNumber.Draw(t, "port")}
	end := func() (*corev1.Pod, netip.Addr) {
		if rapid.IntRange(0, 4).Draw(t, "outside") == 0 {
			return nil, netip.MustParseAddr("192.0.2.7")
		}
		p := rapid.SampledFrom(w.pods).Draw(t, "pod")
		return p, netip.MustParseAddr(p.Status.PodIP)
	}
	f.from, f.fromAddr = end()
	f.to, f.toAddr = end()
	return f
}

func drawLabelSelector(t *rapid.T) *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: drawLabels.Draw(t, "match")}
	for range rapid.IntRange(0, 2).Draw(t, "expressions") {
		e := metav1.LabelSelectorRequirement{Key: drawKey.Draw(t, "key")}
		e.Operator = rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")
		if e.Operator == "In" || e.Operator == "NotIn" {
			e.Values = rapid.SliceOfNDistinct(drawValue, 1, 3, rapid.ID).Draw(t, "values")
		}
		out.MatchExpressions = append(out.MatchExpressions, e)
	}
	return out
}

func drawPeer(t *rapid.T) networkingv1.NetworkPolicyPeer {
	switch rapid.IntRange(0, 3).Draw(t, "peer") {
	case 0:
		block := &networkingv1.IPBlock{CIDR: rapid.SampledFrom([]string{"10.65.0.0/16", "0.0.0.0/0", "192.0.0.0/8", "fd00::/8"}).Draw(t, "cidr")}
		if block.CIDR == "10.65.0.0/16" || block.CIDR == "0.0.0.0/0" {
			block.Except = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.65.1.0/24", "10.65.0.2/32"}), 0, 2, rapid.ID).Draw(t, "except")
		}
		return networkingv1.NetworkPolicyPeer{IPBlock: block}
	case 1:
		return networkingv1.NetworkPolicyPeer{PodSelector: drawLabelSelector(t)}
	case 2:
		return networkingv1.NetworkPolicyPeer{NamespaceSelector: drawLabelSelector(t)}
	}
	return networkingv1.NetworkPolicyPeer{PodSelector: drawLabelSelector(t), NamespaceSelector: drawLabelSelector(t)}
}

func drawPort(t *rapid.T) networkingv1.NetworkPolicyPort {
	var out networkingv1.NetworkPolicyPort
	if rapid.Bool().Draw(t, "names protocol") {
		protocol := drawProtocol.Draw(t, "protocol")
		out.Protocol = &protocol
	}
	switch rapid.IntRange(0, 3).Draw(t, "port") {
	case 0:
	case 1:
		name := intstr.FromString(rapid.SampledFrom([]string{"http", "dns"}).Draw(t, "name"))
		out.Port = &name
	default:
		low := intstr.FromInt32(drawNumber.Draw(t, "low"))
		out.Port = &low
		if rapid.Bool().Draw(t, "range") {
			end := low.IntVal + rapid.Int32Range(0, 3).Draw(t, "width")
			out.EndPort = &end
		}
	}
	return out
}

func (w *world) drawPolicy(t *rapid.T) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{}
	np.Namespace = rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "namespace")
	np.Spec.PodSelector = *drawLabelSelector(t)
	np.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{nil, {"Ingress"}, {"Egress"}, {"Egress", "Ingress"}}).Draw(t, "types")
	for range rapid.IntRange(0, 2).Draw(t, "ingress") {
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From:  rapid.SliceOfN(rapid.Custom(drawPeer), 0, 2).Draw(t, "from"),
			Ports: rapid.SliceOfN(rapid.Custom(drawPort), 0, 4).Draw(t, "ports"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "egress") {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{
			To:    rapid.SliceOfN(rapid.Custom(drawPeer), 0, 2).Draw(t, "to"),
			Ports: rapid.SliceOfN(rapid.Custom(drawPort), 0, 4).Draw(t, "ports"),
		})
	}
	return np
}

// kubernetesAllows is the direct reading of the API's documentation: a pod that no policy selects in a direction is open; else
// some rule of some policy that selects it must match.
func (w *world) kubernetesAllows(policies []*networkingv1.NetworkPolicy, f flow, ingress bool) bool {
	pod, peer, peerAddr := f.to, f.from, f.fromAddr
	if !ingress {
		pod, peer, peerAddr = f.from, f.to, f.toAddr
	}
	if pod == nil {
		return true
	}
	isolated := false
	for _, np := range policies {
		if np.Namespace != pod.Namespace || !selects(&np.Spec.PodSelector, pod.Labels) || !isolates(np, ingress) {
			continue
		}
		isolated = true
		for _, r := range np.Spec.Ingress {
			if ingress && w.peersMatch(np, r.From, peer, peerAddr) && portsMatch(r.Ports, f) {
				return true
			}
		}
		for _, r := range np.Spec.Egress {
			if !ingress && w.peersMatch(np, r.To, peer, peerAddr) && portsMatch(r.Ports, f) {
				return true
			}
		}
	}
	return !isolated
}

func isolates(np *networkingv1.NetworkPolicy, ingress bool) bool {
	if len(np.Spec.PolicyTypes) == 0 {
		return ingress || len(np.Spec.Egress) > 0
	}
	want := networkingv1.PolicyTypeEgress
	if ingress {
		want = networkingv1.PolicyTypeIngress
	}
	return slices.Contains(np.Spec.PolicyTypes, want)
}

func selects(ls *metav1.LabelSelector, of map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(ls)
	return err == nil && s.Matches(labels.Set(of))
}

func (w *world) peersMatch(np *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, pod *corev1.Pod, addr netip.Addr) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return netip.MustParsePrefix(p.IPBlock.CIDR).Contains(addr) && !slices.ContainsFunc(p.IPBlock.Except, func(e string) bool {
				return netip.MustParsePrefix(e).Contains(addr)
			})
		}
		if pod == nil {
			return false
		}
		if p.NamespaceSelector == nil && pod.Namespace != np.Namespace {
			return false
		}
		return (p.NamespaceSelector == nil || selects(p.NamespaceSelector, w.namespaces[pod.Namespace])) &&
			(p.PodSelector == nil || selects(p.PodSelector, pod.Labels))
	})
}

func portsMatch(ports []networkingv1.NetworkPolicyPort, f flow) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case protocol != f.protocol:
			return false
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return f.to != nil && slices.ContainsFunc(f.to.Spec.Containers, func(c corev1.Container) bool {
				own := c.Ports[0]
				return own.Name == p.Port.StrVal && own.Protocol == f.protocol && own.ContainerPort == f.port
			})
		case p.EndPort != nil:
			return p.Port.IntVal <= f.port && f.port <= *p.EndPort
		}
		return p.Port.IntVal == f.port
	})
}

// endpointLabels are a pod's with what its namespace's profile lends it.
func (w *world) endpointLabels(p *corev1.Pod) selector.Map {
	ns := &corev1.Namespace{}
	ns.Name, ns.Labels = p.Namespace, w.namespaces[p.Namespace]
	out := selector.Map(maps.Clone(Namespace(ns)[0].(*v3.Profile).Spec.LabelsToApply))
	maps.Copy(out, Pod(p).Labels)
	return out
}

// convertedAllow reads converted policies as policies of this project are read.
func (w *world) convertedAllow(policies []*v3.NetworkPolicy, f flow, ingress bool) bool {
	pod := f.from
	if ingress {
		pod = f.to
	}
	if pod == nil {
		return true
	}
	applies := false
	for _, p := range policies {
		s, err := selector.Parse(p.Spec.Selector)
		if err != nil {
			panic(err)
		}
		types, rules := v3.PolicyTypeEgress, p.Spec.Egress
		if ingress {
			types, rules = v3.PolicyTypeIngress, p.Spec.Ingress
		}
		if p.Namespace != pod.Namespace || !s.Evaluate(w.endpointLabels(pod)) || !slices.Contains(p.Spec.Types, types) {
			continue
		}
		applies = true
		for i := range rules {
			if w.ruleMatches(p.Namespace, &rules[i], f) {
				return true
			}
		}
	}
	return !applies // the profile of the namespace allows
}

func (w *world) ruleMatches(namespace string, r *v3.Rule, f flow) bool {
	return (r.Protocol == nil || r.Protocol.Name == string(f.protocol)) &&
		w.sideMatches(namespace, &r.Source, f.from, f.fromAddr, f) && w.sideMatches(namespace, &r.Destination, f.to, f.toAddr, f)
}

func (w *world) sideMatches(namespace string, e *v3.EntityRule, pod *corev1.Pod, addr netip.Addr, f flow) bool {
	within := func(text string) bool { return netip.MustParsePrefix(text).Contains(addr) }
	if len(e.Nets) > 0 && !slices.ContainsFunc(e.Nets, within) || slices.ContainsFunc(e.NotNets, within) {
		return false
	}
	if len(e.Ports) > 0 && !slices.ContainsFunc(e.Ports, func(p v3.Port) bool { return portMatches(p, pod, f) }) {
		return false
	}
	if e.Selector == "" && e.NamespaceSelector == "" {
		return true
	}
	s, err := selector.Parse(e.Selector)
	if err != nil {
		panic(err)
	}
	scope := selector.Equals(selector.LabelNamespace, namespace)
	if e.NamespaceSelector != "" {
		ns, err := selector.Parse(e.NamespaceSelector)
		if err != nil {
			panic(err)
		}
		scope = ns.ForNamespaces()
	}
	return pod != nil && selector.And(s, scope).Evaluate(w.endpointLabels(pod))
}

func portMatches(p v3.Port, pod *corev1.Pod, f flow) bool {
	if p.Name == "" {
		return p.Min <= uint16(f.port) && uint16(f.port) <= p.Max
	}
	return pod != nil && slices.ContainsFunc(Pod(pod).Spec.Ports, func(own v3.EndpointPort) bool {
		return own.Name == p.Name && own.Protocol.Name == string(f.protocol) && own.Port == uint16(f.port)
	})
}
