package probe_test

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
)

// emulated are packets that the emulator judges by the model of HNS.
type emulated struct {
	emu  *emulator.Server
	host netip.Addr
	port atomic.Uint32
}

func (p *emulated) Usable() error { return nil }

func (p *emulated) Ready(_ context.Context, ends []probe.End) error {
	for _, e := range ends {
		if e.Compartment == 0 || e.Endpoint == "" || !e.Address.IsValid() {
			return errors.New("an end without a place")
		}
	}
	return nil
}

func (p *emulated) Open(_ context.Context, from, to probe.End, protocol uint8, port uint16) (probe.Conn, error) {
	if !from.Address.IsValid() {
		from.Address = p.host
	}
	source := uint16(40000 + p.port.Add(1)%20000)
	c := &flow{emulated: p, from: from, to: to, tuple: dptest.Tuple{Src: from.Address, Dst: to.Address, Protocol: protocol, SrcPort: source, DstPort: port, ICMPType: -1, ICMPCode: -1}}
	if ok, err := c.there(); !ok || err != nil {
		return nil, err
	}
	if ok, err := c.back(); !ok || err != nil {
		return nil, err
	}
	return c, nil
}

// flow is a connection.
type flow struct {
	*emulated
	from, to probe.End
	tuple    dptest.Tuple
}

func (c *flow) there() (bool, error) { return c.send(c.from, c.to, c.tuple) }

func (c *flow) back() (bool, error) {
	t := c.tuple
	t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	return c.send(c.to, c.from, t)
}

func (c *flow) send(from, to probe.End, t dptest.Tuple) (bool, error) {
	v, err := c.emu.Verdict(emulator.Packet{Tuple: t, From: from.Endpoint, To: to.Endpoint, FromHost: from.Endpoint == ""})
	return v.Action == dataplane.Allow, err
}

func (c *flow) Push(context.Context) (bool, error) {
	if ok, err := c.back(); !ok || err != nil {
		return false, err
	}
	return c.there()
}

func (c *flow) Close() error { return nil }
