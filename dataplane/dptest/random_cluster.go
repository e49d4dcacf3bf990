package dptest

import (
	"encoding/json"
)

// clusterPolicy is a ClusterNetworkPolicy as JSON, sometimes with what can't be read.
func (g *generator) clusterPolicy(name string) []byte {
	spec := tree{"tier": pick(g, "Admin", "Baseline"), "priority": g.IntN(3), "subject": g.clusterPods()}
	for direction, list := range map[string]string{"ingress": "from", "egress": "to"} {
		var rules []any
		for range g.IntN(4) {
			rules = append(rules, g.clusterRule(list))
		}
		if rules != nil {
			spec[direction] = rules
		}
	}
	data, err := json.Marshal(tree{
		"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": tree{"name": name}, "spec": spec,
	})
	if err != nil {
		panic(err)
	}
	return data
}

func (g *generator) clusterRule(list string) any {
	rule := tree{"action": pick(g, "Accept", "Accept", "Deny", "Deny", "Pass")}
	var peers []any
	for range 1 + g.IntN(2) {
		peers = append(peers, g.clusterPeer(list == "to"))
	}
	rule[list] = peers
	if g.maybe(2) {
		var protocols []any
		for range 1 + g.IntN(3) {
			protocols = append(protocols, g.clusterProtocol())
		}
		rule["protocols"] = protocols
	}
	if g.maybe(20) {
		rule[pick(g, "mood", "action")] = "strange"
	}
	return rule
}

func (g *generator) clusterPods() tree {
	role := func() tree {
		return pick(g, tree{}, tree{"matchLabels": tree{"role": pick(g, "x", "z")}}, tree{"matchExpressions": []any{tree{"key": "role", "operator": "NotIn", "values": []any{"z"}}}})
	}
	team := func() tree {
		return pick(g, tree{}, tree{"matchLabels": tree{"team": "red"}}, tree{"matchLabels": tree{"kubernetes.io/metadata.name": "b"}})
	}
	if g.maybe(2) {
		return tree{"namespaces": team()}
	}
	return tree{"pods": tree{"namespaceSelector": team(), "podSelector": role()}}
}

func (g *generator) clusterPeer(egress bool) tree {
	switch n := g.IntN(10); {
	case n == 0:
		return tree{pick(g, "clouds", "namespaces"): tree{"matchThings": 1}}
	case n < 3 && egress:
		return tree{"networks": []any{pick(g, "192.0.2.0/24", "10.65.0.0/30", "0.0.0.0/0"), pick(g, "2001:db8::/32", "fd00:65::/126", "::/0")}}
	case n < 5 && egress:
		return tree{"nodes": pick(g, tree{}, tree{"matchLabels": tree{"zone": "one"}}, tree{"matchExpressions": []any{tree{"key": "zone", "operator": "DoesNotExist"}}})}
	case n < 6 && egress:
		return tree{"domainNames": []any{"example.org"}}
	}
	return g.clusterPods()
}

func (g *generator) clusterProtocol() tree {
	switch g.IntN(8) {
	case 0:
		return tree{"destinationNamedPort": "http"}
	case 1:
		return tree{pick(g, "tcp", "quic"): tree{}}
	}
	port := pick(g, tree{"number": 80}, tree{"number": 81}, tree{"range": tree{"start": 50, "end": 80}}, tree{"range": tree{"start": 81, "end": 443}})
	return tree{pick(g, "tcp", "tcp", "udp"): tree{"destinationPort": port}}
}
