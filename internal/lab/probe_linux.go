package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Serve answers every TCP connection on the ports with name and a newline, on all addresses, until ctx ends. It writes a byte to
// ready once all ports are open.
func Serve(ctx context.Context, name, ports string, ready io.Writer) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for port := range strings.SplitSeq(ports, ",") {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		go answer(l, name)
	}
	if _, err := ready.Write([]byte("\n")); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func answer(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, name+"\n") // the peer went away: it has its verdict
		c.Close()
	}
}

// Attempt is one connection to try.
type Attempt struct {
	From *Pod
	To   *Pod
	Addr string // of To
	Port uint16
}

// Outcome is what became of it.
type Outcome struct {
	Attempt
	// Allowed: the peer answered. Otherwise the packets were dropped.
	Allowed bool
	// Err is anything else that happened, such as a refusal: neither of felid's verdicts looks like that.
	Err error
}

// Attempts are all connections among the lab's pods: each pair, each port, each address family, in that order.
func (l *Lab) Attempts() []Attempt {
	var out []Attempt
	for _, from := range l.Pods {
		for _, to := range l.Pods {
			if from == to {
				continue
			}
			for _, port := range to.Ports {
				for _, addr := range to.Addr[:min(len(to.Addr), len(from.Addr))] {
					out = append(out, Attempt{from, to, addr, port})
				}
			}
		}
	}
	return out
}

// Try makes all attempts at once and returns their outcomes in the same order. A connection that gets no answer within timeout has
// been dropped.
func (l *Lab) Try(ctx context.Context, attempts []Attempt, timeout time.Duration) []Outcome {
	out := make([]Outcome, len(attempts))
	var wg sync.WaitGroup
	for i, a := range attempts {
		wg.Go(func() {
			out[i] = Outcome{Attempt: a}
			out[i].Allowed, out[i].Err = l.try(ctx, a, timeout)
		})
	}
	wg.Wait()
	return out
}

func (l *Lab) try(ctx context.Context, a Attempt, timeout time.Duration) (allowed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var conn net.Conn
	err = Within(l.PodSpace(a.From), func() error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.Addr, strconv.Itoa(int(a.Port))))
		conn = c
		return err
	})
	if err != nil {
		if timedOut(err) {
			return false, nil
		}
		return false, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return false, err
	}
	name, err := io.ReadAll(conn)
	if err != nil {
		return false, err
	}
	if got := strings.TrimSpace(string(name)); got != a.To.ID() {
		return false, fmt.Errorf("%s answered at %s, not %s", got, a.Addr, a.To.ID())
	}
	return true, nil
}

func timedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout() || errors.Is(err, syscall.ETIMEDOUT)
}
