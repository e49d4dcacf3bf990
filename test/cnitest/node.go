//go:build linux

package cnitest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	v3 "github.com/felid-net/felid/api/v3"
)

// link is an interface as "ip -j link" shows it.
type link struct {
	IfName  string `json:"ifname"`
	Alias   string `json:"ifalias"`
	Address string `json:"address"`
	MTU     int    `json:"mtu"`
}

// podLinks are the node's interfaces that the agent made, by alias.
func podLinks(t *testing.T, w World) map[string]link {
	t.Helper()
	var all []link
	out := Command(t, "ip", "-n", w.Netns(), "-j", "-d", "link", "show", "type", "veth")
	if err := json.Unmarshal([]byte(out), &all); err != nil && strings.TrimSpace(out) != "" {
		t.Fatalf("ip link: %v\n%s", err, out)
	}
	found := map[string]link{}
	for _, l := range all {
		if l.IfName != "" {
			found[l.Alias] = l
		}
	}
	return found
}

func aliasOf(s *sandbox) string {
	return strings.Join([]string{"felid", network, s.id, s.ifName}, " ")
}

// records are the node's endpoints in the datastore, by container and interface.
func records(t *testing.T, w World) map[string]*v3.WorkloadEndpoint {
	t.Helper()
	list, err := w.Store().List(context.Background(), v3.KindWorkloadEndpoint, "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*v3.WorkloadEndpoint{}
	for _, o := range list.Objects {
		if rec := o.(*v3.WorkloadEndpoint); rec.Spec.ContainerID != "" && rec.Spec.Node == w.Node() {
			found[rec.Spec.ContainerID+" "+rec.Spec.Endpoint] = rec
		}
	}
	return found
}

// assigned are the addresses that IPAM blocks say are taken.
func assigned(t *testing.T, w World) []netip.Addr {
	t.Helper()
	list, err := w.Store().List(context.Background(), v3.KindIPAMBlock, "")
	if err != nil {
		t.Fatal(err)
	}
	var taken []netip.Addr
	for _, o := range list.Objects {
		b := o.(*v3.IPAMBlock)
		addr := netip.MustParsePrefix(b.Spec.CIDR).Addr()
		for _, a := range b.Spec.Allocations {
			if a != nil {
				taken = append(taken, addr)
			}
			addr = addr.Next()
		}
	}
	return taken
}

// wantConnected fails the test unless these sandboxes, and no others, have an interface, a record and their addresses.
func wantConnected(t *testing.T, w World, want map[*sandbox][]netip.Addr) {
	t.Helper()
	links, recs := podLinks(t, w), records(t, w)
	var addrs []netip.Addr
	for s, has := range want {
		addrs = append(addrs, has...)
		rec := recs[s.id+" "+s.ifName]
		if _, ok := links[aliasOf(s)]; !ok {
			t.Errorf("%s of %s has no interface", s.ifName, s.id)
		}
		if rec == nil {
			t.Errorf("%s of %s has no record", s.ifName, s.id)
			continue
		}
		var recorded []netip.Addr
		for _, n := range rec.Spec.IPNetworks {
			recorded = append(recorded, netip.MustParsePrefix(n).Addr())
		}
		if !slices.Equal(recorded, has) {
			t.Errorf("%s of %s has %v on record, want %v", s.ifName, s.id, recorded, has)
		}
	}
	taken := assigned(t, w)
	slices.SortFunc(addrs, netip.Addr.Compare)
	slices.SortFunc(taken, netip.Addr.Compare)
	if len(links) != len(want) || len(recs) != len(want) || !slices.Equal(addrs, taken) {
		t.Errorf("%d interfaces, %d records, want %d; addresses taken %v, want %v", len(links), len(recs), len(want), taken, addrs)
	}
}

// inside runs f on a thread in a network namespace.
func inside(name string, f func() error) error {
	done := make(chan error)
	go func() {
		// Not unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// reach sends a datagram from one pod to another pod's address, and has it come back.
func reach(from, to *sandbox, addr netip.Addr) error {
	var server, client net.Conn
	err := inside(to.netns, func() error {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 4242)))
		server = conn
		return err
	})
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	defer server.Close()
	go echo(server.(*net.UDPConn))
	err = inside(from.netns, func() error {
		client, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 4242)))
		return err
	})
	if err != nil {
		return fmt.Errorf("dialling %s: %w", addr, err)
	}
	defer client.Close()
	return ping(client)
}

func echo(conn *net.UDPConn) {
	buf := make([]byte, 64)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteToUDPAddrPort(buf[:n], peer)
	}
}

// pingTimeout is less than the second after which the kernel asks for a neighbour again, so that what is lost at first counts as lost, and
// otherwise as long as can be: a busy machine lets a process wait.
const pingTimeout = 950 * time.Millisecond

func ping(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(pingTimeout))
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err == nil && string(buf[:n]) != "ping" {
		err = fmt.Errorf("%q came back", buf[:n])
	}
	return err
}
