package dptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

const hostCluster = `title
reason
-- cluster --
node n1 zone=a eth1:172.19.0.1 eth1:fd00:19::1
node n2
pod a/x probe:80
pod a/far node:n2
-- resources.yaml --
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: inner}
spec: {node: n1, interfaceName: eth1}
`

// TestHops: a packet crosses the nodes on its way by the interfaces that lead there, and is translated by one of them.
func TestHops(t *testing.T) {
	for _, c := range []struct{ flow, want string }{
		{"pod/a/x -> pod/a/far TCP 80 ip4", "n1 POD eth0 80, n2 eth0 POD 80"},
		{"192.0.2.9 -> node/n1 TCP 80", "n1 eth0 - 80"},
		{"node/n1 -> 172.19.0.9 TCP 80", "n1 - eth1 80"},
		{"hostendpoint/inner -> 172.19.0.9 TCP 80", "n1 - eth1 80"},
		{"fd00:19::9 -> 2001:db8::9 TCP 80", "n1 eth1 eth0 80"},
		{"172.19.0.9 -> pod/a/far TCP 80", "n1 eth1 eth0 80, n2 eth0 POD 80"},
		{"192.0.2.9 -> 172.19.0.9 TCP 80", "n1 eth0 eth1 80"},
		{"192.0.2.9 -> 198.51.100.9 TCP 80", ""},
		{"192.0.2.9 -> node/n1 TCP 30080 dnat pod/a/x:80", "n1 eth0 POD 80 sent 172.18.0.1:30080"},
		{"172.19.0.9 -> node/n1 TCP 30080 dnat pod/a/far:80", "n1 eth1 eth0 80 sent 172.18.0.1:30080, n2 eth0 POD 80"},
		{"pod/a/x -> node/n2 TCP 30080 dnat pod/a/far:80 ip4", "n1 POD eth0 30080, n2 eth0 POD 80 sent 172.18.0.2:30080"},
		{"node/n1 -> 203.0.113.7 TCP 443 dnat pod/a/x:80", "n1 - POD 80 sent 203.0.113.7:443 by eth0"},
		{"node/n1 -> node/n1 TCP 443 dnat pod/a/x:80 ip4", "n1 - POD 80 sent 172.18.0.1:443 by lo"},
	} {
		parsed, err := ParseCase("hops", []byte(hostCluster+"-- flows --\n"+c.flow+" : Allow\n"), nil)
		if err != nil {
			t.Errorf("%s: %v", c.flow, err)
			continue
		}
		var words []string
		for _, h := range parsed.Hops(parsed.Flows[0]) {
			words = append(words, describeHop(h))
		}
		if got := strings.Join(words, ", "); got != c.want {
			t.Errorf("%s: hops %q, want %q", c.flow, got, c.want)
		}
	}
}

func describeHop(h Hop) string {
	device := func(iface string) string {
		switch {
		case iface == "":
			return "-"
		case workloadDevice(iface):
			return "POD"
		}
		return iface
	}
	text := fmt.Sprintf("%s %s %s %d", h.Node, device(h.In), device(h.Out), h.DstPort)
	if h.SentTo.IsValid() {
		text += " sent " + h.SentTo.String()
		if h.In == "" {
			text += " by " + h.SentOut
		}
	}
	return text
}

// TestHostFlowErrors: a flow that would not go where its line says is refused.
func TestHostFlowErrors(t *testing.T) {
	for _, c := range []struct{ flow, want string }{
		{"192.0.2.9 -> hostendpoint/inner ping", "does not cross hostendpoint/inner"},
		{"hostendpoint/inner -> 192.0.2.9 TCP 80", "does not cross hostendpoint/inner"},
		{"192.0.2.9 -> hostendpoint/outer TCP 80", `no "hostendpoint/outer"`},
		{"192.0.2.9 -> node/n1 TCP 30080 dnat pod/a/x", "want END:PORT"},
		{"192.0.2.9 -> node/n1 TCP 30080 dnat pod/a/x:http", "want END:PORT"},
		{"192.0.2.9 -> node/n1 ping dnat pod/a/x:80", "needs a protocol with ports"},
		{"192.0.2.9 -> node/n1 TCP 30080 dnat pod/a/far:80", "would not come back"},
		{"192.0.2.9 -> 203.0.113.7 TCP 443 dnat pod/a/x:80", "no node translates"},
		{"node/n2 -> node/n1 TCP 30080 dnat pod/a/far:80", "an address of its own"},
	} {
		_, err := ParseCase("x", []byte(hostCluster+"-- flows --\n"+c.flow+" : Allow\n"), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.flow, err, c.want)
		}
	}
	for _, c := range []struct{ data, want string }{
		{"t\nr\n-- cluster --\nnode n1 eth0:172.18.0.1\n", "another interface than eth0"},
		{"t\nr\n-- cluster --\nnode n1 fld1:172.18.0.1\n", "another interface than eth0"},
		{"t\nr\n-- cluster --\nnode n1 eth1\n", "can't read"},
		{"t\nr\n-- cluster --\npod a/x probe:1 probe:2 probe:3 probe:4\n", "three probes"},
		{"t\nr\n-- options --\nfailsafeInbound: [TCP]\n", "can't read the failsafe"},
		{"t\nr\n-- options --\nfailsafeInbound: [ICMP 8]\n", "can't read the failsafe"},
		{"t\nr\n-- options --\nfailsafeOutbound: [TCP 80 10.0.0.0]\n", "failsafe"},
		{"t\nr\n-- options --\nhostToWorkload: Probes\n", "must be All, Policy or ProbePorts"},
	} {
		if _, err := ParseCase("x", []byte(c.data), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.data, err, c.want)
		}
	}
}

// TestCompareAnswers: a lost answer is found, and one that should be lost.
func TestCompareAnswers(t *testing.T) {
	for want, fate := range map[string]Answered{"Allow": AnswerComes, "Allow unanswered": AnswerLost} {
		w, err := parseWant(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []Answered{AnswerUnknown, AnswerComes, AnswerLost} {
			err := w.compare(Verdict{Action: dataplane.Allow, Answer: got}, false)
			if ok := got == AnswerUnknown || got == fate; (err == nil) != ok {
				t.Errorf("want %q, got %d: %v", want, got, err)
			}
		}
	}
}

// TestTraceIPTablesTables: the mark goes from table to table, ACCEPT ends one of them, and each hook sees the packet as it is there.
func TestTraceIPTablesTables(t *testing.T) {
	const text = `
*raw
:pre - [0:0]
-A PREROUTING -j pre
-A pre -p udp --dport 30053 -j CT --notrack
-A pre -p tcp --dport 30080 -j MARK --set-xmark 0x1/0x1
-A pre ! -o eth9 -p tcp --dport 30081 -j DROP
-A PREROUTING -p tcp -j ACCEPT
-A PREROUTING -j MARK --set-xmark 0x2/0x2
-A OUTPUT -o eth0 -d 203.0.113.7 -j MARK --set-xmark 0x4/0x4
COMMIT
*mangle
-A PREROUTING -p tcp --dport 30080 -m conntrack ! --ctstate DNAT -j MARK --set-xmark 0x8/0x8
-A POSTROUTING -o fld1 -m conntrack --ctstate DNAT -j MARK --set-xmark 0x10/0x10
COMMIT
*filter
-A INPUT -m conntrack --ctstate UNTRACKED -j MARK --set-xmark 0x20/0x20
-A FORWARD -p tcp --dport 80 -m conntrack --ctstate NEW -j MARK --set-xmark 0x40/0x40
-A OUTPUT -o eth0 -d 10.65.0.2 -j MARK --set-xmark 0x80/0x80
COMMIT
`
	tuple := func(protocol uint8, port uint16) Tuple {
		return Tuple{Src: netip.MustParseAddr("192.0.2.9"), Dst: netip.MustParseAddr("10.65.0.2"), Protocol: protocol, SrcPort: 40000, DstPort: port, ICMPType: -1, ICMPCode: -1}
	}
	nodePort := netip.MustParseAddrPort("172.18.0.1:30080")
	for _, c := range []struct {
		name  string
		p     Packet
		mark  uint32
		state string
	}{
		{"node port", Packet{Tuple: tuple(6, 80), In: "eth0", Out: "fld1", SentTo: nodePort}, 0x1 | 0x8 | 0x10 | 0x40, "NEW"},
		{"plain", Packet{Tuple: tuple(6, 80), In: "eth0", Out: "fld1"}, 0x40, "NEW"},
		{"answer", Packet{Tuple: tuple(6, 80), In: "eth0", Out: "fld1", State: "ESTABLISHED", Translated: true}, 0x10, "ESTABLISHED"},
		{"untracked", Packet{Tuple: tuple(17, 30053), In: "eth0"}, 0x2 | 0x20, "UNTRACKED"},
		{"service", Packet{Tuple: tuple(6, 80), Out: "fld1", SentTo: netip.MustParseAddrPort("203.0.113.7:80"), SentOut: "eth0"}, 0x4 | 0x10 | 0x80, "NEW"},
	} {
		got, err := TraceIPTables(text, "", c.p)
		if err != nil || got.Action != dataplane.Allow || got.Mark != c.mark || got.State != c.state {
			t.Errorf("%s: %+v, %v; want mark %#x, state %s", c.name, got, err, c.mark, c.state)
		}
	}
	early := Packet{Tuple: tuple(6, 30081), In: "eth0", Out: "eth9"}
	if got, err := TraceIPTables(text, "", early); err != nil || got.Action != dataplane.Deny {
		t.Errorf("before routing no interface is known to leave by: %+v, %v", got, err)
	}
	lost := Packet{Tuple: tuple(17, 53), In: "eth0", Out: "fld1", SentTo: netip.MustParseAddrPort("172.18.0.1:30053")}
	if _, err := TraceIPTables(text, "", lost); err == nil || !strings.Contains(err.Error(), "not translated") {
		t.Errorf("an untracked packet is translated: %v", err)
	}
}

// TestRandomHosts: made-up cases reach every stage of policy for hosts, and every fate.
func TestRandomHosts(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(60) {
		c := RandomHosts(seed)
		for _, f := range c.Flows {
			v := Judge(c.Objects, c.Options, f)
			for _, s := range v.all() {
				seen[s.side+" "+s.Action.String()] = true
				seen[s.By] = true
				if s.untracked {
					seen["untracked"] = true
				}
			}
			if v.Answer == AnswerLost {
				seen["unanswered"] = true
			}
			if f.SentTo.IsValid() {
				seen["translated "+v.Action.String()] = true
			}
		}
	}
	for _, want := range []string{
		"egress Allow", "egress Deny", "ingress Allow", "ingress Deny", "forward Allow", "forward Deny", "untracked", "unanswered",
		"translated Allow", "translated Deny", byFailsafe, byFault, byNoForward, byProbePort, byNoProfile, byToHost, byNoIPv6,
	} {
		if !seen[want] {
			t.Errorf("no made-up case has %q", want)
		}
	}
	if again := RandomHosts(7); !slices.EqualFunc(again.Flows, RandomHosts(7).Flows, func(a, b Flow) bool { return a.Text == b.Text && a.Want.Action == b.Want.Action }) {
		t.Error("the same seed makes another case")
	}
}
