package dptest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// Random makes a case up: valid policies of all shapes over a few pods, and flows whose verdicts are the judge's. The same seed makes
// the same case. It finds what nobody thought of writing a case about; what it finds then becomes one.
func Random(seed uint64) *Case {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	c := &Case{Name: fmt.Sprintf("random-%d", seed), Title: "Made up", Reason: "The judge says what is right."}
	c.Options = g.options()
	short, err := parseCluster(g.cluster())
	if err != nil {
		panic(err)
	}
	c.addCluster(short)
	if c.Options.Skip[RunnerPackets] != "" && g.maybe(2) {
		if err := g.claimant(c); err != nil {
			panic(err)
		}
	}
	c.add(g.sets()...)
	c.add(g.tiers()...)
	c.add(g.workloads()...)
	c.add(g.services()...)
	for i := range 1 + g.IntN(5) {
		c.add(g.policy(fmt.Sprintf("p%d", i)))
	}
	for i := range g.IntN(3) {
		if err := c.addJSON(g.clusterPolicy(fmt.Sprintf("c%d", i))); err != nil {
			panic(err)
		}
	}
	for i := range g.IntN(3) {
		if err := c.addJSON(g.kubernetesPolicy(fmt.Sprintf("k%d", i))); err != nil {
			panic(err)
		}
	}
	c.world = newWorld(c.Objects)
	c.Flows = g.flows(c)
	return c
}

// YAML prints the resources of a case, for whoever has to find out what went wrong.
func (c *Case) YAML() string {
	var b strings.Builder
	for _, o := range c.Objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			text = []byte(err.Error())
		}
		b.WriteString("---\n" + string(text))
	}
	return b.String()
}

type generator struct{ *rand.Rand }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// maybe is true once in n times.
func (g *generator) maybe(n int) bool { return g.IntN(n) == 0 }

func typeMeta(kind v3.Kind) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(kind)}
}

func (g *generator) cluster() string {
	var b strings.Builder
	b.WriteString("node n1 zone=one\nnode n2\n")
	for _, ns := range []string{"a", "b"} {
		fmt.Fprintf(&b, "namespace %s team=%s\n", ns, pick(g, "red", "blue"))
		for _, sa := range []string{"s1", "s2"} {
			fmt.Fprintf(&b, "serviceaccount %s/%s job=%s\n", ns, sa, pick(g, "build", "run"))
		}
		for i := range 3 {
			fmt.Fprintf(&b, "pod %s/p%d role=%s sa:%s node:%s", ns, i, pick(g, "x", "y", "z"), pick(g, "s1", "s2"), pick(g, "n1", "n2"))
			if g.maybe(2) {
				fmt.Fprintf(&b, " port:http=%s", pick(g, "80/TCP", "81/TCP", "80/UDP"))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// nets4 and nets6 overlap each other, pods and the world outside.
var (
	nets4 = []string{"10.65.0.0/30", "10.65.0.4/31", "10.65.0.1", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.9", "0.0.0.0/1"}
	nets6 = []string{"fd00:65::/126", "fd00:65::4/127", "fd00:65::1", "fd00::/8", "2001:db8::/32", "2001:db8::9", "::/1"}
)

func (g *generator) nets(family uint8, n int) []string {
	var nets []string
	for range n {
		if family == 4 {
			nets = append(nets, pick(g, nets4...))
		} else {
			nets = append(nets, pick(g, nets6...))
		}
	}
	return nets
}

func (g *generator) sets() []v3.Object {
	spec := func() v3.NetworkSetSpec {
		nets := append(g.nets(4, 1+g.IntN(3)), g.nets(6, 1+g.IntN(3))...)
		if g.maybe(8) {
			nets = append(nets, "10.65.0.0/99")
		}
		return v3.NetworkSetSpec{Nets: nets}
	}
	return []v3.Object{
		&v3.NetworkSet{
			TypeMeta: typeMeta(v3.KindNetworkSet), ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "set", Labels: map[string]string{"role": "z"}}, Spec: spec(),
		},
		&v3.GlobalNetworkSet{
			TypeMeta: typeMeta(v3.KindGlobalNetworkSet), ObjectMeta: metav1.ObjectMeta{Name: "set", Labels: map[string]string{"role": "w"}}, Spec: spec(),
		},
	}
}

// services are one in namespace a that finds its pods by a selector, and one with a slice.
func (g *generator) services() []v3.Object {
	tcp := v3.Protocol{Name: "TCP"}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "a", Name: name} }
	target := pick(g, v3.Port{Name: "http"}, v3.Port{Min: 80, Max: 80})
	return []v3.Object{
		&v3.ServiceEndpoints{
			TypeMeta: typeMeta(v3.KindServiceEndpoints), ObjectMeta: meta("found"),
			Spec: v3.ServiceEndpointsSpec{Selector: pick(g, `role == "x"`, `role != "y"`), Ports: []v3.ServicePort{{Protocol: tcp, Port: 8, Target: target}}},
		},
		&v3.ServiceEndpoints{
			TypeMeta: typeMeta(v3.KindServiceEndpoints), ObjectMeta: meta("sliced/1"),
			Spec: v3.ServiceEndpointsSpec{Service: "sliced", Endpoints: []v3.ServiceEndpoint{
				{Address: pick(g, "10.65.0.1", "192.0.2.9"), Ports: []v3.EndpointPort{{Protocol: tcp, Port: 80}}},
				{Address: "fd00:65::2", Ports: []v3.EndpointPort{{Protocol: tcp, Port: 81}, {Protocol: v3.Protocol{Name: "UDP"}, Port: 53}}},
			}},
		},
	}
}

func (g *generator) selector() string {
	if g.maybe(8) {
		return pick(g, "", "!") + "(" + g.selector() + pick(g, " && ", " || ") + g.selector() + ")"
	}
	return pick(g, `role == "x"`, `role != "y"`, `role in {"y", "z"}`, "has(role)", "!has(role)", `role == "w"`, `role == "nobody"`, "all()",
		`role contains "x"`, `role starts with "y"`, `role not in {"x", "w"}`, `role in {}`, `projectcalico.org/serviceaccount == "s1"`,
		`pcns.team == "red"`, `pcsa.job != "run"`, `projectcalico.org/namespace == "a"`, `projectcalico.org/orchestrator == "k8s"`, `size == "big"`)
}

func (g *generator) namespaceSelector() string {
	return pick(g, "all()", "global()", `team == "red"`, `team != "red"`, `projectcalico.org/name == "b"`, "has(team)", `kubernetes.io/metadata.name in {"a", "v"}`)
}

func (g *generator) policy(name string) v3.Object {
	spec := v3.PolicySpec{Tier: g.tier(), Order: g.order(3), Types: g.types(), Selector: pick(g, "", "all()", g.selector())}
	if g.maybe(8) {
		spec.PerformanceHints = []string{v3.AssumeNeededOnEveryNode}
	}
	if g.maybe(10) {
		spec.PerformanceHints = []string{v3.AssumeNeededOnEveryNode}
	}
	if g.maybe(8) {
		spec.ServiceAccountSelector = `job == "run"`
	}
	for range g.IntN(5) {
		spec.Ingress = append(spec.Ingress, g.rule())
	}
	for range g.IntN(4) {
		spec.Egress = append(spec.Egress, g.rule())
	}
	if g.maybe(2) {
		return &v3.NetworkPolicy{
			TypeMeta: typeMeta(v3.KindNetworkPolicy), ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "a", "b"), Name: name},
			Spec: v3.NetworkPolicySpec{PolicySpec: spec},
		}
	}
	return &v3.GlobalNetworkPolicy{
		TypeMeta: typeMeta(v3.KindGlobalNetworkPolicy), ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v3.GlobalNetworkPolicySpec{PolicySpec: spec, NamespaceSelector: pick(g, "", "", `team == "red"`, "all()", g.namespaceSelector())},
	}
}

// rule is valid: ports have a protocol, ICMP has its own, nets are of one family.
func (g *generator) rule() v3.Rule {
	family := pick(g, uint8(4), 6)
	r := v3.Rule{Action: pick(g, v3.Allow, v3.Allow, v3.Allow, v3.Deny, v3.Deny, v3.Pass, v3.Log)}
	if g.maybe(6) {
		version := int(family)
		r.IPVersion = &version
	}
	switch g.IntN(6) {
	case 0:
		r.NotProtocol = &v3.Protocol{Name: pick(g, "TCP", "UDP", "SCTP", "ICMP", "ICMPv6")}
	case 1:
		g.icmp(&r, family)
	case 2, 3, 4:
		r.Protocol = &v3.Protocol{Name: pick(g, "TCP", "TCP", "TCP", "UDP", "UDP", "SCTP", "UDPLite")}
	}
	r.Source, r.Destination = g.side(family), g.side(family)
	if g.maybe(10) {
		*pick(g, &r.Source, &r.Destination) = v3.EntityRule{Services: &v3.ServiceMatch{Namespace: pick(g, "a", "a", "b"), Name: pick(g, "found", "sliced", "missing")}}
	}
	if n, ok := number(r.Protocol); ok && hasPorts(n) {
		if r.Destination.Services == nil {
			g.ports(&r.Destination, 2)
		}
		g.ports(&r.Source, 8)
	}
	if g.maybe(12) {
		g.damage(&r)
	}
	return r
}

func number(p *v3.Protocol) (uint8, bool) {
	if p == nil {
		return 0, false
	}
	return p.Number8()
}

// damage makes something in a rule unreadable, or something that packets can't be matched by.
func (g *generator) damage(r *v3.Rule) {
	side := pick(g, &r.Source, &r.Destination)
	switch g.IntN(10) {
	case 0:
		side.Nets = append(side.Nets, "10.65.0.0/33")
	case 1:
		side.NotNets = append(side.NotNets, "fd00::/129")
	case 2:
		side.Selector = `role = "x"`
	case 3:
		side.NotSelector = "has(("
	case 4:
		r.Protocol = &v3.Protocol{Name: "TPC"}
	case 5:
		r.Unknown = []string{"onlyOnFullMoon"}
	case 6:
		r.HTTP = &v3.HTTPMatch{Methods: []string{"GET"}}
	case 7:
		r.Action = "Alow"
	case 8:
		code := 1
		r.ICMP = &v3.ICMPFields{Code: &code}
	case 9:
		r.Destination.Domains = []string{"example.org"}
	}
}

func (g *generator) icmp(r *v3.Rule, family uint8) {
	version, typ := int(family), pick(g, 8, 8, 13)
	r.IPVersion, r.Protocol = &version, &v3.Protocol{Name: "ICMP"}
	if family == 6 {
		typ, r.Protocol.Name = pick(g, 128, 128, 200), "ICMPv6"
	}
	fields := &v3.ICMPFields{Type: &typ}
	if g.maybe(2) {
		code := g.IntN(2)
		fields.Code = &code
	}
	switch g.IntN(4) {
	case 0:
		r.ICMP = fields
	case 1:
		r.NotICMP = fields
	case 2:
		code := 1
		r.ICMP, r.NotICMP = fields, &v3.ICMPFields{Type: fields.Type, Code: &code}
	}
}

func (g *generator) side(family uint8) v3.EntityRule {
	var e v3.EntityRule
	if g.maybe(5) {
		e.Nets = g.nets(family, 1+g.IntN(3))
	}
	if g.maybe(8) {
		e.NotNets = g.nets(family, 1+g.IntN(2))
	}
	if g.maybe(4) {
		e.Selector = g.selector()
	}
	if g.maybe(8) {
		e.NotSelector = g.selector()
	}
	if g.maybe(6) {
		e.NamespaceSelector = g.namespaceSelector()
	}
	if g.maybe(10) {
		e.ServiceAccounts = &v3.ServiceAccountMatch{Names: pick(g, nil, []string{"s1"}), Selector: pick(g, "", `job == "run"`)}
		if e.ServiceAccounts.Names == nil && e.ServiceAccounts.Selector == "" {
			e.ServiceAccounts.Names = []string{"s2", "s3"}
		}
	}
	return e
}

// ports fills ports or notPorts, once in n times.
func (g *generator) ports(e *v3.EntityRule, n int) {
	if !g.maybe(n) {
		return
	}
	var ports []v3.Port
	for range 1 + g.IntN(3) {
		ports = append(ports, pick(g, v3.Port{Min: 80, Max: 80}, v3.Port{Min: 81, Max: 90}, v3.Port{Min: 1, Max: 79}, v3.Port{Min: 40000, Max: 65535}, v3.Port{Name: "http"}))
	}
	if g.maybe(4) {
		for range 14 {
			at := uint16(100 + 2*g.IntN(500))
			ports = append(ports, v3.Port{Min: at, Max: at + uint16(g.IntN(2))})
		}
	}
	if g.maybe(3) {
		e.NotPorts = ports
	} else {
		e.Ports = ports
	}
}

// flows are between pods, and with the world outside.
func (g *generator) flows(c *Case) []Flow {
	var ends []string
	for _, e := range c.world.endpoints {
		ends = append(ends, string(e.id))
	}
	outside := []string{"192.0.2.9", "192.0.3.9", "2001:db8::9", "2001:db9::9"}
	var flows []Flow
	judge := judgeOf(c.Objects, c.Options)
	seen := map[Tuple]bool{}
	for range 40 {
		from, to := pick(g, ends...), pick(g, ends...)
		switch g.IntN(8) {
		case 0, 1:
			from = pick(g, outside...)
		case 2, 3:
			to = pick(g, outside...)
		case 4:
			from = pick(g, "node/n1", "node/n2")
		case 5:
			to = pick(g, "node/n1", "node/n2")
		}
		what := pick(g, "TCP 80", "TCP 80", "TCP 81", "TCP 443", "UDP 80", "UDP 53", "ping", "ping", "ICMP 13/0", "ICMPv6 128/1", "UDP 53 from 80")
		if c.Options.Skip[RunnerPackets] != "" {
			what = pick(g, what, what, "SCTP 80", "UDPLite 80", "proto 47")
		} else if from == to {
			continue // it would not leave the pod
		}
		line := fmt.Sprintf("%s -> %s %s", from, to, what)
		if strings.HasPrefix(from, "pod/") && g.maybe(12) {
			line = fmt.Sprintf("%s as %s -> %s UDP 80", from, pick(g, "10.65.0.2", "192.0.2.9", "fd00:65::2"), to)
		}
		more, err := c.parseFlow(line + " : Allow")
		if err != nil {
			continue // of two families
		}
		for _, f := range more {
			if seen[f.Tuple] {
				continue
			}
			seen[f.Tuple] = true
			f.Line, f.Want = len(flows)+1, Want{Action: judge(f).Action}
			f.Text = fmt.Sprintf("%s (%s)", line, f.Tuple)
			flows = append(flows, f)
		}
	}
	return flows
}
