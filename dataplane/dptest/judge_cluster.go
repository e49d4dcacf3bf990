package dptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelabels "k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// clusterPolicy is a ClusterNetworkPolicy as it was written: the judge does not look at what the conversion makes of it.
type clusterPolicy struct {
	subject         tree
	ingress, egress []any
}

// tree is a YAML mapping.
type tree = map[string]any

// addClusterPolicies takes in ClusterNetworkPolicies as JSON. One of no known tier, or whose subject can't be read, counts as absent.
func (w *world) addClusterPolicies(written [][]byte) {
	for _, text := range written {
		var o tree
		if err := yaml.Unmarshal(text, &o); err != nil {
			panic(err) // the case has been read
		}
		spec, _ := o["spec"].(tree)
		meta, _ := o["metadata"].(tree)
		p := &judged{last: v3.Pass, order: math.Inf(1), cluster: &clusterPolicy{}}
		p.key = v3.Key{Kind: v3.KindClusterNetworkPolicy, Name: fmt.Sprint(meta["name"])}
		switch spec["tier"] {
		case "Admin":
			p.tier = "kube-admin"
		case "Baseline":
			p.tier = "kube-baseline"
		default:
			continue
		}
		p.builtIn()
		if n, ok := spec["priority"].(float64); ok {
			p.order = n
		}
		subject, ok := spec["subject"].(tree)
		if _, readable := readPods(subject); !ok || !readable {
			continue
		}
		p.cluster.subject = subject
		p.cluster.ingress, p.cluster.egress = asList(spec["ingress"]), asList(spec["egress"])
		w.policies = append(w.policies, p)
	}
	slices.SortFunc(w.policies, comparePolicies)
}

// asList is a list; what is none counts as a list of one rule that can't be read.
func asList(v any) []any {
	if list, ok := v.([]any); ok || v == nil {
		return list
	}
	return []any{nil}
}

func (p *clusterPolicy) rules(dir dataplane.Direction) []any {
	if dir == dataplane.Egress {
		return p.egress
	}
	return p.ingress
}

// podMatch is a match of pods by two label selectors.
type podMatch struct{ pods, namespaces kubelabels.Selector }

// readPods reads {namespaces: …} or {pods: {namespaceSelector: …, podSelector: …}}.
func readPods(m tree) (podMatch, bool) {
	if len(m) != 1 {
		return podMatch{}, false
	}
	if namespaces, ok := m["namespaces"]; ok {
		s, ok := readLabels(namespaces)
		return podMatch{kubelabels.Everything(), s}, ok
	}
	both, ok := m["pods"].(tree)
	if !ok || !only(both, "namespaceSelector", "podSelector") {
		return podMatch{}, false
	}
	match := podMatch{kubelabels.Everything(), kubelabels.Everything()}
	good := true
	if s, there := both["podSelector"]; there {
		match.pods, ok = readLabels(s)
		good = good && ok
	}
	if s, there := both["namespaceSelector"]; there {
		match.namespaces, ok = readLabels(s)
		good = good && ok
	}
	return match, good
}

func readLabels(v any) (kubelabels.Selector, bool) {
	if _, ok := v.(tree); !ok {
		return nil, false
	}
	text, _ := json.Marshal(v)
	var ls metav1.LabelSelector
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if bytes.Contains(text, []byte("null")) || strict.Decode(&ls) != nil {
		return nil, false
	}
	s, err := metav1.LabelSelectorAsSelector(&ls)
	return s, err == nil
}

// only tells whether a mapping has none but these keys.
func only(m tree, keys ...string) bool {
	for k := range m {
		if !slices.Contains(keys, k) {
			return false
		}
	}
	return true
}

// holds tells whether a pod is matched.
func (m podMatch) holds(e *endpoint) bool {
	return e.labels[labelOrchestrator] == "k8s" && m.pods.Matches(kubelabels.Set(e.labels)) && m.namespaces.Matches(kubelabels.Set(e.nsLabels))
}

// walkCluster is walkRules for rules as they were written.
func (w *world) walkCluster(p *clusterPolicy, dir dataplane.Direction, t Tuple) (dataplane.Action, int) {
	for i, rule := range p.rules(dir) {
		if action := w.clusterRule(rule, dir, t); action != 0 {
			return action, i
		}
	}
	return 0, -1
}

// clusterRule is what the rule does with the packet; 0: nothing. What can't be read of a rule that accepts leaves it out; of one that denies or
// passes it counts as all that it might be, and the rule denies.
func (w *world) clusterRule(rule any, dir dataplane.Direction, t Tuple) dataplane.Action {
	m, _ := rule.(tree)
	action := map[any]dataplane.Action{"Accept": dataplane.Allow, "Deny": dataplane.Deny, "Pass": dataplane.Pass}[m["action"]]
	side := "from"
	if dir == dataplane.Egress {
		side = "to"
	}
	for _, list := range []string{"from", "to", "protocols"} {
		if _, ok := m[list].([]any); m[list] != nil && !ok {
			m = nil // it can't be read as a whole
			break
		}
	}
	if m == nil || action == 0 {
		if action == dataplane.Allow {
			return 0
		}
		return dataplane.Deny
	}
	allow := action == dataplane.Allow
	peer, peersRead, outside := w.clusterPeers(m[side], dir, allow, t)
	protocol, protocolsRead, named := w.clusterProtocols(m["protocols"], t)
	if named && outside {
		protocol, protocolsRead = true, false
	}
	if !only(m, "name", "action", side, "protocols") || !peersRead || !protocolsRead {
		if allow {
			return 0
		}
		action = dataplane.Deny
	}
	if !peersRead {
		peer = true
	}
	if !protocolsRead {
		protocol = true
	}
	if peer && protocol {
		return action
	}
	return 0
}

// clusterPeers tells whether the packet is of one of the peers, whether all can be read, and whether one is no pod.
func (w *world) clusterPeers(list any, dir dataplane.Direction, allow bool, t Tuple) (matched, read, outside bool) {
	peers, _ := list.([]any)
	read = len(peers) > 0
	a := t.Src
	if dir == dataplane.Egress {
		a = t.Dst
	}
	for _, one := range peers {
		peer, _ := one.(tree)
		if pods, ok := readPods(peer); ok {
			matched = matched || w.somePod(pods, allow, a)
			continue
		}
		m, ok := w.placeHolds(peer, allow, a)
		if !ok || dir == dataplane.Ingress {
			read = false
			continue
		}
		matched, outside = matched || m, true
	}
	return matched, read, outside
}

// somePod tells whether the address is a matching pod's. Where several claim it, it counts for its owner alone where a rule accepts.
func (w *world) somePod(m podMatch, allow bool, a netip.Addr) bool {
	owner := w.owner(a)
	return slices.ContainsFunc(w.endpoints, func(e *endpoint) bool {
		return slices.Contains(e.addrs, a) && (!allow || e == owner) && m.holds(e)
	})
}

var writtenDomain = regexp.MustCompile(`^(\*\.)?[a-zA-Z0-9][-a-zA-Z0-9_]*(\.[a-zA-Z0-9][-a-zA-Z0-9_]*)+\.?$`)

// placeHolds is about the peers of egress rules that are no pods. Domain names match no address yet, and are for rules that accept.
func (w *world) placeHolds(peer tree, allow bool, a netip.Addr) (matched, read bool) {
	if len(peer) != 1 {
		return false, false
	}
	if nodes, ok := peer["nodes"]; ok {
		s, ok := readLabels(nodes)
		for name, addrs := range w.nodes {
			matched = matched || ok && slices.Contains(addrs, a) && s.Matches(kubelabels.Set(w.nodeLabels[name]))
		}
		return matched, ok
	}
	texts, _ := peer["networks"].([]any)
	for _, text := range texts {
		net, err := netip.ParsePrefix(fmt.Sprint(text))
		if err != nil {
			return false, false
		}
		matched = matched || net.Contains(a)
	}
	names, _ := peer["domainNames"].([]any)
	for _, name := range names {
		if !allow || !writtenDomain.MatchString(fmt.Sprint(name)) {
			return false, false
		}
	}
	return matched, len(texts)+len(names) > 0
}

// clusterProtocols tells whether the packet is of one of the protocols, whether all can be read, and whether one is a port's name.
func (w *world) clusterProtocols(list any, t Tuple) (matched, read, named bool) {
	if list == nil {
		return true, true, false
	}
	protocols, _ := list.([]any)
	read = len(protocols) > 0
	for _, one := range protocols {
		m, _ := one.(tree)
		if name, ok := m["destinationNamedPort"].(string); ok && len(m) == 1 && name != "" {
			named = true
			matched = matched || hasPorts(t.Protocol) && w.hasNamedPort(name, t.Dst, t.Protocol, t.DstPort)
			continue
		}
		low, high, protocol := writtenPort(m)
		if protocol == 0 {
			read = false
			continue
		}
		matched = matched || t.Protocol == protocol && low <= float64(t.DstPort) && float64(t.DstPort) <= high
	}
	return matched, read, named
}

// writtenPort reads {tcp: {destinationPort: {number: 80}}}, or a range; protocol 0 where it can't.
func writtenPort(m tree) (low, high float64, protocol uint8) {
	for name, number := range map[string]uint8{"tcp": dataplane.ProtoTCP, "udp": dataplane.ProtoUDP, "sctp": dataplane.ProtoSCTP} {
		transport, _ := m[name].(tree)
		port, _ := transport["destinationPort"].(tree)
		if len(m) != 1 || len(transport) != 1 || len(port) != 1 {
			continue
		}
		protocol = number
		if n, ok := port["number"].(float64); ok {
			low, high = n, n
		} else if r, ok := port["range"].(tree); ok && only(r, "start", "end") {
			low, _ = r["start"].(float64)
			high, _ = r["end"].(float64)
			if low >= high {
				return 0, 0, 0
			}
		}
	}
	if low < 1 || high > 65535 {
		return 0, 0, 0
	}
	return low, high, protocol
}
