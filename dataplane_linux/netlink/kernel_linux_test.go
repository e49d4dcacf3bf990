package netlink

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// enter puts the test's goroutine into a new network namespace.
func enter(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	ip(t, "link set lo up")
}

func ip(t *testing.T, words string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", words, err, out)
	}
	return string(out)
}

func dial(t *testing.T) Kernel {
	t.Helper()
	k, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// TestRoutesOfEachKind are made, changed into one another, read back and removed, in both families.
func TestRoutesOfEachKind(t *testing.T) {
	enter(t)
	k := dial(t)
	ip(t, "link add dummy0 type veth peer name peer0")
	ip(t, "link set dummy0 up")
	ip(t, "link set peer0 up")
	ip(t, "addr add 172.18.0.1/24 dev dummy0")
	ip(t, "addr add fd18::1/64 dev dummy0 nodad")
	for _, dst := range []string{"10.65.0.1/32", "10.65.1.0/26", "fd65::1/128", "fd65::1:0/122"} {
		via := "172.18.0.2"
		if strings.Contains(dst, ":") {
			via = "fd18::2"
		}
		kinds := []Route{
			{Dst: prefix(dst), Device: "dummy0"}, {Dst: prefix(dst), Via: netip.MustParseAddr(via)}, {Dst: prefix(dst), Blackhole: true},
		}
		for _, from := range kinds {
			for _, to := range kinds {
				for i, r := range []Route{from, to} {
					if err := k.SetRoute(r, i > 0); err != nil {
						t.Fatalf("%s after %s: %v", r, from, err)
					}
					if got, _, err := k.Routes(); err != nil || !slices.Equal(got, []Route{r}) {
						t.Fatalf("routes %v (%v), want %s", got, err, r)
					}
				}
				if err := k.DeleteRoute(to); err != nil {
					t.Fatal(err)
				}
				if got, _, err := k.Routes(); err != nil || len(got) > 0 {
					t.Fatalf("%v (%v) left after deleting %s", got, err, to)
				}
			}
		}
	}
}

// TestForeignRoutesStay: one that is not ours is neither replaced nor deleted.
func TestForeignRoutesStay(t *testing.T) {
	enter(t)
	n := New(dial(t))
	ip(t, "link add dummy0 type veth peer name peer0")
	ip(t, "link set dummy0 up")
	ip(t, "link set peer0 up")
	ip(t, "route add 10.65.0.1/32 dev peer0 proto 80")
	r := Route{Dst: prefix("10.65.0.1/32"), Device: "dummy0"}
	n.SetRoute(r)
	res, err := n.Apply(context.Background())
	if err != nil || !errors.Is(res.Routes[r.Dst], ErrForeign) {
		t.Fatalf("%v, %v; want %v", res.Routes, err, ErrForeign)
	}
	other := Route{Dst: prefix("10.65.0.2/32"), Device: "dummy0"}
	ip(t, "route add 10.65.0.2/32 dev dummy0 proto 80")
	n.SetRoute(other)
	if res, err = n.Apply(context.Background()); err != nil || res.Routes[other.Dst] != nil || res.Writes > 0 {
		t.Fatalf("a route of another that leads where ours would: %+v, %v", res, err)
	}
	if drifted, err := n.Drifted(); err != nil || !drifted { // r is still wanted
		t.Fatalf("drifted %v, %v", drifted, err)
	}
	n.RemoveRoute(r.Dst)
	if drifted, err := n.Drifted(); err != nil || drifted {
		t.Fatalf("drifted %v, %v", drifted, err)
	}
	n.RemoveRoute(other.Dst)
	if _, err := n.Apply(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out := ip(t, "route"); !strings.Contains(out, "10.65.0.1") || !strings.Contains(out, "10.65.0.2") {
		t.Errorf("the route of another was deleted: %s", out)
	}
}

// TestDeviceSettings are what the kernel then says, and are not written twice.
func TestDeviceSettings(t *testing.T) {
	enter(t)
	k := dial(t)
	ip(t, "link add fld0 type veth peer name peer0")
	for _, d := range []Device{{IPv6: true}, {Spoofs: true}} {
		n := New(k)
		n.SetForwarding(Forwarding{IPv4: true, IPv6: d.IPv6})
		n.SetDevice("fld0", d)
		res, err := n.Apply(context.Background())
		if err != nil || len(res.Devices) > 0 || res.Host != nil || res.Writes == 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		for _, s := range d.settings("fld0") {
			got, err := os.ReadFile("/proc/sys/net/" + s.path)
			if err != nil || strings.TrimSpace(string(got)) != s.value {
				t.Errorf("%s is %q (%v), want %s", s.path, got, err, s.value)
			}
		}
		n.Forget()
		if res, err = n.Apply(context.Background()); err != nil || res.Writes > 0 {
			t.Errorf("%d writes (%v) where all is right", res.Writes, err)
		}
	}
}

// TestEventsAreHeard: a device that comes, one that goes down, a route taken away.
func TestEventsAreHeard(t *testing.T) {
	enter(t)
	n := New(dial(t))
	done := make(chan struct{})
	defer close(done)
	if err := Watch(done, n.Note); err != nil {
		t.Fatal(err)
	}
	n.SetDevice("fld0", Device{})
	n.SetRoute(Route{Dst: prefix("10.65.0.1/32"), Device: "fld0"})
	until := func(what string, good func(Result) bool) {
		t.Helper()
		for deadline := time.After(5 * time.Second); ; {
			res, err := n.Apply(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if good(res) {
				return
			}
			select {
			case <-n.Changed():
			case <-deadline:
				t.Fatalf("%s: waited in vain, %v %v", what, res.Devices, res.Routes)
			}
		}
	}
	until("no device", func(r Result) bool { return errors.Is(r.Devices["fld0"], ErrNoDevice) })
	ip(t, "link add fld0 type veth peer name peer0")
	until("device came", func(r Result) bool { return len(r.Devices) == 0 })
	until("it is down", func(r Result) bool { return errors.Is(r.Routes[prefix("10.65.0.1/32")], ErrDown) })
	ip(t, "link set fld0 up")
	until("it is up", func(r Result) bool { return len(r.Routes) == 0 })
	ip(t, "route del 10.65.0.1/32")
	until("the route came back", func(r Result) bool { return r.Writes == 1 })
	ip(t, "link set fld0 down")
	until("down again", func(r Result) bool { return len(r.Routes) == 1 })
	ip(t, "link set fld0 up")
	until("up again", func(r Result) bool { return len(r.Routes) == 0 })
}
