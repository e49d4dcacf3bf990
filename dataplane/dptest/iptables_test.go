package dptest

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

func tuple(src, dst string, proto uint8, sport, dport uint16) Tuple {
	return Tuple{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Protocol: proto, SrcPort: sport, DstPort: dport, ICMPType: -1, ICMPCode: -1}
}

func forwarded(dport uint16) Packet {
	return Packet{Tuple: tuple("10.0.0.1", "10.0.0.2", 6, 40000, dport), In: "fld1", Out: "fld2"}
}

// TestTraceIPTablesOneRule holds each match and target of the tracer: one rule in FORWARD, and whether it drops the packet.
func TestTraceIPTablesOneRule(t *testing.T) {
	const sets = "create n hash:net family inet\nadd n 10.0.0.0/24\ncreate p hash:ip,port family inet\nadd p 10.0.0.2,tcp:80\n"
	established := forwarded(80)
	established.State = "ESTABLISHED"
	marked := forwarded(80)
	marked.Mark = 0x30
	ping := Packet{Tuple: Tuple{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Protocol: 1, ICMPType: 8}, In: "fld1", Out: "fld2"}
	for _, c := range []struct {
		rule string
		p    Packet
		drop bool
	}{
		{"-j DROP", forwarded(80), true},
		{"-j ACCEPT", forwarded(80), false},
		{"-i fld+ -j DROP", forwarded(80), true},
		{"-i fld2 -j DROP", forwarded(80), false},
		{"! -i fld2 -j DROP", forwarded(80), true},
		{"-o fld2 -j DROP", forwarded(80), true},
		{"-s 10.0.0.0/30 ! -d 10.0.0.2/32 -j DROP", forwarded(80), false},
		{"-s 10.0.0.0/30 -d 10.0.0.2 -j DROP", forwarded(80), true},
		{"-p tcp --dport 80:90 -j DROP", forwarded(80), true},
		{"-p tcp -m tcp ! --dport 80:90 -j DROP", forwarded(80), false},
		{"-p udp --dport 80 -j DROP", forwarded(80), false},
		{"! -p udp -j DROP", forwarded(80), true},
		{"-p tcp -m multiport --dports 22,79:81 -j DROP", forwarded(80), true},
		{"-p tcp -m multiport ! --dports 22,79:81 -j DROP", forwarded(80), false},
		{"-p tcp -m multiport --sports 40000 -j DROP", forwarded(80), true},
		{"-m set --match-set n src -j DROP", forwarded(80), true},
		{"-m set ! --match-set n src -j DROP", forwarded(80), false},
		{"-p tcp -m set --match-set p dst,dst -j DROP", forwarded(80), true},
		{"-p tcp -m set --match-set p dst,dst -j DROP", forwarded(81), false},
		{"-p icmp --icmp-type 8/0 -j DROP", ping, true},
		{"-p icmp ! --icmp-type 8 -j DROP", ping, false},
		{"-p icmp -m icmp --icmp-type 0 -j DROP", ping, false},
		{"-m conntrack --ctstate NEW -j DROP", forwarded(80), true},
		{"-m conntrack --ctstate RELATED,ESTABLISHED -j DROP", established, true},
		{"-m conntrack ! --ctstate INVALID -j DROP", established, true},
		{"-m mark --mark 0x10/0x10 -j DROP", marked, true},
		{"-m mark --mark 0x10 -j DROP", marked, false},
		{`-m comment --comment "a \"quoted\" word" -j DROP`, forwarded(80), true},
		{"-m addrtype --dst-type MULTICAST -j DROP", forwarded(80), false},
		{"-j REJECT --reject-with icmp-port-unreachable", forwarded(80), true},
	} {
		got, err := TraceIPTables("*filter\n-A FORWARD "+c.rule+"\nCOMMIT\n", sets, c.p)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if (got.Action == dataplane.Deny) != c.drop {
			t.Errorf("%s: %v, want dropped %v", c.rule, got.Action, c.drop)
		}
	}
}

// TestTraceIPTablesErrors: what the tracer does not know, and what the kernel refuses, is never passed over.
func TestTraceIPTablesErrors(t *testing.T) {
	for _, c := range []struct{ rule, want string }{
		{"-m string --string x -j DROP", "unknown match"},
		{"--dport 80 -j DROP", "without the -p"},
		{"-p icmp --dport 80 -j DROP", "without the -p"},
		{"-p tcp --dports 80 -j DROP", "without the -p or -m"},
		{"-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16 -j DROP", "takes 15"},
		{"-s fd00::1 -j DROP", "family 4"},
		{"-m set --match-set nope src -j DROP", "no such set"},
		{"-m set --match-set n src,src -j DROP", "does not suit"},
		{"-m set --match-set six src -j DROP", "family 6"},
		{"-j nowhere", "not there"},
		{"-j MASQUERADE", "only in table nat"},
		{"-i averyveryverylongname -j DROP", "15 characters"},
		{"-p tcp --syn -j DROP", "unknown option"},
		{"-m conntrack --ctstate SOME -j DROP", "unknown state"},
		{`-j NFLOG --nflog-prefix "` + strings.Repeat("x", 64) + `"`, "63 fit"},
		{"-j DROP -j ACCEPT", "two targets"},
		{`-m comment --comment "open -j DROP`, "not closed"},
	} {
		sets := "create n hash:net family inet\ncreate six hash:net family inet6\n"
		_, err := TraceIPTables("*filter\n-A FORWARD "+c.rule+"\nCOMMIT\n", sets, forwarded(80))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.rule, err, c.want)
		}
	}
	for _, sets := range []string{
		"create n hash:net family inet\nadd n 0.0.0.0/0\n", "add n 10.0.0.1\n", "create n hash:net family inet\nadd n fd00::/64\n",
		"create n hash:net family inet\nadd n 10.0.0.1\nadd n 10.0.0.1/32\n", "create n bitmap:port\n", "create n hash:net\ncreate n hash:net\n",
	} {
		if _, err := TraceIPTables("", sets, forwarded(80)); err == nil {
			t.Errorf("%q is taken", sets)
		}
	}
}

// TestTraceIPTablesPath walks chains, gotos, marks and logs through all hooks of a forwarded packet.
func TestTraceIPTablesPath(t *testing.T) {
	const text = `
*raw
-A PREROUTING -i fld+ -j MARK --set-xmark 0x8/0x8
COMMIT
*filter
:FORWARD DROP [0:0]
:felid-from - [0:0]
:felid-pol -
:felid-end - [0:0]
-A FORWARD -m mark --mark 0x8/0x8 -j felid-from
-A FORWARD -m mark --mark 0x11/0x19 -j ACCEPT
-A felid-from -g felid-end
-A felid-from -j DROP
-A felid-pol -j NFLOG --nflog-group 1 --nflog-prefix "D|web/p|0"
-A felid-pol -j MARK --set-xmark 0x11/0x19
-A felid-pol -j RETURN
-A felid-pol -j DROP
-A felid-end -p tcp -j felid-pol
-A felid-end -p udp -j DROP
COMMIT
*nat
-A POSTROUTING -s 10.0.0.1 -j MASQUERADE --random-fully
COMMIT
`
	got, err := TraceIPTables(text, "", forwarded(80))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"raw PREROUTING", "nat PREROUTING", "filter FORWARD", "filter felid-from", "filter felid-end", "filter felid-pol", "nat POSTROUTING",
	}
	if got.Action != dataplane.Allow || !slices.Equal(got.Chains, want) || got.Mark != 0x11 || !got.Masqueraded {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.NFLOG, []string{"D|web/p|0"}) {
		t.Errorf("logs %q", got.NFLOG)
	}
	unmarked := forwarded(80)
	unmarked.In = "eth0"
	if got, err = TraceIPTables(text, "", unmarked); err != nil || got.Action != dataplane.Deny || got.Rule != "filter FORWARD: policy DROP" {
		t.Errorf("unmarked: %+v, %v", got, err)
	}
	if _, err := TraceIPTables("*filter\n:a -\n-A a -j a\n-A FORWARD -j a\nCOMMIT\n", "", forwarded(80)); err == nil {
		t.Error("a loop is not found")
	}
}

func FuzzParseIPTables(f *testing.F) {
	f.Add("*filter\n:a - [0:0]\n-A a -p tcp -m multiport --dports 1,2:3 -j ACCEPT\n-I FORWARD 1 -j a\nCOMMIT\n", "create n hash:net family inet\nadd n 10.0.0.0/8\n")
	f.Add("*raw\n-A PREROUTING ! -i x -m set ! --match-set n src -j CT --notrack\nCOMMIT\n", "create n hash:ip,port family inet6\nadd n fd00::1,udp:53\n")
	f.Add("*nat\n-A POSTROUTING -m comment --comment \"a \\\" b\" -j MASQUERADE\nCOMMIT\n", "")
	f.Fuzz(func(t *testing.T, tables, sets string) {
		rs, err := ParseIPTables(tables, sets, 4)
		if err != nil {
			return
		}
		if _, err := rs.Trace(forwarded(80)); err != nil && !strings.Contains(err.Error(), "loop") {
			t.Errorf("parsed, but can't be run: %v", err)
		}
	})
}
