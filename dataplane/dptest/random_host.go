package dptest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// RandomHosts makes up a case about host endpoints, as Random does about pods: every stage of policy for them, node ports, two interfaces, and
// flows from, to and through the nodes.
func RandomHosts(seed uint64) *Case {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 2))}
	c := &Case{Name: fmt.Sprintf("random-hosts-%d", seed), Title: "Made up", Reason: "The judge says what is right."}
	c.Options = g.hostOptions()
	short, err := parseCluster(g.hostCluster())
	if err != nil {
		panic(err)
	}
	c.addCluster(short)
	c.add(g.sets()...)
	c.add(g.tiers()...)
	c.add(g.services()...)
	c.add(&v3.Profile{
		TypeMeta: typeMeta(v3.KindProfile), ObjectMeta: metav1.ObjectMeta{Name: "base"},
		Spec: v3.ProfileSpec{Ingress: []v3.Rule{g.rule()}, Egress: []v3.Rule{g.rule(), {Action: v3.Allow}}, LabelsToApply: map[string]string{"base": "yes"}},
	})
	for i := range 1 + g.IntN(4) {
		c.add(g.hostEndpoint(fmt.Sprintf("h%d", i)))
	}
	for i := range g.IntN(3) {
		c.add(g.policy(fmt.Sprintf("p%d", i)))
	}
	for i := range 1 + g.IntN(6) {
		c.add(g.hostPolicy(fmt.Sprintf("g%d", i)))
	}
	c.world = newWorld(c.Objects)
	c.Flows = g.hostFlows(c)
	return c
}

func (g *generator) hostOptions() Options {
	return Options{
		Guest: g.maybe(4), NoIPv6: g.maybe(8), HostToWorkload: pick(g, "", "Policy", "ProbePorts"), WorkloadToHost: pick(g, "", "Deny", "Pass", "Pass"),
		FailsafeInbound:  pick(g, nil, nil, []string{}, []string{"TCP 80 192.0.2.0/24", "UDP 53", "TCP 22 2001:db8::/32"}),
		FailsafeOutbound: pick(g, nil, nil, []string{}, []string{"TCP 80 fd00::/8", "UDP 53 172.16.0.0/12"}),
	}
}

func (g *generator) hostCluster() string {
	var b strings.Builder
	b.WriteString("node n1 zone=one 172.18.0.1 fd00:18::1 eth1:172.19.0.1 eth1:fd00:19::1\nnode n2\n")
	for i, node := range []string{"n1", "n1", "n2"} {
		fmt.Fprintf(&b, "pod a/p%d role=%s node:%s port:http=%s", i, pick(g, "x", "y", "z"), node, pick(g, "80/TCP", "81/TCP", "80/UDP"))
		if g.maybe(2) {
			b.WriteString(" probe:" + pick(g, "80", "81", "http"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// hostEndpoint is one of either node: named, for all interfaces, found by an address, or one that can't be read.
func (g *generator) hostEndpoint(name string) v3.Object {
	h := &v3.HostEndpoint{
		TypeMeta:   typeMeta(v3.KindHostEndpoint),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": pick(g, "x", "y", "z"), "host": pick(g, "yes", "no")}},
		Spec: v3.HostEndpointSpec{
			Node: pick(g, "n1", "n1", "n1", "n2"), InterfaceName: pick(g, "*", "*", "eth0", "eth1", ""),
			Profiles: pick(g, nil, []string{"projectcalico-default-allow"}, []string{"missing", "base"}, []string{"base", "projectcalico-default-allow"}),
		},
	}
	addrs := map[string][]string{"n1": {"172.18.0.1", "fd00:18::1", "172.19.0.1", "fd00:19::1"}, "n2": {"172.18.0.2", "fd00:18::2"}}[h.Spec.Node]
	if h.Spec.InterfaceName == "" || g.maybe(2) {
		h.Spec.ExpectedIPs = addrs[g.IntN(len(addrs)):]
	}
	if g.maybe(3) {
		h.Spec.Ports = []v3.EndpointPort{{Name: "http", Protocol: v3.Protocol{Name: pick(g, "TCP", "UDP")}, Port: pick(g, uint16(80), 81)}}
	}
	switch g.IntN(20) {
	case 0:
		h.Spec.Invalid = "made up"
	case 1:
		h.Spec.InterfaceName = v3.UnreadableInterface
	case 2:
		h.Spec.Node = "n9"
	}
	return h
}

// hostPolicy is a global policy of any stage.
func (g *generator) hostPolicy(name string) v3.Object {
	p := &v3.GlobalNetworkPolicy{TypeMeta: typeMeta(v3.KindGlobalNetworkPolicy), ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Tier, p.Spec.Order = g.tier(), g.order(2)
	p.Spec.Selector = pick(g, "has(host)", "has(host)", `host == "yes"`, `role != "y"`, "has(base)", "")
	p.Spec.ApplyOnForward = true
	stage := g.IntN(6)
	switch stage {
	case 0:
		p.Spec.DoNotTrack = true
	case 1:
		p.Spec.PreDNAT = true
	case 2, 3:
		p.Spec.ApplyOnForward = false
	}
	for range 1 + g.IntN(4) {
		p.Spec.Ingress = append(p.Spec.Ingress, g.hostRule())
	}
	for range g.IntN(4) {
		if stage != 1 {
			p.Spec.Egress = append(p.Spec.Egress, g.hostRule())
		}
	}
	return p
}

// hostRule is any rule, but more often one that many packets match.
func (g *generator) hostRule() v3.Rule {
	if g.maybe(2) {
		return g.rule()
	}
	r := v3.Rule{Action: pick(g, v3.Allow, v3.Allow, v3.Deny, v3.Pass), Protocol: &v3.Protocol{Name: pick(g, "TCP", "UDP")}}
	ports := []v3.Port{pick(g, v3.Port{Min: 80, Max: 80}, v3.Port{Min: 22, Max: 81}, v3.Port{Min: 30000, Max: 32767})}
	if g.maybe(5) {
		r.Source.Ports = ports
	} else {
		r.Destination.Ports = ports
	}
	return r
}

// hostFlows have sources of their own where a node translates their destination: two connections must not become the same.
func (g *generator) hostFlows(c *Case) []Flow {
	ends := []string{"pod/a/p0", "pod/a/p1", "pod/a/p2", "node/n1", "node/n1", "node/n2", "192.0.2.9", "192.0.3.9", "2001:db8::9", "172.19.0.9", "fd00:19::9"}
	var flows []Flow
	judge := judgeOf(c.Objects, c.Options)
	seen := map[Tuple]bool{}
	for i := range 60 {
		from, to := pick(g, ends...), pick(g, ends...)
		line := fmt.Sprintf("%s -> %s %s", from, to, pick(g, "TCP 80", "TCP 80", "TCP 81", "UDP 80", "UDP 53", "TCP 22", "TCP 443", "UDP 68 from 53", "UDP 9000 from 81", "ping"))
		if sentTo := pick(g, "node/n1", "node/n1", "203.0.113.7", "2001:db8:7::7"); g.maybe(4) {
			line = fmt.Sprintf("%s -> %s %s %d from %d dnat %s:%d", from, sentTo,
				pick(g, "TCP", "UDP"), 30000+i, 41000+i, pick(g, "pod/a/p0", "pod/a/p1", "pod/a/p2", "node/n1"), pick(g, 80, 81, 22))
		}
		more, err := c.parseFlow(line + " : Allow")
		if err != nil || from == to {
			continue // of two families, or a way that no answer finds back
		}
		for _, f := range more {
			if seen[f.Tuple] || f.From == f.To || f.SentTo.IsValid() && untrackedOnTheWay(c, f) {
				continue
			}
			seen[f.Tuple] = true
			v := judge(f)
			f.Line, f.Want = len(flows)+1, Want{Action: v.Action, Answer: v.Answer}
			flows = append(flows, f)
		}
	}
	return flows
}

// untrackedOnTheWay tells whether untracked policy decides about a packet that is to be translated: what is not tracked is not translated, and
// what the host itself sends is asked about before the interface is known that it leaves by.
func untrackedOnTheWay(c *Case, f Flow) bool {
	for _, h := range f.hops {
		x := crossing{Hop: h, endpoint: c.world.hostEndpointAt(h, h.In), dir: dataplane.Ingress}
		if h.In == "" {
			x.endpoint, x.dir = c.world.hostEndpointAt(h, cmp.Or(h.SentOut, h.Out)), dataplane.Egress
		}
		if x.endpoint == nil {
			continue
		}
		if action, _ := c.world.judgeUntracked(c.Options.Host(""), x); action != dataplane.Pass {
			return true
		}
	}
	return false
}
