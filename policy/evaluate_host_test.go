package policy_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// flow reads "SRC[:PORT] DST:PORT [as ADDR:PORT]", of TCP.
func flow(text string) policy.Flow {
	words := strings.Fields(text)
	f := policy.Flow{Protocol: 6, ICMPType: -1, ICMPCode: -1}
	if from, err := netip.ParseAddr(words[0]); err == nil {
		f.Src = from
	} else {
		from := netip.MustParseAddrPort(words[0])
		f.Src, f.SrcPort = from.Addr(), from.Port()
	}
	to := netip.MustParseAddrPort(words[1])
	f.Dst, f.DstPort = to.Addr(), to.Port()
	if len(words) > 2 {
		f.SentTo = netip.MustParseAddrPort(words[3])
	}
	return f
}

// byText is "default p[0] untracked", "default p end" or a reason.
func byText(d policy.Decider) string {
	text := d.Reason
	switch d.Reason {
	case policy.ReasonRule:
		text = fmt.Sprintf("%s[%d]", d.Name, d.Rule)
	case policy.ReasonEndOfTier:
		text = d.Name + " end"
	}
	if d.Stage != "" && d.Name != "" {
		text += " " + d.Stage
	}
	return text
}

var failsafes = dataplane.Host{
	IPv6: true, WorkloadToHost: dataplane.Pass,
	FailsafeInbound: []dataplane.Failsafe{
		{Protocol: 6, Port: 22}, {Protocol: 6, Port: 222, Net: netip.MustParsePrefix("203.0.113.0/24")}, {Protocol: 6, Port: 2222, Net: netip.MustParsePrefix("2001:db8::/32")},
	},
	FailsafeOutbound: []dataplane.Failsafe{{Protocol: 6, Port: 53}},
}

func TestEvaluateHostEndpoint(t *testing.T) {
	all := []*v3.GlobalNetworkPolicy{
		forHosts("raw", untracked, "in allow 10", "in deny 11", "out allow 10", "out deny 11", "in deny 22", "out deny 53"),
		forHosts("early", preDNAT, "in allow 20", "in deny 21", "in deny 22", "in deny 10"),
		forHosts("fwd", forward, "in allow 30", "in deny 31", "in pass 32", "out allow 30", "out deny 31", "out pass 32"),
		forHosts("normal", nil, "in allow 40:49", "out allow 40:49"),
	}
	ingress, egress := dataplane.Ingress, dataplane.Egress
	const allow, deny = dataplane.Allow, dataplane.Deny
	for _, test := range []struct {
		name    string
		local   bool
		dir     dataplane.Direction
		flow    string
		want    dataplane.Action
		by      string
		profile bool // that allows all
		only    int  // this policy alone, from 1; -1: none
	}{
		{name: "untracked allow is the last word", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:10", want: allow, by: "raw[0] untracked"},
		{name: "untracked deny", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:11", want: deny, by: "raw[1] untracked"},
		{name: "untracked allow, forwarded", dir: ingress, flow: "198.51.100.1 10.0.0.1:10", want: allow, by: "raw[0] untracked"},
		{name: "untracked on the way out", local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:10", want: allow, by: "raw[0] untracked"},
		{name: "untracked deny on the way out", local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:11", want: deny, by: "raw[1] untracked"},
		{name: "untracked does not see what is forwarded out", dir: egress, flow: "10.0.0.1 198.51.100.1:11", want: deny, by: "fwd end forward"},
		{name: "preDNAT allow is the last word", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:20", want: allow, by: "early[0] preDNAT"},
		{name: "preDNAT deny, forwarded", dir: ingress, flow: "198.51.100.1 10.0.0.1:21", want: deny, by: "early[1] preDNAT"},
		{name: "preDNAT sees the destination as sent", dir: ingress, flow: "198.51.100.1 10.0.0.1:30 as 192.0.2.1:21", want: deny, by: "early[1] preDNAT"},
		{name: "untracked sees the destination as sent", dir: ingress, flow: "198.51.100.1 10.0.0.1:30 as 192.0.2.1:11", want: deny, by: "raw[1] untracked"},
		{name: "forward sees where it goes", dir: ingress, flow: "198.51.100.1 10.0.0.1:31 as 192.0.2.1:9", want: deny, by: "fwd[1] forward"},
		{name: "forward allow", dir: ingress, flow: "198.51.100.1 10.0.0.1:30", want: allow, by: "fwd[0] forward"},
		{name: "forward pass in the last tier", dir: egress, flow: "10.0.0.1 198.51.100.1:32", want: allow, by: "no forward policy"},
		{name: "end of tier, forwarded", dir: ingress, flow: "198.51.100.1 10.0.0.1:40", want: deny, by: "fwd end forward"},
		{name: "forward policies hold for local packets too", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:31", want: deny, by: "fwd[1]"},
		{name: "normal allow", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:40", want: allow, by: "normal[0]"},
		{name: "normal end of tier", local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:60", want: deny, by: "normal end"},

		{name: "failsafe before policy", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:22", want: allow, by: "failsafe"},
		{name: "outbound failsafe", local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:53", want: allow, by: "failsafe"},
		{name: "inbound failsafe is not one outbound", local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:22", want: deny, by: "normal end"},
		{name: "forwarded, untracked and preDNAT spare it", dir: ingress, flow: "198.51.100.1 10.0.0.1:22", want: deny, by: "fwd end forward"},
		{name: "failsafe of a net", local: true, dir: ingress, flow: "203.0.113.9 192.0.2.1:222", want: allow, by: "failsafe"},
		{name: "not of that net", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:222", want: deny, by: "normal end"},
		{name: "not of that family", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:2222", want: deny, by: "normal end"},
		{name: "of that family", local: true, dir: ingress, flow: "2001:db8::9 [2001:db8::1]:2222", want: allow, by: "failsafe"},
		{name: "untracked spares answers to outbound failsafes", local: true, dir: ingress, flow: "198.51.100.1:53 192.0.2.1:11", want: deny, by: "normal end"},
		{name: "untracked spares answers of inbound failsafes", local: true, dir: egress, flow: "192.0.2.1:22 198.51.100.1:11", want: deny, by: "normal end"},
		{name: "preDNAT does not spare answers", local: true, dir: ingress, flow: "198.51.100.1:53 192.0.2.1:21", want: deny, by: "early[1] preDNAT"},
		{name: "untracked sees a failsafe port as sent, normal policy where it goes", local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:60 as 192.0.2.1:22", want: deny, by: "normal end"},

		{name: "no policy, no profile", only: -1, local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:80", want: deny, by: "no profile"},
		{name: "no policy, no profile, failsafe", only: -1, local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:22", want: allow, by: "failsafe"},
		{name: "no policy, forwarded", only: -1, dir: ingress, flow: "198.51.100.1 10.0.0.1:80", want: allow, by: "no forward policy"},
		{name: "no policy, a profile", only: -1, profile: true, local: true, dir: egress, flow: "192.0.2.1 198.51.100.1:80", want: allow, by: v3.DefaultAllowProfile + "[0]"},
		{name: "untracked policy ends in nothing", only: 1, profile: true, local: true, dir: ingress, flow: "198.51.100.1 192.0.2.1:80", want: allow, by: v3.DefaultAllowProfile + "[0]"},
		{name: "preDNAT policy ends in nothing", only: 2, dir: ingress, flow: "198.51.100.1 10.0.0.1:80", want: allow, by: "no forward policy"},
		{name: "normal policy is not for what is forwarded", only: 4, dir: ingress, flow: "198.51.100.1 10.0.0.1:80", want: allow, by: "no forward policy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := hostEndpoint("h", "one", "eth0", "192.0.2.1", "2001:db8::1")
			if test.profile {
				host.Spec.Profiles = []string{v3.DefaultAllowProfile}
			}
			objects := []v3.Object{host}
			for i, p := range all {
				if test.only == 0 || test.only == i+1 {
					objects = append(objects, p)
				}
			}
			state, _ := policy.Resolve(objects, policy.Options{Host: failsafes})
			evaluate := policy.EvaluateForward
			if test.local {
				evaluate = policy.Evaluate
			}
			v := evaluate(state, "hostendpoint/h", test.dir, flow(test.flow))
			if v.Action != test.want || byText(v.By) != test.by {
				t.Errorf("%s by %q, want %s by %q\ntrace %+v", v.Action, byText(v.By), test.want, test.by, v.Trace)
			}
		})
	}
}

// TestEvaluateUnreadableHostEndpoint: nothing but failsafe ports of the host itself.
func TestEvaluateUnreadableHostEndpoint(t *testing.T) {
	host := hostEndpoint("h", "one", "eth0", "192.0.2.1")
	host.Spec.Invalid, host.Spec.Profiles = "metadata.labels is a number", []string{v3.DefaultAllowProfile}
	state, _ := policy.Resolve([]v3.Object{host, forHosts("p", forward, "in allow", "out allow"), forHosts("raw", untracked, "in allow")}, policy.Options{Host: failsafes})
	for text, want := range map[string]string{
		"in 198.51.100.1 192.0.2.1:22": "Allow failsafe", "in 198.51.100.1 192.0.2.1:80": "Deny unreadable",
		"out 192.0.2.1 198.51.100.1:53": "Allow failsafe", "out 192.0.2.1 198.51.100.1:80": "Deny unreadable",
	} {
		where, rest, _ := strings.Cut(text, " ")
		dir := dataplane.Ingress
		if where == "out" {
			dir = dataplane.Egress
		}
		v := policy.Evaluate(state, "hostendpoint/h", dir, flow(rest))
		if got := v.Action.String() + " " + byText(v.By); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if v = policy.EvaluateForward(state, "hostendpoint/h", dir, flow(rest)); v.Action != dataplane.Deny || v.By.Reason != policy.ReasonUnreadable {
			t.Errorf("%s, forwarded: %s by %s, want Deny", text, v.Action, byText(v.By))
		}
	}
}

// TestNeighbourDiscovery: without it no failsafe port could be reached by IPv6. Pings are for policy.
func TestNeighbourDiscovery(t *testing.T) {
	unreadable := hostEndpoint("h", "one", "eth0")
	unreadable.Spec.Invalid = "metadata.labels is a number"
	for _, host := range []*v3.HostEndpoint{hostEndpoint("h", "one", "eth0"), unreadable} {
		state, _ := policy.Resolve([]v3.Object{host, forHosts("raw", untracked, "in deny", "out deny")}, policy.Options{Host: failsafes})
		for typ, want := range map[int16]dataplane.Action{128: dataplane.Deny, 133: dataplane.Allow, 134: dataplane.Allow, 135: dataplane.Allow, 136: dataplane.Allow, 137: dataplane.Deny, 143: dataplane.Allow} {
			f := policy.Flow{Src: netip.MustParseAddr("fe80::2"), Dst: netip.MustParseAddr("fe80::1"), Protocol: dataplane.ProtoICMPv6, ICMPType: typ}
			for _, dir := range []dataplane.Direction{dataplane.Ingress, dataplane.Egress} {
				v := policy.Evaluate(state, "hostendpoint/h", dir, f)
				if v.Action != want || want == dataplane.Allow && v.By.Reason != policy.ReasonNeighbours {
					t.Errorf("type %d, %s: %s by %s, want %s", typ, dir, v.Action, byText(v.By), want)
				}
			}
		}
	}
}

// TestProbePorts: a node that may reach the ports of probes alone.
func TestProbePorts(t *testing.T) {
	x := pod("a", "x", nil, "10.0.0.1")
	x.Spec.ProbePorts = []uint16{9901, 8080, 8080}
	state, _ := policy.Resolve([]v3.Object{node("one", "192.0.2.1"), x, networkPolicy()}, policy.Options{Host: dataplane.Host{HostToWorkload: dataplane.HostToWorkloadProbePorts}})
	want := []dataplane.NamedPort{{Protocol: 6, Port: 8080}, {Protocol: 6, Port: 9901}}
	if diff := cmp.Diff(want, state.Endpoints["pod/a/x"].Probes); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	udp := flow("192.0.2.1 10.0.0.1:8080")
	udp.Protocol = dataplane.ProtoUDP
	for _, test := range []struct {
		name string
		flow policy.Flow
		want string
	}{
		{"a probe", flow("192.0.2.1 10.0.0.1:8080"), "Allow probe port"},
		{"another port", flow("192.0.2.1 10.0.0.1:80"), "Deny p end"},
		{"another protocol", udp, "Deny p end"},
		{"from elsewhere", flow("192.0.2.9 10.0.0.1:8080"), "Deny p end"},
	} {
		v := policy.Evaluate(state, "pod/a/x", dataplane.Ingress, test.flow)
		if got := v.Action.String() + " " + byText(v.By); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestWay holds which host endpoints a flow meets, and where.
func TestWay(t *testing.T) {
	on := func(p *v3.WorkloadEndpoint, node string) *v3.WorkloadEndpoint {
		p.Spec.Node = node
		return p
	}
	objects := []v3.Object{
		node("one", "192.0.2.1", "192.0.2.11"), node("two", "192.0.2.2"), node("bare", "192.0.2.3"), openNamespace("a"),
		pod("a", "x", nil, "10.0.0.1"), pod("a", "y", nil, "10.0.0.2"), on(pod("a", "z", nil, "10.0.1.1"), "two"), on(pod("a", "bare", nil, "10.0.2.1"), "bare"),
		hostEndpoint("any", "one", "*", "192.0.2.1", "192.0.2.11"), hostEndpoint("main", "one", "eth0", "192.0.2.1"), hostEndpoint("two", "two", "*"),
		forHosts("all", forward, "in allow", "out allow"),
	}
	state, _ := policy.Resolve(objects, policy.Options{Host: failsafes})
	for text, want := range map[string]string{
		"10.0.0.1 10.0.0.2:80":                          "pod/a/x; pod/a/y",
		"10.0.0.1 10.0.1.1:80":                          "pod/a/x; out main, in two; pod/a/z",
		"10.0.1.1 10.0.2.1:80":                          "pod/a/z; out two; pod/a/bare",
		"10.0.0.1 203.0.113.1:80":                       "pod/a/x; out main; -",
		"203.0.113.1 10.0.0.1:80":                       "-; in main; pod/a/x",
		"203.0.113.1 192.0.2.1:80":                      "-; hostendpoint/main",
		"203.0.113.1 192.0.2.11:80":                     "-; hostendpoint/any",
		"203.0.113.1 192.0.2.3:80":                      "-; -",
		"192.0.2.1 10.0.0.1:80":                         "-; pod/a/x",
		"192.0.2.1 10.0.1.1:80":                         "hostendpoint/main; in two; pod/a/z",
		"192.0.2.1 192.0.2.2:80":                        "hostendpoint/main; hostendpoint/two",
		"192.0.2.1 192.0.2.11:80":                       "-; -",
		"192.0.2.3 203.0.113.1:80":                      "-; -",
		"10.0.0.1 192.0.2.1:80":                         "pod/a/x; hostendpoint/any",
		"10.0.0.1 192.0.2.2:80":                         "pod/a/x; out main; hostendpoint/two",
		"10.0.2.1 192.0.2.3:80":                         "pod/a/bare; -",
		"203.0.113.1 10.0.0.1:80 as 192.0.2.11:30080":   "-; in any; pod/a/x",
		"203.0.113.1 10.0.1.1:80 as 192.0.2.11:30080":   "-; in any, out main, in two; pod/a/z",
		"203.0.113.1 192.0.2.2:80 as 192.0.2.1:30080":   "-; in main, out main; hostendpoint/two",
		"203.0.113.1 203.0.113.2:80 as 192.0.2.1:30080": "-; in main, out main; -",
		"203.0.113.1 192.0.2.1:8080 as 192.0.2.1:80":    "-; hostendpoint/main",
		"192.0.2.1 10.0.1.1:80 as 192.0.2.1:30080":      "hostendpoint/main; in two; pod/a/z",
		"10.0.0.1 10.0.1.1:80 as 192.0.2.1:30080":       "pod/a/x; out main, in two; pod/a/z",
		"10.0.0.1 10.0.1.1:80 as 10.96.0.1:80":          "pod/a/x; out main, in two; pod/a/z",
		"10.0.0.1 10.0.0.2:80 as 192.0.2.2:30080":       "pod/a/x; out main, in two, out two, in main; pod/a/y",
		"203.0.113.1 203.0.113.2:80":                    "-; -",
	} {
		answer := policy.Explain(state, flow(text))
		if answer.Verdict != dataplane.Allow {
			t.Errorf("%s: %s", text, answer.Verdict)
		}
		side := func(v *policy.Verdict) string {
			if v == nil {
				return "-"
			}
			return string(v.Endpoint)
		}
		got := []string{side(answer.Egress)}
		var forward []string
		for _, v := range answer.Forward {
			way := map[dataplane.Direction]string{dataplane.Ingress: "in ", dataplane.Egress: "out "}[v.Direction]
			forward = append(forward, way+strings.TrimPrefix(string(v.Endpoint), "hostendpoint/"))
		}
		if forward != nil {
			got = append(got, strings.Join(forward, ", "))
		}
		if got := strings.Join(append(got, side(answer.Ingress)), "; "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestWayTranslates: who sees where a flow was sent to, and who where it goes, is a matter of which node makes one of the other.
func TestWayTranslates(t *testing.T) {
	far := pod("a", "z", nil, "10.0.1.1")
	far.Spec.Node = "two"
	objects := []v3.Object{
		node("one", "192.0.2.1"), node("two", "192.0.2.2"), openNamespace("a"), pod("a", "x", nil, "10.0.0.1"), far, hostEndpoint("one", "one", "*"), hostEndpoint("two", "two", "*"),
	}
	const toNodePort, toService = "203.0.113.1 10.0.1.1:80 as 192.0.2.1:30080", "203.0.113.1 10.0.1.1:80 as 198.51.100.1:443"
	for _, test := range []struct {
		flow string
		at   func(*v3.GlobalNetworkPolicySpec)
		rule string
		want string // the host endpoints that deny
	}{
		{toNodePort, preDNAT, "in deny 30080", "in one"},
		{toNodePort, preDNAT, "in deny 80", "in two"},
		{toNodePort, forward, "in deny 80", "in one, in two"},
		{toNodePort, forward, "in deny 30080", ""},
		{toService, preDNAT, "in deny 443", "in two"},
		{toService, preDNAT, "in deny 80", ""},
		{"10.0.0.1 10.0.1.1:80 as 192.0.2.2:30080", forward, "out deny 30080", "out one"},
		{"10.0.0.1 10.0.1.1:80 as 192.0.2.2:30080", preDNAT, "in deny 30080", "in two"},
		{"10.0.0.1 10.0.1.1:80 as 192.0.2.1:30080", forward, "out deny 30080", ""},
		{"10.0.0.1 10.0.1.1:80 as 10.96.0.1:443", preDNAT, "in deny 443", ""},
	} {
		allowing := forHosts("p", test.at, test.rule, strings.Fields(test.rule)[0]+" allow")
		state, _ := policy.Resolve(append([]v3.Object{allowing}, objects...), policy.Options{Host: failsafes})
		var got []string
		for _, v := range policy.Explain(state, flow(test.flow)).Forward {
			if v.Action == dataplane.Deny {
				way := map[dataplane.Direction]string{dataplane.Ingress: "in ", dataplane.Egress: "out "}[v.Direction]
				got = append(got, way+strings.TrimPrefix(string(v.Endpoint), "hostendpoint/"))
			}
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s, %s: denied by %q, want %q", test.flow, test.rule, got, test.want)
		}
	}
}

func TestExplainForwardJSON(t *testing.T) {
	objects := []v3.Object{
		node("one", "192.0.2.1"), openNamespace("a"), pod("a", "x", nil, "10.0.0.1"), hostEndpoint("h", "one", "*"), forHosts("p", forward, "in deny 80"),
	}
	state, _ := policy.Resolve(objects, policy.Options{Host: failsafes})
	answer := policy.Explain(state, flow("203.0.113.1 10.0.0.1:80"))
	got, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	_, forwarded, _ := strings.Cut(string(got), `"forward":`)
	want := `[{"endpoint":"hostendpoint/h","direction":"ingress","verdict":"Deny",` +
		`"by":{"kind":"GlobalNetworkPolicy","name":"p","tier":"default","stage":"forward","rule":0,"reason":"rule"},` +
		`"trace":[{"kind":"GlobalNetworkPolicy","name":"p","tier":"default","stage":"forward","rule":0,"action":"Deny","matched":true}]}]}`
	if diff := cmp.Diff(want, forwarded); diff != "" || answer.Verdict != dataplane.Deny || answer.Ingress.Action != dataplane.Allow {
		t.Errorf("verdict %s, forward (-want +got):\n%s", answer.Verdict, diff)
	}
}
