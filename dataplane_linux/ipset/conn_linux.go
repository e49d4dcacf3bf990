package ipset

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is the Kernel of one network namespace: that of the thread which calls Dial, whatever namespace later callers are in.
type Conn struct {
	write     socket
	mu        sync.Mutex // List may run beside Do, and beside itself
	read      socket
	buf       []byte
	revisions map[Header]uint8
}

// socket is a netlink socket. The kernel works a request off before the call that sends it returns.
type socket struct {
	fd       int
	sequence uint32
	in       []byte
}

// answerTimeout is far more than the kernel takes: it only keeps a fault from stopping the agent.
const answerTimeout = 30 * time.Second

// Dial opens the sockets.
func Dial() (*Conn, error) {
	c := &Conn{revisions: map[Header]uint8{}}
	var err error
	if c.write, err = open(); err != nil {
		return nil, err
	}
	if c.read, err = open(); err != nil {
		unix.Close(c.write.fd)
		return nil, err
	}
	return c, nil
}

func open() (socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return socket{}, fmt.Errorf("ipset: netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	for _, set := range []func() error{
		func() error { return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) },
		// Answers need not carry the request: they all fit into the buffer.
		func() error { return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) },
	} {
		if err := set(); err != nil {
			unix.Close(fd)
			return socket{}, fmt.Errorf("ipset: netlink socket: %w", err)
		}
	}
	return socket{fd: fd, in: make([]byte, 64<<10)}, nil
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	unix.Close(c.read.fd)
	return unix.Close(c.write.fd)
}

// Do implements Kernel.
func (c *Conn) Do(ctx context.Context, commands []Command) (map[int]error, error) {
	for _, cmd := range commands {
		if cmd.Op == OpCreate {
			if err := c.learn(cmd.Header); err != nil {
				return nil, err
			}
		}
	}
	o := &outcome{commands: commands}
	for todo := split(commands); len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if o.cancels(commands[todo[0].command]) {
			o.refuse(todo[0], unix.ECANCELED)
			todo = todo[1:]
			continue
		}
		n := c.encode(commands, todo)
		errnos, err := c.exchange(n)
		if err != nil {
			return nil, err
		}
		rest := todo[n:]
		for i, errno := range errnos {
			switch {
			case errno == 0:
			case len(todo[i].elements) > 1:
				if err := c.each(o, todo[i]); err != nil {
					return nil, err
				}
			default:
				o.refuse(todo[i], errno)
			}
		}
		todo = rest
	}
	return o.errs, nil
}

// each writes the members of a refused piece one by one.
func (c *Conn) each(o *outcome, p piece) error {
	for todo := p.singly(); len(todo) > 0; {
		n := c.encode(o.commands, todo)
		errnos, err := c.exchange(n)
		if err != nil {
			return err
		}
		for i, errno := range errnos {
			if errno != 0 {
				o.refuse(todo[i], errno)
			}
		}
		todo = todo[n:]
	}
	return nil
}

// encode fills the buffer with as many messages as go in one call; it returns their number. A swap goes first in a call, when the fate of all
// before it is known.
func (c *Conn) encode(commands []Command, todo []piece) int {
	c.buf = c.buf[:0]
	for i, p := range todo {
		cmd := commands[p.command]
		if i == maxPieces || len(c.buf) > maxBatch || i > 0 && cmd.Op == OpSwap {
			return i
		}
		sequence := c.write.sequence + uint32(i)
		if cmd.Op == OpAdd || cmd.Op == OpDelete {
			c.buf = appendMembers(c.buf, cmd, p.elements, sequence)
		} else {
			c.buf = appendCommand(c.buf, cmd, sequence, c.revisions[revisionKey(cmd.Header)])
		}
	}
	return len(todo)
}

// exchange sends the buffer, which holds n messages, and returns the answer to each.
func (c *Conn) exchange(n int) ([]syscall.Errno, error) {
	s := &c.write
	first := s.sequence
	s.sequence += uint32(n)
	if err := s.send(c.buf); err != nil {
		return nil, err
	}
	errnos := make([]syscall.Errno, n)
	for got := 0; got < n; {
		err := s.receive(func(r reply) error {
			i := r.sequence - first
			if r.kind != msgError || i >= uint32(n) {
				return nil // an answer to a call that was given up
			}
			got++
			var err error
			errnos[i], err = r.errno()
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if errnos[0] == unix.EPERM {
		return nil, fmt.Errorf("ipset: CAP_NET_ADMIN is needed: %w", unix.EPERM)
	}
	return errnos, nil
}

func (s *socket) send(b []byte) error {
	if err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ipset: netlink send: %w", err)
	}
	return nil
}

// receive waits for one datagram and gives its messages to f.
func (s *socket) receive(f func(reply) error) error {
	var n int
	var err error
	for {
		n, err = unix.Read(s.fd, s.in)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("ipset: netlink receive: %w", err)
	}
	for b := s.in[:n]; len(b) > 0; {
		r, rest, err := nextReply(b)
		if err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// List implements Kernel.
func (c *Conn) List(ctx context.Context, members bool) ([]Listed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sets []Listed
	var errno syscall.Errno
	err := c.read.ask(ctx, listRequest(c.read.sequence+1, members), func(r reply) (err error) {
		if r.kind == msgError || r.kind == msgDone {
			errno, err = r.errno()
			return err
		}
		sets, err = decodeList(r.body, sets)
		return err
	})
	if err == nil && errno != 0 {
		err = &Error{Errno: errno}
	}
	return sets, err
}

// ask sends one request, whose sequence is the next, and gives the answers to f until one ends them.
func (s *socket) ask(ctx context.Context, request []byte, f func(reply) error) error {
	s.sequence++
	if err := s.send(request); err != nil {
		return err
	}
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.receive(func(r reply) error {
			if r.sequence != s.sequence {
				return nil
			}
			done = done || r.kind == msgError || r.kind == msgDone
			return f(r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func revisionKey(h Header) Header { return Header{Type: h.Type, Family: h.Family} }

// learn asks which revision of the set type the kernel has, once.
func (c *Conn) learn(h Header) error {
	key := revisionKey(h)
	if _, ok := c.revisions[key]; ok {
		return nil
	}
	c.write.sequence++
	if err := c.write.send(typeRequest(h.Type, h.Family, c.write.sequence)); err != nil {
		return err
	}
	answered := false
	for !answered {
		err := c.write.receive(func(r reply) error {
			if r.sequence != c.write.sequence {
				return nil
			}
			answered = true
			if r.kind == msgError {
				errno, err := r.errno()
				if err != nil {
					return err
				}
				return fmt.Errorf("ipset: type %s of IPv%d: %w", h.Type, h.Family, &Error{Errno: errno})
			}
			revision, err := decodeRevision(r.body)
			c.revisions[key] = revision
			return err
		})
		if err != nil {
			return err
		}
	}
	c.write.sequence++
	return nil
}
