package linux

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// TestClean: after it there is nothing of felid's on the host, everything of others' is, and packets pass that policy denied.
func TestClean(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			s.NAT = dataplane.NAT{Masquerade: prefixes("10.65.0.0/16"), Exclude: prefixes("10.65.0.0/16")}
			s.Routes[netip.MustParsePrefix("10.65.0.0/26")] = dataplane.Route{Prefix: netip.MustParsePrefix("10.65.0.0/26"), Blackhole: true}
			first := l.open(backend)
			apply(t, first, s, nil)
			must(t, first.Close())
			l.run("iptables-"+backend, "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
			l.run("ipset", "create", "others", "hash:ip")
			second, err := New(Config{LockFile: first.cfg.LockFile})
			must(t, err)
			defer second.Close()
			must(t, second.Clean(t.Context()))
			for _, command := range [][]string{{"iptables-" + backend + "-save"}, {"ip6tables-" + backend + "-save"}, {"ipset", "list", "-n"}, {"ip", "route", "show", "proto", "85"}, {"ip", "-6", "route", "show", "proto", "85"}} {
				if out := l.run(command...); strings.Contains(out, "felid") || strings.Contains(out, "10.65.0") {
					t.Errorf("%s:\n%s", strings.Join(command, " "), out)
				}
			}
			if out := l.run("iptables-" + backend + "-save"); !strings.Contains(out, "192.0.2.1") {
				t.Errorf("another's rule is gone:\n%s", out)
			}
			if out := l.run("ipset", "list", "-n"); !strings.Contains(out, "others") {
				t.Errorf("another's set is gone:\n%s", out)
			}
			must(t, second.Clean(t.Context()))
		})
	}
}
