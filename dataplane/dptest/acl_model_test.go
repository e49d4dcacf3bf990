package dptest

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

const (
	allow = dataplane.Allow
	deny  = dataplane.Deny
	in    = dataplane.Ingress
	out   = dataplane.Egress
)

// acl is an ACL in a few words: "In Allow 1000 R=10.0.0.1 L=… p=6 lp=80 rp=…", of type Switch, or Host with "Host".
func acl(text string) string {
	words := strings.Fields(text)
	fields := []string{`"Direction":"` + words[0] + `"`, `"Action":"` + words[1] + `"`, `"Priority":` + words[2]}
	kind := "Switch"
	names := map[string]string{"R": "RemoteAddresses", "L": "LocalAddresses", "p": "Protocols", "lp": "LocalPorts", "rp": "RemotePorts", "id": "Id"}
	for _, w := range words[3:] {
		if w == "Host" {
			kind = w
			continue
		}
		name, value, _ := strings.Cut(w, "=")
		fields = append(fields, `"`+names[name]+`":"`+value+`"`)
	}
	return "{" + strings.Join(append(fields, `"RuleType":"`+kind+`"`), ",") + "}"
}

func acls(lines ...string) []byte {
	for i, l := range lines {
		lines[i] = acl(l)
	}
	return []byte("[" + strings.Join(lines, ",") + "]")
}

// world of one test: a node of the model with the endpoints x (10.0.0.1) and y (10.0.0.2).
func hnsPair(t *testing.T, m HNS, sets map[string]string, x, y []byte) (px, py *HNSPort) {
	t.Helper()
	n := m.NewNetwork()
	for id, values := range sets {
		if err := n.PutSet(id, "IPSET", values); err != nil {
			t.Fatal(err)
		}
	}
	px, py = n.NewPort(), n.NewPort()
	for p, list := range map[*HNSPort][]byte{px: x, py: y} {
		if list == nil {
			continue
		}
		if err := p.SetACLs(list); err != nil {
			t.Fatal(err)
		}
	}
	return px, py
}

var (
	xToY  = tuple("10.0.0.1", "10.0.0.2", 6, 40000, 80)
	yToX  = tuple("10.0.0.2", "10.0.0.1", 6, 40000, 80)
	x6Y6  = tuple("fd00::1", "fd00::2", 6, 40000, 80)
	greXY = Tuple{Src: xToY.Src, Dst: xToY.Dst, Protocol: 47, ICMPType: -1, ICMPCode: -1}
)

// packetCase is a question about an assumption, and the answers while it holds and while it does not.
type packetCase struct {
	h            Assumption
	name         string
	ask          func(*testing.T, HNS) dataplane.Action
	holds, fails dataplane.Action
}

// onList is the verdict on one packet at an endpoint with this list; bySets beside these sets.
func onList(list []byte, dir dataplane.Direction, p Tuple) func(*testing.T, HNS) dataplane.Action {
	return bySets(nil, list, dir, p)
}

func bySets(sets map[string]string, list []byte, dir dataplane.Direction, p Tuple) func(*testing.T, HNS) dataplane.Action {
	return func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, sets, list, nil)
		return px.Pass(dir, p).Action
	}
}

var packetCases = []packetCase{
	{H1, "Block before Allow", onList(acls("In Block 1000", "In Allow 1001"), in, yToX), deny, allow},
	{H2, "neighbours", onList(acls("In Block 1000", "In Allow 1001"), in, yToX), deny, allow},
	{H3, "a last rule and IPv6", onList(acls("Out Allow 1000"), out, x6Y6), allow, deny},
	{H4, "a last rule and GRE", onList(acls("Out Allow 1000"), out, greXY), allow, deny},
	{H5, "no ACL", onList(nil, in, yToX), allow, deny},
	{H5, "none that matches", onList(acls("Out Allow 1000"), in, yToX), deny, allow},
	{H6, "Allow of the Host layer", onList(acls("In Allow 0 Host", "In Block 1000"), in, yToX), deny, allow},
	{H7, "In by source", onList(acls("In Allow 1000 R=10.0.0.2", "In Block 1001"), in, yToX), allow, deny},
	{H7, "Out by destination", onList(acls("Out Allow 1000 R=10.0.0.2", "Out Block 1001"), out, xToY), allow, deny},
	{H8, "the second address", onList(acls("In Allow 1000 R=10.9.9.9,10.0.0.2", "In Block 1001"), in, yToX), allow, deny},
	{H10, "within a range", onList(acls("In Block 1000 p=6 lp=79-90", "In Allow 1001"), in, yToX), deny, allow},
	{H11, "the second protocol", onList(acls("In Block 1000 p=17,6", "In Allow 1001"), in, yToX), deny, allow},
	{H12, "Block of IPv6", onList(acls("Out Block 1000 R=fd00::/64", "Out Allow 1001"), out, x6Y6), deny, allow},
	{H13, "an answer", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("Out Allow 1000", "In Block 1000"), nil)
		px.Pass(out, xToY)
		return px.Pass(in, xToY.reply()).Action
	}, allow, deny},
	{H14, "an answer after a modify", func(t *testing.T, m HNS) dataplane.Action {
		list := acls("Out Allow 1000", "In Block 1000")
		px, _ := hnsPair(t, m, nil, list, nil)
		px.Pass(out, xToY)
		if err := px.SetACLs(list); err != nil {
			t.Fatal(err)
		}
		return px.Pass(in, xToY.reply()).Action
	}, allow, deny},
	{H15, "the other way beside a connection", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("Out Allow 1000", "In Block 1000"), nil)
		px.Pass(out, xToY)
		return px.Pass(in, yToX).Action
	}, deny, allow},
	{H16, "an ICMP error", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("Out Allow 1000", "In Block 1000"), nil)
		px.Pass(out, xToY)
		unreachable := Tuple{Src: netip.MustParseAddr("192.0.2.1"), Dst: xToY.Src, Protocol: 1, ICMPType: 3, ICMPCode: 4}
		return px.PassPacket(in, HNSPacket{Tuple: unreachable, About: &xToY}).Action
	}, allow, deny},
	{H17, "a later fragment", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("Out Allow 1000 p=6 rp=80", "Out Block 1001"), nil)
		return px.PassPacket(out, HNSPacket{Tuple: xToY, Later: true}).Action
	}, allow, deny},
	{H18, "the receiver on the same node", func(t *testing.T, m HNS) dataplane.Action {
		px, py := hnsPair(t, m, nil, acls("Out Allow 1000"), acls("In Block 2000"))
		return m.Send(HNSWay{From: px, To: py, SameNode: true}, xToY).Action
	}, deny, allow},
	{H19, "from the host", func(t *testing.T, m HNS) dataplane.Action {
		_, py := hnsPair(t, m, nil, nil, acls("In Allow 900 R=10.0.0.1", "In Block 1000"))
		return m.Send(HNSWay{To: py, FromHost: true}, xToY).Action
	}, allow, deny},
	{H20, "to a pod through a service", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("Out Allow 1000 R=10.0.0.2", "Out Block 1001"), nil)
		return m.Send(HNSWay{From: px, SentTo: netip.MustParseAddrPort("10.96.0.1:443")}, xToY).Action
	}, allow, deny},
	{H21, "from a pod through a service", func(t *testing.T, m HNS) dataplane.Action {
		_, py := hnsPair(t, m, nil, nil, acls("In Allow 1000 R=10.0.0.1", "In Block 1001"))
		return m.Send(HNSWay{To: py, SentTo: netip.MustParseAddrPort("10.96.0.1:443"), SenderNode: netip.MustParseAddr("172.18.0.1")}, xToY).Action
	}, allow, deny},
	{H22, "to itself", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, nil, acls("In Block 2000"), nil)
		return m.Send(HNSWay{From: px, To: px}, xToY).Action
	}, allow, deny},
	{H35, "In by a set of sources", bySets(map[string]string{"s": "10.0.0.2"}, acls("In Allow 1000 L=s", "In Block 1001"), in, yToX), allow, deny},
	{H36, "a member that came later", func(t *testing.T, m HNS) dataplane.Action {
		px, _ := hnsPair(t, m, map[string]string{"s": "10.9.9.9"}, acls("In Allow 1000 L=s", "In Block 1001"), nil)
		if err := px.net.PutSet("s", "IPSET", "10.9.9.9,10.0.0.2"); err != nil {
			t.Fatal(err)
		}
		return px.Pass(in, yToX).Action
	}, allow, deny},
	{H37, "an empty set", bySets(map[string]string{"s": ""}, acls("In Allow 1000 L=s", "In Block 1001"), in, yToX), deny, allow},
	{H38, "two sets", bySets(map[string]string{"s": "10.0.0.2", "r": "10.9.9.9"}, acls("In Allow 1000 L=s,r", "In Block 1001"), in, yToX), deny, allow},
	{H40, "within a prefix of a set", bySets(map[string]string{"s": "10.0.0.0/24"}, acls("In Allow 1000 L=s", "In Block 1001"), in, yToX), allow, deny},
}

// TestAssumptionsOfPackets asks, for every assumption about packets, what becomes of one packet while it holds, and while it does not.
func TestAssumptionsOfPackets(t *testing.T) {
	for _, c := range packetCases {
		for _, build := range []int{20348, 26100} {
			m := HNSOf(build)
			m.DefaultAllow = false
			if got := c.ask(t, m); got != c.holds {
				t.Errorf("%s, %s on %d: %s, want %s", c.h, c.name, build, got, c.holds)
			}
			if got := c.ask(t, m.Without(c.h)); got != c.fails {
				t.Errorf("%s, %s on %d, made false: %s, want %s", c.h, c.name, build, got, c.fails)
			}
		}
	}
}

// TestWhatHNSRefuses asks what is refused while an assumption holds, and while it does not.
func TestWhatHNSRefuses(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("10.0.0.1,", 4001), ",")
	some := strings.TrimSuffix(strings.Repeat("10.0.0.1,", 101), ",")
	no := HNSOf(26100)
	no.IPv6, no.Major = false, 12
	for _, c := range []struct {
		m    HNS
		list []byte
		want string // "" for none
	}{
		{HNSOf(20348), acls("In Allow 1000 R=10.0.0.1"), ""},
		{HNSOf(20348).Without(H9), acls("In Allow 1000 R=10.0.0.1"), "without a length"},
		{HNSOf(20348).Without(H9), acls("In Allow 1000 R=10.0.0.1/32"), ""},
		{HNSOf(20348), acls("In Allow 1000 R=" + many), "at most 4000"},
		{HNSOf(20348).Without(H29), acls("In Allow 1000 R=" + some), "at most 100"},
		{HNSOf(20348), acls("In Allow 1000 L=s"), ""},
		{HNSOf(20348).Without(H34), acls("In Allow 1000 L=s"), `"s" is no address`},
		{HNSOf(20348), acls("In Allow 1000 L=nobody"), `"nobody" is no address`},
		{HNSOf(20348).Without(H39), acls("In Allow 1000 L=nobody"), ""},
		{HNSOf(20348), acls("In Allow 1000 L=s,10.0.0.1"), "mixed with addresses"},
		{HNSOf(20348), acls("In Allow 1000 L=s R=10.0.0.1"), "mixed with addresses"},
		{HNSOf(20348), acls("In Allow 1000 L=fd00::1 R=10.0.0.1"), "both families"},
		{no, acls("In Allow 1000 R=fd00::1"), "no IPv6"},
		{no, acls("In Allow 1000 L=s"), "no address"},
	} {
		n := c.m.NewNetwork()
		if err := n.PutSet("s", "IPSET", "10.0.0.0/24"); (err != nil) != (c.m.Major < 13) {
			t.Errorf("version %d: %v", c.m.Major, err)
		}
		err := n.NewPort().SetACLs(c.list)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %.80s: error %v, want %q", c.m.False, c.list, err, c.want)
		}
	}
}

func TestSetsOfTheModel(t *testing.T) {
	n := HNSOf(26100).NewNetwork()
	for _, bad := range [][3]string{
		{"s", "IPSET", "10.0.0.1/8"}, {"s", "IPSET", "Any"}, {"10.0.0.1", "IPSET", ""}, {"", "IPSET", ""}, {"s", "NESTEDIPSET", "r"}, {"s", "LIST", ""},
	} {
		if err := n.PutSet(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	for _, good := range [][3]string{{"s", "IPSET", "10.0.0.2,fd00::/64"}, {"none", "NESTEDIPSET", ""}, {"list", "NESTEDIPSET", "s"}} {
		if err := n.PutSet(good[0], good[1], good[2]); err != nil {
			t.Error(err)
		}
	}
	p := n.NewPort()
	for set, want := range map[string]dataplane.Action{"list": allow, "none": allow, "s": allow} { // an empty nested one matches everything
		if err := p.SetACLs(acls("In Allow 1000 L="+set, "In Block 1001")); err != nil {
			t.Fatal(err)
		}
		if got := p.Pass(in, yToX).Action; got != want {
			t.Errorf("%s: %s", set, got)
		}
	}
	if err := p.SetACLs(acls("Out Allow 1000 R=s")); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveSet("s"); err == nil {
		t.Error("a set went that an ACL names")
	}
	n.RemovePort(p)
	if err := n.RemoveSet("s"); err == nil {
		t.Error("a set went that is a member of another")
	}
	for _, id := range []string{"list", "s"} {
		if err := n.RemoveSet(id); err != nil {
			t.Error(err)
		}
	}
}

// TestTiesAreSeen: the verdict on a packet that two rules of one priority decide differently says so.
func TestTiesAreSeen(t *testing.T) {
	p, _ := hnsPair(t, HNSOf(26100), nil, acls("In Allow 1000 R=10.0.0.0/24", "In Block 1000 R=10.0.0.2", "In Block 999 R=10.0.0.3"), nil)
	if !p.Pass(in, yToX).Tie || p.Lint() == nil {
		t.Error("no tie")
	}
	clear := tuple("10.0.0.3", "10.0.0.1", 6, 40000, 80)
	if got := p.Pass(in, clear); got.Tie || got.Action != deny {
		t.Errorf("%+v", got)
	}
}

// TestTightenedConnections: a connection that the list no longer lets through has no answers any more.
func TestTightenedConnections(t *testing.T) {
	p, _ := hnsPair(t, HNSOf(26100), nil, acls("Out Allow 1000", "In Block 1000"), nil)
	p.Pass(out, xToY)
	if err := p.SetACLs(acls("Out Block 1000", "In Block 1000")); err != nil {
		t.Fatal(err)
	}
	if got := p.Pass(in, xToY.reply()); got.Action != deny {
		t.Errorf("%+v", got)
	}
}

var assumptionRow = regexp.MustCompile(`(?m)^\| (H\d+) \|`)

// TestAssumptionsAreDocumented: docs/windows.md has each of them once, in order.
func TestAssumptionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/windows.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows, want []string
	for _, m := range assumptionRow.FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, m[1])
	}
	for _, a := range Assumptions() {
		want = append(want, a.String())
	}
	if !slices.Equal(rows, want) {
		t.Errorf("docs/windows.md has %v, want %v", rows, want)
	}
}
