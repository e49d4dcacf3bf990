package dptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felid-net/felid/dataplane"
)

// Outcome is what became of a real flow.
type Outcome struct {
	Seen     bool // the packet came to its destination
	Answered bool // and the answer came back: the TCP handshake ended, the UDP or echo reply arrived
	Err      error
}

// A flow that must be dropped is waited for this long: nothing in these networks takes longer than a millisecond, unless the machine is
// busy. One that must come through is waited for until it does, or much longer.
const (
	dropWait  = 200 * time.Millisecond
	allowWait = 3 * time.Second
)

// prober sends all flows of a case at once, and watches all sockets from one loop.
type prober struct {
	net     *Net
	flows   []Flow
	results []Outcome
	socks   []*sock
	servers map[server]bool
	magic   uint32
}

// server is a socket that is shared by flows to it.
type server struct {
	at    *Namespace
	proto uint8
	dst   netip.AddrPort // port 0: all packets of the protocol
}

// sock is a socket with what to do when it can be read (or, while connecting, written).
type sock struct {
	fd     int
	events int16
	ready  func(s *sock)
}

// Probe sends the first packet of each flow from where it comes from, with servers where it goes to, and says what became of each.
// It ends when every flow that must come through did, and not before dropWait where one must not.
func (n *Net) Probe(flows []Flow) []Outcome {
	p := &prober{net: n, flows: flows, results: make([]Outcome, len(flows)), servers: map[server]bool{}, magic: uint32(time.Now().UnixNano())}
	defer p.close()
	for i := range flows {
		p.attempt(i, p.serve)
	}
	for i := range flows {
		p.attempt(i, p.send)
	}
	p.loop(time.Now())
	return p.results
}

func (p *prober) attempt(i int, f func(i int) error) {
	if err := f(i); err != nil && p.results[i].Err == nil {
		p.results[i].Err = err
	}
}

func (p *prober) close() {
	for _, s := range p.socks {
		_ = unix.Close(s.fd)
	}
}

// loop serves the sockets until there is nothing left to wait for.
func (p *prober) loop(start time.Time) {
	for {
		left := p.wait() - time.Since(start)
		if left <= 0 {
			return
		}
		fds := make([]unix.PollFd, len(p.socks))
		for i, s := range p.socks {
			fds[i] = unix.PollFd{Fd: int32(s.fd), Events: s.events}
		}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for i, s := range p.socks[:len(fds)] {
			if fds[i].Revents != 0 {
				s.ready(s)
			}
		}
	}
}

// wait is how long after the start there is still something to wait for.
func (p *prober) wait() time.Duration {
	wait := time.Duration(0)
	for i, r := range p.results {
		if r.Err != nil || r.Answered {
			continue
		}
		want := p.flows[i].Want
		if want.Action == dataplane.Allow && !(r.Seen && want.Answer != AnswerComes) {
			return allowWait
		}
		wait = dropWait
	}
	return wait
}

func domain(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func socketType(proto uint8) int {
	switch proto {
	case dataplane.ProtoTCP:
		return unix.SOCK_STREAM
	case dataplane.ProtoUDP:
		return unix.SOCK_DGRAM
	}
	return unix.SOCK_RAW
}

// open makes a socket in a namespace, bound to an address; a false one is not the namespace's own.
func (p *prober) open(at *Namespace, typ int, proto uint8, local netip.AddrPort, isFalse bool) (int, error) {
	if typ == unix.SOCK_RAW {
		local = netip.AddrPortFrom(local.Addr(), 0)
	}
	fd := -1
	err := at.Do(func() error {
		var err error
		fd, err = unix.Socket(domain(local.Addr()), typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto))
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("socket of protocol %d: %w", proto, err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && isFalse {
		err = transparent(fd, local.Addr())
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, sockaddr(local)); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", local, err), unix.Close(fd))
	}
	return fd, nil
}

// transparent lets a socket send from an address that nobody has here.
func transparent(fd int, a netip.Addr) error {
	if a.Is4() {
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
}

func (p *prober) watch(fd int, events int16, ready func(*sock)) {
	p.socks = append(p.socks, &sock{fd: fd, events: events, ready: ready})
}

// serve opens the sockets that flow i goes to, once for all flows to them.
func (p *prober) serve(i int) error {
	f := p.flows[i]
	all := server{p.net.at(f.To), f.Protocol, netip.AddrPortFrom(f.Dst, 0)}
	if f.Protocol == dataplane.ProtoTCP { // connections are not seen before their handshake ends
		if err := p.listen(all, unix.SOCK_RAW, func(s *sock) { p.segment(s, all) }); err != nil {
			return err
		}
	}
	port := all
	if hasPorts(f.Protocol) {
		port.dst = netip.AddrPortFrom(f.Dst, f.DstPort)
	}
	if f.Protocol == dataplane.ProtoTCP {
		return p.listen(port, unix.SOCK_STREAM, accept)
	}
	return p.listen(port, socketType(f.Protocol), p.datagram)
}

func (p *prober) listen(s server, typ int, ready func(*sock)) error {
	if p.servers[s] {
		return nil
	}
	p.servers[s] = true
	fd, err := p.open(s.at, typ, s.proto, s.dst, false)
	if err == nil && typ == unix.SOCK_STREAM {
		if err = unix.Listen(fd, 64); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	p.watch(fd, unix.POLLIN, ready)
	return nil
}

// segment reads TCP segments where they are delivered, and knows flows by their ports.
func (p *prober) segment(s *sock, at server) {
	buf := make([]byte, 512)
	for {
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		if err != nil {
			return
		}
		header := 0
		if at.dst.Addr().Is4() { // there a raw socket gets the IP header too
			header = int(buf[0]&0xf) * 4
		}
		if n < header+4 {
			continue
		}
		ports := binary.BigEndian.Uint32(buf[header:])
		for i, f := range p.flows {
			if f.Protocol == at.proto && f.Dst == at.dst.Addr() && f.Src == sender(from) && uint32(f.SrcPort)<<16|uint32(f.DstPort) == ports {
				p.results[i].Seen = true
			}
		}
	}
}

func sender(a unix.Sockaddr) netip.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}

// accept takes connections and lets them go: the client has seen the handshake.
func accept(s *sock) {
	for {
		fd, _, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.Close(fd)
	}
}

// datagram reads probes at their destination, and answers those of UDP.
func (p *prober) datagram(s *sock) {
	buf := make([]byte, 512)
	for {
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		if err != nil {
			return
		}
		i, ok := p.read(buf[:n])
		if !ok {
			continue
		}
		p.results[i].Seen = true
		f := p.flows[i]
		switch {
		case f.Protocol == dataplane.ProtoUDP && !f.Spoofed:
			_ = unix.Sendto(s.fd, p.payload(i), 0, from)
		case !expectsAnswer(f):
			p.results[i].Answered = true
		}
	}
}

// payload says which probe, of which run, this is.
func (p *prober) payload(i int) []byte {
	b := append([]byte("felid-probe"), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[11:], p.magic)
	binary.BigEndian.PutUint32(b[15:], uint32(i))
	return b
}

// read finds the payload at the end of a packet.
func (p *prober) read(packet []byte) (int, bool) {
	if len(packet) < 19 {
		return 0, false
	}
	b := packet[len(packet)-19:]
	i := int(binary.BigEndian.Uint32(b[15:]))
	if string(b[:11]) != "felid-probe" || binary.BigEndian.Uint32(b[11:]) != p.magic || i >= len(p.flows) {
		return 0, false
	}
	return i, true
}

// send opens the sender's socket and sends the first packet.
func (p *prober) send(i int) error {
	f := p.flows[i]
	to := netip.AddrPortFrom(f.Dst, f.DstPort)
	if f.SentTo.IsValid() {
		to = f.SentTo
	}
	fd, err := p.open(p.net.at(f.From), socketType(f.Protocol), f.Protocol, netip.AddrPortFrom(f.Src, f.SrcPort), f.Spoofed)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	p.watch(fd, unix.POLLIN, func(s *sock) { p.reply(s, i) })
	s := p.socks[len(p.socks)-1]
	switch f.Protocol {
	case dataplane.ProtoTCP:
		s.events, s.ready = unix.POLLOUT, func(s *sock) { p.connected(s, i) }
		err = unix.Connect(fd, sockaddr(to))
		if errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	case dataplane.ProtoUDP:
		if err = unix.Connect(fd, sockaddr(to)); err == nil {
			_, err = unix.Write(fd, p.payload(i))
		}
	default:
		err = unix.Sendto(fd, p.icmp(i), 0, sockaddr(netip.AddrPortFrom(f.Dst, 0)))
	}
	if errors.Is(err, unix.EPERM) {
		return nil // dropped on the way out of the sender's own host
	}
	return err
}

// icmp is the message of flow i; the kernel adds the checksum of ICMPv6.
func (p *prober) icmp(i int) []byte {
	f := p.flows[i]
	b := []byte{byte(f.ICMPType), byte(f.ICMPCode), 0, 0, 0, 0, 0, 1}
	binary.BigEndian.PutUint16(b[4:], uint16(i+1))
	if f.ICMPType == 13 || f.ICMPType == 17 { // the kernel wants timestamps, or a mask, before anything else
		b = append(b, make([]byte, 12)...)
	}
	b = append(b, p.payload(i)...)
	if f.Protocol == dataplane.ProtoICMP {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// reply reads what comes back to the sender of a datagram.
func (p *prober) reply(s *sock, i int) {
	buf := make([]byte, 512)
	for {
		n, _, err := unix.Recvfrom(s.fd, buf, 0)
		if err != nil {
			return
		}
		got, ok := p.read(buf[:n])
		if ok && got == i && (p.flows[i].Protocol == dataplane.ProtoUDP || isEchoReply(buf[:n], p.flows[i].Family())) {
			p.results[i].Seen, p.results[i].Answered = true, true
		}
	}
}

// isEchoReply looks at the type; a raw socket of IPv4 gets the IP header too.
func isEchoReply(packet []byte, family uint8) bool {
	if family == 6 {
		return packet[0] == 129
	}
	header := int(packet[0]&0xf) * 4
	return len(packet) > header && packet[header] == 0
}

// connected looks how a TCP connect ended.
func (p *prober) connected(s *sock, i int) {
	s.events = 0
	s.ready = func(*sock) {}
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		p.results[i].Err = err
	case code == 0:
		p.results[i].Seen, p.results[i].Answered = true, true
	case unix.Errno(code) == unix.ECONNREFUSED:
		p.results[i].Err = fmt.Errorf("connection refused: it came through to where nobody listens")
	default:
		p.results[i].Err = unix.Errno(code)
	}
}
