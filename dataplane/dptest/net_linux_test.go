package dptest

import (
	"os/exec"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

const netCase = `network
The network of a case carries every kind of flow, and a real drop is seen as one
-- cluster --
node n1 172.18.0.1 fd00:18::1 eth1:172.19.0.1 eth1:fd00:19::1
pod a/x
pod a/y
pod b/z node:n2
-- flows --
pod/a/x -> pod/a/y TCP 80,81 : Allow
pod/a/x -> pod/b/z TCP 80 : Allow
pod/a/x -> pod/b/z UDP 53 from 1234 : Allow
pod/a/x -> pod/b/z ping : Allow
pod/a/x -> pod/b/z ICMP 13/0 : Allow
pod/a/x -> pod/b/z ICMP 17/3 : Allow
pod/a/x -> pod/b/z ICMPv6 128/1 : Allow
pod/a/x -> 192.0.2.9 TCP 443 : Allow
2001:db8::9 -> pod/b/z UDP 443 : Allow
node/n1 -> pod/a/x TCP 80 : Allow
node/n1 -> pod/b/z ping : Allow
pod/a/x -> node/n1 UDP 53 : Allow
pod/a/x -> node/n2 TCP 53 : Allow
pod/a/x as 192.0.2.77 -> pod/a/y UDP 53 : Allow
pod/a/x as fd00:65::77 -> pod/b/z UDP 53 : Allow
node/n1 -> node/n2 TCP 80 : Allow
192.0.2.9 -> node/n1 UDP 53 : Allow
2001:db8::9 -> node/n1 TCP 53 : Allow
172.19.0.9 -> node/n1 TCP 80 : Allow
fd00:19::9 -> pod/a/x ping : Allow
172.19.0.9 -> 192.0.2.9 TCP 81 : Allow
2001:db8::9 -> fd00:19::9 UDP 81 : Allow
172.19.0.9 -> pod/b/z TCP 81 : Allow
node/n2 -> 172.19.0.9 TCP 81 : Allow
192.0.2.9 -> 172.19.0.1 TCP 82 : Allow
192.0.2.9 -> node/n1 TCP 30080 from 41001 dnat pod/a/x:90 : Allow
2001:db8::9 -> node/n1 UDP 30080 from 41002 dnat pod/a/x:90 : Allow
172.19.0.9 -> node/n1 TCP 30080 from 41003 dnat pod/b/z:90 : Allow
192.0.2.9 -> node/n1 TCP 30022 from 41004 dnat node/n1:22 : Allow
pod/a/x -> 203.0.113.7 TCP 443 from 41005 dnat pod/a/y:91 : Allow
pod/a/x -> node/n2 TCP 443 from 41006 dnat pod/b/z:91 : Allow
node/n1 -> 203.0.113.7 TCP 444 from 41007 dnat pod/a/y:92 : Allow
node/n1 -> 203.0.113.7 TCP 445 from 41008 dnat pod/b/z:92 : Allow
`

// TestNetNeedsRoot: without any policy every flow comes through, and with a drop on the way none does.
func TestNetNeedsRoot(t *testing.T) {
	c, err := ParseCase("net", []byte(netCase), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := NewNet(t, c)
	for i, o := range n.Probe(c.Flows) {
		if !o.Seen || !o.Answered || o.Err != nil {
			t.Errorf("%s: %+v", c.Flows[i].Text, o)
		}
	}
	for _, node := range n.nodes {
		err := node.Do(func() error {
			for _, tool := range []string{"iptables", "ip6tables"} {
				for _, chain := range []string{"INPUT", "OUTPUT", "FORWARD"} {
					if err := exec.Command(tool, "--wait", "-P", chain, "DROP").Run(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.Flows {
		c.Flows[i].Want.Action = dataplane.Deny
	}
	for i, o := range n.Probe(c.Flows) {
		if o.Seen || o.Answered || o.Err != nil {
			t.Errorf("with a drop: %s: %+v", c.Flows[i].Text, o)
		}
	}
}
