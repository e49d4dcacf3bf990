package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lab is a host and its pods, each a network namespace of its own. The test's goroutine is in the host's.
type lab struct {
	t    testing.TB
	host netns.NsHandle
	pods map[string]netns.NsHandle
}

// newLab needs root. Everything goes with the test.
func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	host, err := netns.New()
	must(t, err)
	t.Cleanup(func() { host.Close() })
	l := &lab{t: t, host: host, pods: map[string]netns.NsHandle{}}
	for _, of := range []string{"all", "default"} { // else a new interface asks for a second whether its address is another's, and asks for no neighbour
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+of+"/accept_dad", []byte("0"), 0o644))
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	must(t, netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(172, 18, 0, 1), Mask: net.CIDRMask(32, 32)}}))
	return l
}

// run runs a program in the host's namespace.
func (l *lab) run(words ...string) string {
	l.t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// in runs f in a pod's namespace.
func (l *lab) in(pod string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(l.pods[pod])
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// gateways are what pods route by; the host answers for them because the neighbour entries are fixed.
var gateways = map[Family]string{IPv4: "169.254.1.1", IPv6: "fe80::ecee"}

// pod makes a namespace with addresses, as the CNI plugin does.
func (l *lab) pod(name, iface string, addrs ...string) {
	l.t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: iface}, PeerName: "peer0"}
	must(l.t, netlink.LinkAdd(veth))
	hostSide, err := netlink.LinkByName(iface)
	must(l.t, err)
	peer, err := netlink.LinkByName("peer0")
	must(l.t, err)
	ns, err := netns.New()
	must(l.t, err)
	l.t.Cleanup(func() { ns.Close() })
	must(l.t, netns.Set(l.host))
	l.pods[name] = ns
	must(l.t, netlink.LinkSetNsFd(peer, int(ns)))
	must(l.t, netlink.LinkSetUp(hostSide))
	must(l.t, l.in(name, func() error { return configurePod(hostSide.Attrs().HardwareAddr, addrs) }))
}

func configurePod(mac net.HardwareAddr, addrs []string) error {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/peer0/accept_dad", []byte("0"), 0o644)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	eth, err := netlink.LinkByName("peer0")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(eth)); err != nil {
		return err
	}
	for _, text := range addrs {
		a := netip.MustParseAddr(text)
		family := IPv4
		if a.Is6() {
			family = IPv6
		}
		size := a.BitLen()
		gw := net.ParseIP(gateways[family])
		err := errors.Join(
			netlink.AddrReplace(eth, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(size, size)}, Flags: unix.IFA_F_NODAD}),
			netlink.NeighSet(&netlink.Neigh{LinkIndex: eth.Attrs().Index, IP: gw, HardwareAddr: mac, State: netlink.NUD_PERMANENT}),
			netlink.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: gw, Flags: int(netlink.FLAG_ONLINK)}),
		)
		if err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	return nil
}

// listen echoes what TCP connections to the port send, in a pod.
func (l *lab) listen(pod string, port int) {
	l.t.Helper()
	must(l.t, l.in(pod, func() error {
		ln, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go echo(c)
			}
		}()
		return nil
	}))
}

func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 64)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// patience is for what must get through; denied is long enough for a packet to be dropped, and short because it is always spent.
const (
	patience = 5 * time.Second
	denied   = 250 * time.Millisecond
)

// dial connects from a pod ("" the host), from a source address where given, and says something.
func (l *lab) dial(pod, from, to string, port int, wait time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: wait}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	var c net.Conn
	connect := func() (err error) {
		// Not Dial: it tries addresses from goroutines on other threads, and so in other namespaces.
		d.Control = func(_, _ string, raw syscall.RawConn) error { return nil }
		c, err = d.DialContext(context.Background(), "tcp", net.JoinHostPort(to, fmt.Sprint(port)))
		return err
	}
	var err error
	if pod == "" {
		err = connect()
	} else {
		err = l.in(pod, connect)
	}
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { c.Close() })
	return c, say(c, wait)
}

// say sends a word and waits for its echo.
func say(c net.Conn, wait time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("word")); err != nil {
		return err
	}
	buf := make([]byte, 4)
	_, err := c.Read(buf)
	return err
}

// expect tries a connection.
func (l *lab) expect(want dataplane.Action, pod, to string, port int) {
	l.t.Helper()
	wait := patience
	if want == dataplane.Deny {
		wait = denied
	}
	c, err := l.dial(pod, "", to, port, wait)
	if c != nil {
		c.Close()
	}
	if got := map[bool]dataplane.Action{true: dataplane.Allow, false: dataplane.Deny}[err == nil]; got != want {
		l.t.Errorf("%s -> %s port %d: %s (%v), want %s", pod, to, port, got, err, want)
	}
}

// open opens the driver in the host's namespace.
func (l *lab) open(backend string) *Dataplane {
	l.t.Helper()
	d, err := New(Config{Backend: backend, LockFile: filepath.Join(l.t.TempDir(), "lock")})
	must(l.t, err)
	l.t.Cleanup(func() { d.Close() })
	return d
}
