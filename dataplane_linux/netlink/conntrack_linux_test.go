package netlink

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// track makes tracked connections of every kind: plain, and with either address translated.
func track(t *testing.T) {
	t.Helper()
	for i, words := range []string{
		"-s 10.65.0.1 -d 10.65.0.9 -r 10.65.0.9 -q 10.65.0.1", "-s 10.65.0.9 -d 10.65.0.1 -r 10.65.0.1 -q 10.65.0.9",
		"-s 10.65.0.9 -d 192.0.2.1 -r 10.65.0.1 -q 10.65.0.9",  // to a service that leads to it
		"-s 10.65.0.1 -d 192.0.2.2 -r 192.0.2.2 -q 172.18.0.1", // masqueraded
		"-s 10.65.0.9 -d 192.0.2.3 -r 192.0.2.3 -q 10.65.0.9", "-s 10.65.0.10 -d 10.65.0.9 -r 10.65.0.9 -q 10.65.0.10",
		"-s fd65::1 -d fd65::9 -r fd65::9 -q fd65::1", "-s fd65::9 -d fd65::10 -r fd65::10 -q fd65::9",
	} {
		args := append(strings.Fields("-I -p udp -t 300 -u SEEN_REPLY"), strings.Fields(words)...)
		args = append(args, "--sport", fmt.Sprint(1000+i), "--dport", "53", "--reply-port-src", "53", "--reply-port-dst", fmt.Sprint(1000+i))
		if out, err := exec.Command("conntrack", args...).CombinedOutput(); err != nil {
			t.Fatalf("conntrack %v: %v\n%s", args, err, out)
		}
	}
}

// tracked are the source ports that are left.
func tracked(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, family := range []string{"ipv4", "ipv6"} {
		text, err := exec.Command("conntrack", "-L", "-f", family).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			_, rest, _ := strings.Cut(line, "sport=")
			port, _, _ := strings.Cut(rest, " ")
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}

func TestForgetConnections(t *testing.T) {
	enter(t)
	k := dial(t).(*kernel)
	addrs := map[netip.Addr]struct{}{netip.MustParseAddr("10.65.0.1"): {}, netip.MustParseAddr("fd65::1"): {}, netip.MustParseAddr("10.65.0.200"): {}}
	want := []string{"1004", "1005", "1007"}
	for name, forget := range map[string]func() error{
		"either":     func() error { return k.ForgetConnections(addrs) },
		"by reading": func() error { return k.forgetByReading(addrs) },
		"many at once": func() error {
			many := maps.Clone(addrs)
			for i := range byte(fewAddresses) {
				many[netip.AddrFrom4([4]byte{10, 66, 0, i})] = struct{}{}
			}
			return k.ForgetConnections(many)
		},
	} {
		_ = exec.Command("conntrack", "-F").Run()
		track(t)
		if n := len(tracked(t)); n != 8 {
			t.Fatalf("%d connections to begin with", n)
		}
		if err := forget(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := tracked(t); !slices.Equal(got, want) {
			t.Errorf("%s: left are %v, want %v", name, got, want)
		}
	}
}

// TestCutConnections: exactly those that are denied go, whatever was translated.
func TestCutConnections(t *testing.T) {
	enter(t)
	k := dial(t)
	track(t)
	var seen []string
	cut, err := k.CutConnections(func(c Connection) bool {
		seen = append(seen, fmt.Sprintf("%v %v %v", c.Src, c.Dst, c.SentTo))
		return c.Protocol == 17 && slices.Contains([]uint16{1002, 1003, 1006}, c.Src.Port())
	})
	if err != nil || cut != 3 {
		t.Errorf("cut %d, %v", cut, err)
	}
	if got, want := tracked(t), []string{"1000", "1001", "1004", "1005", "1007"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	for _, want := range []string{
		"10.65.0.9:1002 10.65.0.1:53 192.0.2.1:53", "10.65.0.1:1003 192.0.2.2:53 192.0.2.2:53", "[fd65::1]:1006 [fd65::9]:53 [fd65::9]:53",
	} {
		if !slices.Contains(seen, want) {
			t.Errorf("no %q among %q", want, seen)
		}
	}
}
