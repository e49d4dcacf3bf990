package kube

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/test/kubernetes"
)

// proxy stands between a Store and a server. It reads HTTP.
type proxy struct {
	*httptest.Server

	mu        sync.Mutex
	intercept func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	requests  []string                                          // paths with queries
}

// newProxy starts a proxy; config is what a Store that goes through it is opened with.
func newProxy(t *testing.T, server *kubernetes.Server) (p *proxy, config *rest.Config) {
	t.Helper()
	transport, err := rest.TransportFor(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(server.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	back := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p = &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.URL.String())
		intercept := p.intercept
		p.mu.Unlock()
		if intercept == nil || !intercept(w, r) {
			back.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p, &rest.Config{Host: p.URL}
}

// on has f see every request from now on.
func (p *proxy) on(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept = f
}

// count is how many requests there were that match.
func (p *proxy) count(match func(u *url.URL) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, text := range p.requests {
		if u, err := url.Parse(text); err == nil && match(u) {
			n++
		}
	}
	return n
}

func isWatch(u *url.URL) bool { return u.Query().Get("watch") == "true" }
func isList(u *url.URL) bool {
	return !isWatch(u) && u.Query().Get("limit") != "" && u.Query().Get("limit") != "1"
}

// wire is a proxy that knows nothing of what it carries, and may stop to carry it.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns []net.Conn
	stuck map[net.Conn]bool
}

// newWire starts one; config leads through it.
func newWire(t *testing.T, server *kubernetes.Server) (w *wire, config *rest.Config) {
	t.Helper()
	target, err := url.Parse(server.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wire{listener: listener, target: target.Host, stuck: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		w.cut()
	})
	go w.accept()
	config = rest.CopyConfig(server.Config)
	config.Host = "https://" + listener.Addr().String()
	return w, config
}

func (w *wire) accept() {
	for {
		front, err := w.listener.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = front.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, front, back)
		w.mu.Unlock()
		go w.carry(front, back, front)
		go w.carry(back, front, front)
	}
}

// carry copies until the end; of a stuck connection it throws away what it reads.
func (w *wire) carry(from, to, front net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		stuck := w.stuck[front]
		w.mu.Unlock()
		if !stuck && n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			if stuck && err == io.EOF {
				return // the other side does not hear of that either
			}
			_ = to.Close()
			return
		}
	}
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

// stall has all connections that there are carry nothing any more, without an end.
func (w *wire) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		w.stuck[conn] = true
	}
}
