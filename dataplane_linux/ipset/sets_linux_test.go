package ipset

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// inNamespace puts the calling goroutine into a network namespace of its own. Its thread ends with it.
func inNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace needs root: %v", err)
	}
}

func dial(t testing.TB) *Conn {
	t.Helper()
	inNamespace(t)
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// kernelMembers is what ipset itself says of a set.
func kernelMembers(t testing.TB, name string) []string {
	t.Helper()
	_, list, found := strings.Cut(run(t, "ipset", "list", name), "Members:\n")
	if !found {
		t.Fatalf("set %s has no members section", name)
	}
	out := strings.Fields(list)
	slices.Sort(out)
	return out
}

// The kernel's hash:net has no /0, and longer prefixes could be lost in encoding.
func TestKernelHoldsEveryPrefixLength(t *testing.T) {
	c := dial(t)
	for _, f := range []Family{IPv4, IPv6} {
		addr, name := netip.MustParseAddr("203.0.113.255"), "felid4-lengths"
		if f == IPv6 {
			addr, name = netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), "felid6-lengths"
		}
		for length := 0; length <= addr.BitLen(); length++ {
			m := Member{Prefix: netip.PrefixFrom(addr, length).Masked()}
			want := []string{strings.TrimSuffix(m.Prefix.String(), fmt.Sprintf("/%d", addr.BitLen()))}
			if length == 0 && f == IPv4 {
				want = []string{"0.0.0.0/1", "128.0.0.0/1"}
			} else if length == 0 {
				want = []string{"8000::/1", "::/1"}
			}
			s := New(Config{Kernel: c})
			s.SetDesired(name, HashNet, f, slices.Values([]Member{m}))
			mustAdd(t, s)
			if diff := cmp.Diff(want, kernelMembers(t, name)); diff != "" {
				t.Errorf("%s (-want +kernel):\n%s", m, diff)
			}
			again := New(Config{Kernel: c})
			again.SetDesired(name, HashNet, f, slices.Values([]Member{m}))
			if res := mustAdd(t, again); res.Writes != 0 {
				t.Errorf("%s: an agent without memory wrote %d times", m, res.Writes)
			}
			inside, outside := m.Prefix.Addr(), flip(m.Prefix)
			if exec.Command("ipset", "test", name, inside.String()).Run() != nil {
				t.Errorf("%s: kernel does not find %s", m, inside)
			}
			if length > 0 && exec.Command("ipset", "test", name, outside.String()).Run() == nil {
				t.Errorf("%s: kernel finds %s", m, outside)
			}
		}
	}
}

// flip is an address outside of p: its last bit under the mask is the other.
func flip(p netip.Prefix) netip.Addr {
	if p.Bits() == 0 {
		return p.Addr()
	}
	b := p.Addr().AsSlice()
	b[(p.Bits()-1)/8] ^= 1 << (7 - (p.Bits()-1)%8)
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestKernelHoldsAddressesWithPorts(t *testing.T) {
	c := dial(t)
	s := New(Config{Kernel: c})
	member := func(addr string, proto uint8, port uint16) Member {
		a := netip.MustParseAddr(addr)
		return Member{netip.PrefixFrom(a, a.BitLen()), proto, port}
	}
	four := []Member{member("10.0.0.1", 6, 80), member("10.0.0.1", 17, 53), member("10.0.0.2", 132, 65535), member("10.0.0.3", 136, 1)}
	six := []Member{member("2001:db8::1", 6, 80), member("2001:db8::1", 17, 53), member("::1", 132, 65535)}
	s.SetDesired("felid4-ports", HashIPPort, IPv4, slices.Values(four))
	s.SetDesired("felid6-ports", HashIPPort, IPv6, slices.Values(six))
	mustAdd(t, s)
	want := []string{"10.0.0.1,tcp:80", "10.0.0.1,udp:53", "10.0.0.2,sctp:65535", "10.0.0.3,udplite:1"}
	if diff := cmp.Diff(want, kernelMembers(t, "felid4-ports")); diff != "" {
		t.Errorf("(-want +kernel):\n%s", diff)
	}
	want = []string{"2001:db8::1,tcp:80", "2001:db8::1,udp:53", "::1,sctp:65535"}
	if diff := cmp.Diff(want, kernelMembers(t, "felid6-ports")); diff != "" {
		t.Errorf("(-want +kernel):\n%s", diff)
	}
	again := New(Config{Kernel: c})
	again.SetDesired("felid4-ports", HashIPPort, IPv4, slices.Values(four))
	again.SetDesired("felid6-ports", HashIPPort, IPv6, slices.Values(six))
	if res := mustAdd(t, again); res.Writes != 0 {
		t.Errorf("an agent without memory wrote %d times", res.Writes)
	}
	again.RemoveMembers("felid6-ports", slices.Values(six[1:]))
	mustAdd(t, again)
	if diff := cmp.Diff([]string{"2001:db8::1,tcp:80"}, kernelMembers(t, "felid6-ports")); diff != "" {
		t.Errorf("after removal (-want +kernel):\n%s", diff)
	}
}

// A set that rules use outgrows its limit: it is swapped under them.
func TestKernelSetOutgrowsItsLimit(t *testing.T) {
	c := dial(t)
	run(t, "ipset", "create", "felid4-grow", "hash:net", "maxelem", "4")
	run(t, "iptables-nft", "-A", "INPUT", "-m", "set", "--match-set", "felid4-grow", "src", "-j", "DROP")
	s := New(Config{Kernel: c})
	s.SetDesired("felid4-grow", HashNet, IPv4, slices.Values(members("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32")))
	mustAdd(t, s)
	s.AddMembers("felid4-grow", slices.Values(members("10.0.0.5/32")))
	mustAdd(t, s)
	want := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}
	if diff := cmp.Diff(want, kernelMembers(t, "felid4-grow")); diff != "" {
		t.Errorf("(-want +kernel):\n%s", diff)
	}
	if names := strings.Fields(run(t, "ipset", "list", "-n")); len(names) != 1 {
		t.Errorf("sets %v: the temporary one is left", names)
	}
	if out := run(t, "iptables-nft", "-S", "INPUT"); !strings.Contains(out, "felid4-grow") {
		t.Errorf("the rule has lost its set:\n%s", out)
	}
}

// What others do to our sets is seen by the headers, or at the latest by a full read, and put right; their own sets stay.
func TestKernelDriftIsRepaired(t *testing.T) {
	c := dial(t)
	run(t, "ipset", "create", "others", "hash:net")
	s := New(Config{Kernel: c})
	want := members("10.0.0.0/8", "192.168.0.0/16")
	s.SetDesired("felid4-a", HashNet, IPv4, slices.Values(want))
	s.SetDesired("felid4-b", HashNet, IPv4, slices.Values(want))
	mustAdd(t, s)
	for _, drift := range [][]string{
		{"del", "felid4-a", "10.0.0.0/8"},
		{"add", "felid4-a", "10.1.0.0/16"},
		{"destroy", "felid4-b"},
		{"flush"},
		{"create", "felid4-left-over", "hash:ip"},
	} {
		if drifted, err := s.Drifted(context.Background()); err != nil || drifted {
			t.Fatalf("before %v: drifted %v, %v", drift, drifted, err)
		}
		run(t, "ipset", drift...)
		if drifted, err := s.Drifted(context.Background()); err != nil || !drifted {
			t.Fatalf("after %v: drifted %v, %v", drift, drifted, err)
		}
		rb, err := s.ReadBack(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !s.Reconcile(rb) {
			t.Fatal("Reconcile took nothing in")
		}
		if res := mustAdd(t, s); res.Repairs == 0 {
			t.Errorf("after %v: no repairs", drift)
		}
		mustRemove(t, s)
		for _, name := range []string{"felid4-a", "felid4-b"} {
			if diff := cmp.Diff([]string{"10.0.0.0/8", "192.168.0.0/16"}, kernelMembers(t, name)); diff != "" {
				t.Errorf("after %v, %s (-want +kernel):\n%s", drift, name, diff)
			}
		}
	}
	names := strings.Fields(run(t, "ipset", "list", "-n"))
	slices.Sort(names)
	if diff := cmp.Diff([]string{"felid4-a", "felid4-b", "others"}, names); diff != "" {
		t.Errorf("sets (-want +kernel):\n%s", diff)
	}
}

// Sets of odd make under our names are made anew: by a swap where the kernel lets us, so that rules may go on using them.
func TestKernelOddSetsAreMadeAnew(t *testing.T) {
	c := dial(t)
	run(t, "ipset", "create", "felid4-aging", "hash:net", "timeout", "600")
	run(t, "ipset", "create", "felid4-type", "hash:ip")
	run(t, "ipset", "create", "felid4-family", "hash:net", "family", "inet6")
	run(t, "ipset", "create", "felid4-nomatch", "hash:net")
	run(t, "ipset", "add", "felid4-nomatch", "10.0.0.0/8", "nomatch")
	s := New(Config{Kernel: c})
	for _, name := range []string{"felid4-aging", "felid4-type", "felid4-family", "felid4-nomatch"} {
		s.SetDesired(name, HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	}
	mustAdd(t, s)
	for name := range s.Names() {
		list := run(t, "ipset", "list", name)
		if !strings.Contains(list, "Type: hash:net\n") || strings.Contains(list, "timeout") || !strings.Contains(list, "inet ") {
			t.Errorf("%s", list)
		}
		if diff := cmp.Diff([]string{"10.0.0.0/8"}, kernelMembers(t, name)); diff != "" {
			t.Errorf("%s (-want +kernel):\n%s", name, diff)
		}
	}
	if res := mustAdd(t, s); res.Writes != 0 {
		t.Errorf("%d writes when all is right", res.Writes)
	}
}

// A set that rules still use can't go: it is named, and goes later.
func TestKernelSetInUseStays(t *testing.T) {
	c := dial(t)
	s := New(Config{Kernel: c})
	s.SetDesired("felid4-used", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s)
	run(t, "iptables-nft", "-A", "INPUT", "-m", "set", "--match-set", "felid4-used", "src", "-j", "DROP")
	s.Remove("felid4-used")
	res := mustRemove(t, s)
	if res.Failed["felid4-used"] == nil || res.Unused != 1 {
		t.Fatalf("result %+v", res)
	}
	run(t, "iptables-nft", "-F", "INPUT")
	if res := mustRemove(t, s); len(res.Failed) > 0 || res.Unused != 0 || res.Writes != 1 {
		t.Fatalf("result %+v", res)
	}
}

// Somebody destroys a set between two applies: the next delta makes it again, whole.
func TestKernelSetDestroyedUnderUs(t *testing.T) {
	c := dial(t)
	s := New(Config{Kernel: c})
	s.SetDesired("felid6-x", HashNet, IPv6, slices.Values(members("2001:db8::/32")))
	mustAdd(t, s)
	run(t, "ipset", "destroy", "felid6-x")
	s.AddMembers("felid6-x", slices.Values(members("2001:db9::/32")))
	mustAdd(t, s)
	if diff := cmp.Diff([]string{"2001:db8::/32", "2001:db9::/32"}, kernelMembers(t, "felid6-x")); diff != "" {
		t.Errorf("(-want +kernel):\n%s", diff)
	}
}

// The kernel stops at the first member of a message that it refuses: the others still go in, and the refused ones are known.
func TestKernelRefusesSomeMembersOfAMessage(t *testing.T) {
	c := dial(t)
	run(t, "ipset", "create", "felid4-small", "hash:net", "maxelem", "4")
	s := New(Config{Kernel: c})
	s.SetDesired("felid4-small", HashNet, IPv4, slices.Values(manyHosts(2)))
	mustAdd(t, s)
	s.sets["felid4-small"].header.MaxElem = 100 // as if somebody had made the set smaller since
	s.AddMembers("felid4-small", slices.Values(manyHosts(10)))
	s.RemoveMembers("felid4-small", slices.Values(manyHosts(1)))
	res := mustAdd(t, s, "felid4-small")
	if text := res.Failed["felid4-small"].Error(); !strings.Contains(text, "the set is full") {
		t.Errorf("error %q", text)
	}
	// Two went in before another was taken out.
	if in, pending := len(kernelMembers(t, "felid4-small")), s.sets["felid4-small"].members.PendingUpdates(); in != 3 || pending != 6 {
		t.Errorf("%d members in the kernel, %d pending; want 3 and 6", in, pending)
	}
	s.Forget()
	mustAdd(t, s)
	if in := len(kernelMembers(t, "felid4-small")); in != 9 {
		t.Errorf("%d members, want 9", in)
	}
}

func TestKernelManyMembers(t *testing.T) {
	c := dial(t)
	s := New(Config{Kernel: c})
	const n = 150_000
	many := manyHosts(n)
	s.SetDesired("felid4-many", HashNet, IPv4, slices.Values(many))
	start := time.Now()
	mustAdd(t, s)
	t.Logf("%d members in %v", n, time.Since(start))
	if got := len(kernelMembers(t, "felid4-many")); got != n {
		t.Fatalf("kernel holds %d members, want %d", got, n)
	}
	start = time.Now()
	again := New(Config{Kernel: c})
	again.SetDesired("felid4-many", HashNet, IPv4, slices.Values(many))
	if res := mustAdd(t, again); res.Writes != 0 {
		t.Fatalf("wrote %d times", res.Writes)
	}
	t.Logf("read back and compared in %v", time.Since(start))
}

func manyHosts(n int) []Member {
	out := make([]Member, n)
	for i := range out {
		out[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	return out
}

// BenchmarkMemberToKernel is one label's change: one member in, the next time out, among 1,000 sets.
func BenchmarkMemberToKernel(b *testing.B) {
	c := dial(b)
	s := New(Config{Kernel: c})
	for i := range 1000 {
		s.SetDesired(fmt.Sprintf("felid4-%d", i), HashNet, IPv4, slices.Values(manyHosts(20)))
	}
	mustAdd(b, s)
	one := slices.Values(members("192.0.2.1/32"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%2 == 0 {
			s.AddMembers("felid4-7", one)
		} else {
			s.RemoveMembers("felid4-7", one)
		}
		if res := mustAdd(b, s); res.Writes != 1 {
			b.Fatal(res)
		}
	}
}

// w2 is the sets of the benchmark workload: 943 sets of 19 members.
func w2(s *Sets) {
	hosts := manyHosts(19)
	for i := range 943 {
		s.SetDesired(fmt.Sprintf("felid4-set%d", i), HashNet, IPv4, slices.Values(hosts))
	}
}

func BenchmarkFillW2(b *testing.B) {
	c := dial(b)
	for b.Loop() {
		s := New(Config{Kernel: c})
		w2(s)
		mustAdd(b, s)
		b.StopTimer()
		run(b, "ipset", "destroy")
		b.StartTimer()
	}
}

// BenchmarkFillW2ByProcess is the bare ipset restore with the same sets.
func BenchmarkFillW2ByProcess(b *testing.B) {
	inNamespace(b)
	var text bytes.Buffer
	hosts := manyHosts(19)
	for i := range 943 {
		fmt.Fprintf(&text, "create felid4-set%d hash:net hashsize 64\n", i)
		for _, m := range hosts {
			fmt.Fprintf(&text, "add felid4-set%d %s\n", i, m)
		}
	}
	for b.Loop() {
		cmd := exec.Command("ipset", "restore")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(text.Bytes()), os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		run(b, "ipset", "destroy")
		b.StartTimer()
	}
}

func BenchmarkReadBackW2(b *testing.B) {
	c := dial(b)
	s := New(Config{Kernel: c})
	w2(s)
	mustAdd(b, s)
	b.ReportAllocs()
	for b.Loop() {
		s.Forget()
		if res := mustAdd(b, s); res.Writes != 0 {
			b.Fatal(res)
		}
	}
}

func BenchmarkDriftedW2(b *testing.B) {
	c := dial(b)
	s := New(Config{Kernel: c})
	w2(s)
	mustAdd(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if drifted, err := s.Drifted(context.Background()); err != nil || drifted {
			b.Fatal(drifted, err)
		}
	}
}

func BenchmarkDestroy64(b *testing.B) {
	c := dial(b)
	for b.Loop() {
		b.StopTimer()
		s := New(Config{Kernel: c})
		for i := range 64 {
			s.SetDesired(fmt.Sprintf("felid4-set%d", i), HashNet, IPv4, slices.Values(manyHosts(19)))
		}
		mustAdd(b, s)
		for i := range 64 {
			s.Remove(fmt.Sprintf("felid4-set%d", i))
		}
		b.StartTimer()
		if res := mustRemove(b, s); res.Writes != 64 {
			b.Fatal(res)
		}
	}
}

func BenchmarkSwap(b *testing.B) {
	c := dial(b)
	s := New(Config{Kernel: c})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(manyHosts(1000)))
	mustAdd(b, s)
	for b.Loop() {
		s.sets["felid4-x"].rewrite = true
		s.touch("felid4-x", s.sets["felid4-x"])
		mustAdd(b, s)
	}
}
