package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// sandbox makes calls to the kernel. Its sockets belong to the network namespace of the thread that made it, and go on doing so
// whatever thread uses them: nothing below forks, and only opening a socket in a pod's namespace enters that.
type sandbox struct {
	host *netlink.Handle
	self netns.NsHandle
}

func newSandbox() (*sandbox, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("opening the host's network namespace: %w", err)
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = self.Close()
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	return &sandbox{host: host, self: self}, nil
}

// openNetns opens a network namespace; error 8 if path is none, or is the host's.
func (s *sandbox) openNetns(path string) (netns.NsHandle, error) {
	invalid := func(problem string) (netns.NsHandle, error) {
		return netns.None(), types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: %s: %s", path, problem), "")
	}
	// O_NONBLOCK: a FIFO must not hold us up.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return invalid(err.Error())
	}
	ns := netns.NsHandle(fd)
	if t, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || t != unix.CLONE_NEWNET {
		_ = ns.Close()
		return invalid("not a network namespace")
	}
	if ns.Equal(s.self) {
		_ = ns.Close()
		return invalid("this is the host's own network namespace")
	}
	return ns, nil
}

// inNetns runs f on a thread that is in ns.
func (s *sandbox) inNetns(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("entering the network namespace: %w", err)
			return
		}
		err := f()
		// A thread that can't be brought back stays locked, and so ends with this goroutine.
		if netns.Set(s.self) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// open opens a netlink socket in ns.
func (s *sandbox) open(ns netns.NsHandle) (h *netlink.Handle, err error) {
	err = s.inNetns(ns, func() error {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return h, err
}

// podLink is an interface pair in the making.
type podLink struct {
	s    *sandbox
	plan plan
	ns   netns.NsHandle
	pod  *netlink.Handle
	host netlink.Link
	eth  netlink.Link // the pod's side
}

func (l *podLink) close() {
	if l.pod != nil {
		l.pod.Close()
	}
	_ = l.ns.Close()
}

// create makes the pair, both sides down, the host's side marked. What it leaves behind on an error, remove takes away.
func (s *sandbox) create(p plan) (*podLink, error) {
	ns, err := s.openNetns(p.netns)
	if err != nil {
		return nil, err
	}
	l := &podLink{s: s, plan: p, ns: ns}
	if l.pod, err = s.open(ns); err == nil {
		err = l.create()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connecting %s: %w", p.attachment, err)
	}
	return l, nil
}

func (l *podLink) create() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = l.plan.host, l.plan.mtu, hostMAC
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: l.plan.IfName, PeerMTU: uint32(l.plan.mtu), PeerNamespace: netlink.NsFd(l.ns)}
	err := l.s.host.LinkAdd(veth)
	if errors.Is(err, syscall.EEXIST) && l.s.removeLeftover(l.plan.host) {
		err = l.s.host.LinkAdd(veth)
	}
	if err != nil {
		return fmt.Errorf("making %s and, in the pod, %s: %w", l.plan.host, l.plan.IfName, err)
	}
	l.host = veth
	if err := l.s.host.LinkSetAlias(veth, l.plan.alias()); err != nil {
		return fmt.Errorf("marking %s: %w", l.plan.host, err)
	}
	if l.eth, err = l.pod.LinkByName(l.plan.IfName); err != nil {
		return fmt.Errorf("finding %s in the pod: %w", l.plan.IfName, err)
	}
	return nil
}

// removeLeftover deletes an interface of that name, if felid made it: its owner's address went, or will go, by its handle.
func (s *sandbox) removeLeftover(name string) bool {
	link, err := s.host.LinkByName(name)
	return err == nil && ours(link) && s.host.LinkDel(link) == nil
}

// ours tells whether felid made an interface that has our prefix.
func ours(link netlink.Link) bool {
	if alias := link.Attrs().Alias; alias != "" {
		_, ok := parseAlias(alias)
		return ok
	}
	return link.Type() == "veth" && bytes.Equal(link.Attrs().HardwareAddr, hostMAC)
}

// configure gives the pod its addresses and routes, brings both sides up, the host's last, and returns the pod's MAC address.
func (l *podLink) configure(addrs []netip.Addr) (mac string, err error) {
	for _, addr := range addrs {
		if err := l.addAddress(addr); err != nil {
			return "", fmt.Errorf("giving %s of the pod %s: %w", l.plan.IfName, addr, err)
		}
	}
	if err := l.pod.LinkSetUp(l.eth); err != nil {
		return "", fmt.Errorf("bringing %s of the pod up: %w", l.plan.IfName, err)
	}
	for _, addr := range addrs {
		if err := l.addRoute(addr); err != nil {
			return "", fmt.Errorf("routing from %s in the pod: %w", addr, err)
		}
	}
	if err := l.s.hostUp(l.host, addrs); err != nil {
		return "", fmt.Errorf("bringing %s up: %w", l.plan.host, err)
	}
	if err := l.awaitCarrier(); err != nil {
		return "", err
	}
	return l.eth.Attrs().HardwareAddr.String(), nil
}

// awaitCarrier waits until the pod's side can send. The host's side came up last, and so the kernel tells the pod's of its carrier from a
// work queue; what the pod sends before is lost, an answer to ARP for one. Since Linux 6.8 asking for a link runs that work at once.
func (l *podLink) awaitCarrier() error {
	for range 1000 {
		eth, err := l.pod.LinkByIndex(l.eth.Attrs().Index)
		if err != nil {
			return fmt.Errorf("looking at %s of the pod: %w", l.plan.IfName, err)
		}
		if eth.Attrs().OperState == netlink.OperUp {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s of the pod has no carrier after a second", l.plan.IfName)
}

// hostUp gives the host's side the IPv6 gateway's address, without the second that duplicate address detection takes, and brings it up.
func (s *sandbox) hostUp(link netlink.Link, addrs []netip.Addr) error {
	for _, addr := range addrs {
		if addr.Is6() {
			ll := &netlink.Addr{IPNet: netOf(netip.PrefixFrom(gateway6, 64)), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK}
			if err := s.host.AddrReplace(link, ll); err != nil {
				return fmt.Errorf("giving it %s: %w", gateway6, err)
			}
			break
		}
	}
	return s.host.LinkSetUp(link)
}

func (l *podLink) addAddress(addr netip.Addr) error {
	a := &netlink.Addr{IPNet: netOf(netip.PrefixFrom(addr, addr.BitLen()))}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD // the address is this pod's alone: the block says so
	}
	err := l.pod.AddrAdd(l.eth, a)
	if addr.Is6() && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)) {
		// Some runtimes make namespaces with IPv6 switched off.
		if err := l.s.inNetns(l.ns, func() error { return enableIPv6(l.plan.IfName) }); err != nil {
			return err
		}
		err = l.pod.AddrAdd(l.eth, a)
	}
	return err
}

func enableIPv6(ifName string) error {
	return os.WriteFile("/proc/sys/net/ipv6/conf/"+ifName+"/disable_ipv6", []byte("0"), 0o644)
}

// addRoute makes the default route of addr's family, through a gateway that is the host's side of the pair. Where there is one
// already, as on a pod's second interface, only what addr sends takes it.
func (l *podLink) addRoute(addr netip.Addr) error {
	index := l.eth.Attrs().Index
	gw := net.IP(gatewayOf(addr).AsSlice())
	neigh := &netlink.Neigh{LinkIndex: index, Family: familyOf(addr), State: netlink.NUD_PERMANENT, IP: gw, HardwareAddr: hostMAC}
	if err := l.pod.NeighSet(neigh); err != nil {
		return fmt.Errorf("neighbour %s: %w", gw, err)
	}
	dst := ipNet(defaultRoute(addr))
	route := &netlink.Route{LinkIndex: index, Dst: &dst, Gw: gw, Flags: int(netlink.FLAG_ONLINK)}
	err := l.pod.RouteAdd(route)
	if !errors.Is(err, syscall.EEXIST) {
		return err
	}
	route.Table = podTable(index)
	if err := l.pod.RouteReplace(route); err != nil {
		return err
	}
	rule := podRule(addr, route.Table)
	if err := l.pod.RuleAdd(rule); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("rule from %s: %w", addr, err)
	}
	return nil
}

// podTable is the routing table, inside a pod, of an interface that found a default route there already. Its own addresses are
// looked up in it, so that answers leave by the interface that the question came in by.
func podTable(ifIndex int) int { return 1000 + ifIndex }

// podRulePriority is that of the rule for it: after "local" (0), before "main" (32766).
const podRulePriority = 1000

func podRule(addr netip.Addr, table int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Priority = familyOf(addr), table, podRulePriority
	rule.Src = netOf(netip.PrefixFrom(addr, addr.BitLen()))
	return rule
}

// remove deletes the host's interface, and with it the pod's side, if it is still that attachment's.
func (s *sandbox) remove(name string, a attachment) error {
	// A socket of its own: the kernel takes tens of milliseconds to let go of an interface, and others would have to wait for this one.
	host, err := s.open(s.self)
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := host.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for %s: %w", name, err)
	}
	if alias := link.Attrs().Alias; alias != a.alias() && (alias != "" || !ours(link)) {
		return nil
	}
	if err := host.LinkDel(link); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}

// list returns the host's interfaces that felid made: those that are marked, and those that begin with prefix and were about to be.
func (s *sandbox) list(prefix string) ([]hostLink, error) {
	links, err := s.host.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	var found []hostLink
	for _, link := range links {
		if a := link.Attrs(); ours(link) && (a.Alias != "" || strings.HasPrefix(a.Name, prefix)) {
			found = append(found, hostLink{name: a.Name, alias: a.Alias, half: a.Alias == ""})
		}
	}
	return found, nil
}

func netOf(p netip.Prefix) *net.IPNet {
	n := ipNet(p)
	return &n
}

func familyOf(addr netip.Addr) int {
	if addr.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
