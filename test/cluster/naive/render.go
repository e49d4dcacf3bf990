package main

import (
	"bytes"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// render is the nftables script for the pods of a node.
func (s *state) render(node string) string {
	var base, chains bytes.Buffer
	for i, p := range s.pods {
		if p.Spec.NodeName != node {
			continue
		}
		in, out := s.selecting(p, netv1.PolicyTypeIngress), s.selecting(p, netv1.PolicyTypeEgress)
		if out != nil {
			jumps(&base, p, "saddr", fmt.Sprintf("e%d", i))
			fmt.Fprintf(&chains, " chain e%d {\n", i)
			for _, np := range out {
				for _, r := range np.Spec.Egress {
					s.rule(&chains, "daddr", np.Namespace, r.To, r.Ports, nil)
				}
			}
			chains.WriteString("  drop\n }\n")
		}
		if in != nil {
			jumps(&base, p, "daddr", fmt.Sprintf("i%d", i))
			fmt.Fprintf(&chains, " chain i%d {\n", i)
			for _, np := range in {
				for _, r := range np.Spec.Ingress {
					s.rule(&chains, "saddr", np.Namespace, r.From, r.Ports, p)
				}
			}
			chains.WriteString("  drop\n }\n")
		}
	}
	return "table inet naive\ndelete table inet naive\ntable inet naive {\n" + chains.String() +
		" chain forward {\n  type filter hook forward priority 0\n  ct state established,related accept\n" + base.String() + " }\n}\n"
}

// selecting is the policies of one type that select a pod.
func (s *state) selecting(p *v1.Pod, t netv1.PolicyType) []*netv1.NetworkPolicy {
	var r []*netv1.NetworkPolicy
	for _, np := range s.policies {
		if np.Namespace != p.Namespace || !match(&np.Spec.PodSelector, p.Labels) {
			continue
		}
		for _, has := range np.Spec.PolicyTypes {
			if has == t {
				r = append(r, np)
			}
		}
	}
	return r
}

func jumps(w *bytes.Buffer, p *v1.Pod, dir, chain string) {
	for _, ip := range p.Status.PodIPs {
		fmt.Fprintf(w, "  %s %s %s jump %s\n", family(ip.IP), dir, ip.IP, chain)
	}
}

// family is how nftables names the family of an address or CIDR.
func family(addr string) string {
	if strings.Contains(addr, ":") {
		return "ip6"
	}
	return "ip"
}

// rule writes one ingress (self is the pod that owns the ports) or egress (self is nil) rule.
func (s *state) rule(w *bytes.Buffer, dir, ns string, peers []netv1.NetworkPolicyPeer, ports []netv1.NetworkPolicyPort, self *v1.Pod) {
	matches, dests := s.peers(dir, ns, peers)
	if len(ports) == 0 {
		for _, m := range matches {
			fmt.Fprintf(w, "  %sreturn\n", m)
		}
	}
	for _, pt := range ports {
		proto := strings.ToLower(string(*pt.Protocol))
		switch {
		case pt.Port == nil:
			for _, m := range matches {
				fmt.Fprintf(w, "  %smeta l4proto %s return\n", m, proto)
			}
		case pt.Port.Type == intstr.Int:
			to := ""
			if pt.EndPort != nil {
				to = fmt.Sprintf("-%d", *pt.EndPort)
			}
			for _, m := range matches {
				fmt.Fprintf(w, "  %s%s dport %d%s return\n", m, proto, pt.Port.IntVal, to)
			}
		case self != nil:
			for _, n := range named(self, pt) {
				for _, m := range matches {
					fmt.Fprintf(w, "  %s%s dport %d return\n", m, proto, n)
				}
			}
		default:
			namedDests(w, dests, pt, proto)
		}
	}
}

// namedDests writes an egress rule to a named port, which each pod may number differently.
func namedDests(w *bytes.Buffer, dests []*v1.Pod, pt netv1.NetworkPolicyPort, proto string) {
	for _, d := range dests {
		for _, n := range named(d, pt) {
			for _, ip := range d.Status.PodIPs {
				fmt.Fprintf(w, "  %s daddr %s %s dport %d return\n", family(ip.IP), ip.IP, proto, n)
			}
		}
	}
}

// peers is the address matches of a rule ("" is any address), and the pods it may mean, for named ports.
func (s *state) peers(dir, ns string, peers []netv1.NetworkPolicyPeer) (matches []string, dests []*v1.Pod) {
	if len(peers) == 0 {
		return []string{""}, s.pods
	}
	ips := map[string][]string{}
	for _, peer := range peers {
		if b := peer.IPBlock; b != nil {
			f := family(b.CIDR)
			m := fmt.Sprintf("%s %s %s ", f, dir, b.CIDR)
			if len(b.Except) > 0 {
				m += fmt.Sprintf("%s %s != { %s } ", f, dir, strings.Join(b.Except, ", "))
			}
			matches = append(matches, m)
			continue
		}
		for _, p := range s.pods {
			if !s.means(&peer, ns, p) {
				continue
			}
			dests = append(dests, p)
			for _, ip := range p.Status.PodIPs {
				ips[family(ip.IP)] = append(ips[family(ip.IP)], ip.IP)
			}
		}
	}
	for f, of := range ips {
		matches = append(matches, fmt.Sprintf("%s %s { %s } ", f, dir, strings.Join(of, ", ")))
	}
	return matches, dests
}

// means tells whether a peer by selectors, in a policy of a namespace, selects a pod.
func (s *state) means(peer *netv1.NetworkPolicyPeer, ns string, p *v1.Pod) bool {
	if peer.NamespaceSelector == nil && p.Namespace != ns || peer.NamespaceSelector != nil && !match(peer.NamespaceSelector, s.ns[p.Namespace]) {
		return false
	}
	return peer.PodSelector == nil || match(peer.PodSelector, p.Labels)
}

func named(p *v1.Pod, pt netv1.NetworkPolicyPort) (r []int32) {
	for _, c := range p.Spec.Containers {
		for _, q := range c.Ports {
			if q.Name == pt.Port.StrVal && q.Protocol == *pt.Protocol {
				r = append(r, q.ContainerPort)
			}
		}
	}
	return r
}

func match(sel *metav1.LabelSelector, l map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(sel)
	return err == nil && s.Matches(labels.Set(l))
}
