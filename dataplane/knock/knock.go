package knock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// The protocols that can be spoken (IANA).
const (
	TCP uint8 = 6
	UDP uint8 = 17
)

// Place is where a socket is.
type Place struct {
	// In calls do on a thread that is in the place; nil: this thread is.
	In func(do func() error) error
	// Address of the socket; of the near end it may be the zero Addr: the system chooses.
	Address netip.Addr
}

func (p *Place) in(do func() error) error {
	if p.In == nil {
		return do()
	}
	return p.In(do)
}

// Conn is a connection that was answered.
type Conn struct {
	near     net.Conn
	listener net.Listener   // of TCP
	far      net.Conn       // of TCP
	packets  net.PacketConn // of UDP: the far end
	nearAddr net.Addr       // of UDP: where the far end sends to
	patience time.Duration
}

// Listen says whether a socket can have the place's address.
func Listen(ctx context.Context, p Place) error {
	c := &Conn{}
	if err := c.listen(ctx, p, TCP, 0); err != nil {
		return err
	}
	return c.listener.Close()
}

// Open opens a connection from near to a port of far; of UDP it sends a datagram. It is nil where no answer came within patience.
func Open(ctx context.Context, near, far Place, protocol uint8, port uint16, patience time.Duration) (*Conn, error) {
	if protocol != TCP && protocol != UDP {
		return nil, fmt.Errorf("protocol %d can't be spoken; valid: %d, %d", protocol, TCP, UDP)
	}
	c := &Conn{patience: patience}
	if err := c.listen(ctx, far, protocol, port); err != nil {
		return nil, fmt.Errorf("far end: %w", err)
	}
	ok, err := c.begin(ctx, near, protocol, netip.AddrPortFrom(far.Address, port).String())
	if !ok || err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) listen(ctx context.Context, far Place, protocol uint8, port uint16) error {
	at := netip.AddrPortFrom(far.Address, port).String()
	return far.in(func() (err error) {
		var config net.ListenConfig
		if protocol == UDP {
			c.packets, err = config.ListenPacket(ctx, "udp", at)
		} else {
			c.listener, err = config.Listen(ctx, "tcp", at)
		}
		return err
	})
}

// begin has the near end send, and the far end answer.
func (c *Conn) begin(ctx context.Context, near Place, protocol uint8, to string) (bool, error) {
	err := near.in(func() (err error) {
		c.near, err = c.dialer(near, protocol).DialContext(ctx, map[uint8]string{TCP: "tcp", UDP: "udp"}[protocol], to)
		return err
	})
	if err == nil {
		err = c.send()
	}
	if err != nil {
		return false, unlessSilence(err)
	}
	return c.answer()
}

func (c *Conn) dialer(near Place, protocol uint8) *net.Dialer {
	d := &net.Dialer{Timeout: c.patience, FallbackDelay: -1}
	local := netip.AddrPortFrom(near.Address, 0)
	switch {
	case !near.Address.IsValid():
	case protocol == UDP:
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
	default:
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	return d
}

// send sends a byte from the near end, and takes it at the far one.
func (c *Conn) send() error {
	deadline := time.Now().Add(c.patience)
	if err := c.near.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.near.Write([]byte{1}); err != nil {
		return err
	}
	b := make([]byte, 1)
	if c.packets != nil {
		if err := c.packets.SetDeadline(deadline); err != nil {
			return err
		}
		_, addr, err := c.packets.ReadFrom(b)
		c.nearAddr = addr
		return err
	}
	if err := c.listener.(*net.TCPListener).SetDeadline(deadline); err != nil {
		return err
	}
	var err error
	if c.far, err = c.listener.Accept(); err != nil {
		return err
	}
	if err = c.far.SetDeadline(deadline); err != nil {
		return err
	}
	_, err = c.far.Read(b)
	return err
}

// answer sends a byte from the far end, and tells whether it arrives at the near one.
func (c *Conn) answer() (bool, error) {
	deadline := time.Now().Add(c.patience)
	var err error
	if c.packets != nil {
		_, err = c.packets.WriteTo([]byte{2}, c.nearAddr)
	} else if err = c.far.SetDeadline(deadline); err == nil {
		_, err = c.far.Write([]byte{2})
	}
	if err == nil {
		err = c.near.SetDeadline(deadline)
	}
	if err == nil {
		_, err = c.near.Read(make([]byte, 1))
	}
	return err == nil, unlessSilence(err)
}

// Push sends from the far end, and tells whether it arrives at the near one.
func (c *Conn) Push(context.Context) (bool, error) { return c.answer() }

// Close closes all sockets of the connection.
func (c *Conn) Close() error {
	var errs []error
	if c.near != nil {
		errs = append(errs, c.near.Close())
	}
	if c.far != nil {
		errs = append(errs, c.far.Close())
	}
	if c.listener != nil {
		errs = append(errs, c.listener.Close())
	}
	if c.packets != nil {
		errs = append(errs, c.packets.Close())
	}
	return errors.Join(errs...)
}

// unlessSilence keeps those errors that say more than that no answer came, or that somebody on the way refused.
func unlessSilence(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return nil
	}
	for _, r := range refusals {
		if errors.Is(err, r) {
			return nil
		}
	}
	return err
}
