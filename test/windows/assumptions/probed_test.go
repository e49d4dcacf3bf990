package assumptions

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
)

// hostAddress is what the probe takes for the host's own.
var hostAddress = netip.MustParseAddr("172.18.0.1")

// probed is the form that the real probe chooses on such a node, the reason that it gives, and its finding about one assumption.
func probed(t *testing.T, o emulator.Options, h dptest.Assumption) (windows.Form, string, probe.Finding) {
	t.Helper()
	server := emulator.New(o)
	r, err := probe.Run(t.Context(), probe.Config{
		HNS: hns.NewClient(server.Calls()), Packets: &packets{server: server}, Build: o.Build, Settle: time.Millisecond,
		HostAddresses: func() []netip.Addr { return []netip.Addr{hostAddress} },
	})
	must(t, err)
	var found probe.Finding
	if h > 0 {
		found = r.Findings[h-1]
	}
	return r.Form(), r.Reason(), found
}

// packets are judged by the emulator.
type packets struct {
	server *emulator.Server
	port   atomic.Uint32
}

func (p *packets) Usable() error                            { return nil }
func (p *packets) Ready(context.Context, []probe.End) error { return nil }

func (p *packets) Open(_ context.Context, from, to probe.End, protocol uint8, port uint16) (probe.Conn, error) {
	if from.Endpoint == "" {
		from.Address = hostAddress
	}
	c := &conn{server: p.server, from: from, to: to, tuple: dptest.Tuple{
		Src: from.Address, Dst: to.Address, Protocol: protocol, SrcPort: uint16(40000 + p.port.Add(1)), DstPort: port, ICMPType: -1, ICMPCode: -1,
	}}
	if ok, err := c.forth(); !ok || err != nil {
		return nil, err
	}
	if ok, err := c.back(); !ok || err != nil {
		return nil, err
	}
	return c, nil
}

type conn struct {
	server   *emulator.Server
	from, to probe.End
	tuple    dptest.Tuple
}

func (c *conn) forth() (bool, error) {
	v, err := c.server.Verdict(emulator.Packet{Tuple: c.tuple, From: c.from.Endpoint, To: c.to.Endpoint, FromHost: c.from.Endpoint == ""})
	return v.Action == dataplane.Allow, err
}

func (c *conn) back() (bool, error) {
	t := c.tuple
	t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	v, err := c.server.Verdict(emulator.Packet{Tuple: t, From: c.to.Endpoint, To: c.from.Endpoint})
	return v.Action == dataplane.Allow, err
}

func (c *conn) Push(context.Context) (bool, error) { return c.back() }
func (c *conn) Close() error                       { return nil }
