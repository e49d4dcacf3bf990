package etcd

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Changes that come one by one in a stream are read together: each that is read alone wakes all who pass on what it brings, which takes more
// time than what there is to do. Of a stream, which is paceAfter reads with less than paceGap between them, one read begins paceEvery after the
// one before. What comes alone is read at once, and so is all that comes while a call waits for its answer.
const (
	paceEvery = 8 * time.Millisecond
	paceGap   = 25 * time.Millisecond
	paceAfter = 4
)

// pace knows which calls wait for an answer.
type pace struct {
	calls atomic.Int32
	begun chan struct{} // holds one when a call has begun
}

func newPace() *pace { return &pace{begun: make(chan struct{}, 1)} }

// call has nothing held back until the function that it returns is called.
func (p *pace) call() (end func()) {
	p.calls.Add(1)
	select {
	case p.begun <- struct{}{}:
	default:
	}
	return func() { p.calls.Add(-1) }
}

// credentials are those of a connection, which they make a paced one.
func (p *pace) credentials(secure *tls.Config) credentials.TransportCredentials {
	if secure == nil {
		return pacedCredentials{insecure.NewCredentials(), p}
	}
	return pacedCredentials{credentials.NewTLS(secure), p}
}

// pacedCredentials give the connection that they shake hands on a pace. They are the one place where a connection of gRPC's own making can be had.
type pacedCredentials struct {
	credentials.TransportCredentials
	pace *pace
}

func (c pacedCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.TransportCredentials.ClientHandshake(ctx, authority, &pacedConn{Conn: conn, pace: c.pace})
}

func (c pacedCredentials) Clone() credentials.TransportCredentials {
	return pacedCredentials{c.TransportCredentials.Clone(), c.pace}
}

// pacedConn is a connection that one goroutine reads.
type pacedConn struct {
	net.Conn
	pace  *pace
	more  bool // the last read took all that it had room for
	began time.Time
	quick int // reads of the stream so far
}

// Read implements net.Conn.
func (c *pacedConn) Read(b []byte) (int, error) {
	if !c.more {
		c.hold()
	}
	n, err := c.Conn.Read(b)
	if !c.more {
		now := time.Now()
		if now.Sub(c.began) < paceGap {
			c.quick++
		} else {
			c.quick = 0
		}
		c.began = now
	}
	c.more = n == len(b)
	return n, err
}

// hold waits until it is time for the next read.
func (c *pacedConn) hold() {
	wait := paceEvery - time.Since(c.began)
	if c.quick < paceAfter || wait <= 0 || c.pace.calls.Load() > 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for c.pace.calls.Load() == 0 {
		select {
		case <-timer.C:
			return
		case <-c.pace.begun: // perhaps of a call that has ended since
		}
	}
}
