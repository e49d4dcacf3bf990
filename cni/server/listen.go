package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/felid-net/felid/cni"
)

const (
	maxConnections = 256
	// ioTimeout is how long a request may take to arrive, and a response to be taken.
	ioTimeout = 5 * time.Second
)

// Serve listens on the socket and answers until ctx ends, and then until what has begun is done or undone, for which the loop is needed. It may begin before Rebuild has
// returned: plugins are told to try again.
func (s *Server) Serve(ctx context.Context) error {
	l, err := listen(s.o.Socket)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.o.Socket, err)
	}
	defer l.release()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	work, abort := graceful(ctx)
	defer abort()
	var serving sync.WaitGroup
	defer serving.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		slots <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) || !pause(ctx) {
				return fmt.Errorf("accepting on %s: %w", s.o.Socket, err)
			}
			<-slots
			s.o.Log.Error("a connection of the CNI plugin was lost", "error", err)
			continue
		}
		serving.Go(func() {
			defer func() { <-slots }()
			s.serve(work, conn)
		})
	}
}

// graceful is a context that ends stopGrace after ctx.
func graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(stopGrace, func() { cancel(errors.New("the agent stops")) })
	})
	return work, func() { stop(); cancel(nil) }
}

// pause lets a shortage of descriptors or memory pass; false if ctx ended.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// serve answers the one request of a connection. If the plugin goes away meanwhile, the request is withdrawn.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(ioTimeout))
	req := new(cni.Request)
	if err := cni.ReadMessage(conn, req); err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			refusal := &cni.Response{Error: &cni.Error{Code: 6, Msg: "felid agent: reading the request: " + err.Error()}}
			_ = cni.WriteMessage(conn, refusal)
		}
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_ = conn.SetDeadline(time.Time{})
	go func() {
		// The plugin sends nothing more: this returns when it hangs up, or at our own Close.
		_, _ = conn.Read(make([]byte, 1))
		cancel(errors.New("the plugin hung up"))
	}()
	resp := s.do(ctx, req)
	_ = conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	if err := cni.WriteMessage(conn, resp); err != nil {
		s.o.Log.Warn("the CNI plugin did not take its answer", "verb", req.Verb, "container", req.ContainerID, "error", err)
	}
}
