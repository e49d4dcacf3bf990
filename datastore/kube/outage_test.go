package kube

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/kubernetes"
)

func recordAgent(agents chan<- string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case agents <- r.UserAgent():
		default:
		}
		return false
	}
}

func testStoredThroughOutage(t *testing.T, server *kubernetes.Server) {
	applyLoose(t, server, v3.KindTier, v3.KindNetworkSet)
	s := openOn(t, server, quick)
	t.Cleanup(func() { empty(t, s, v3.KindTier) })
	kept := mustCreate(t, s, newTier("kept", 1))
	f := syncOf(t, s, v3.KindTier, v3.KindNetworkSet)
	f.until("in sync", func() bool { return f.inSync && f.has(kept) })
	server.Kill()
	before := time.Now()
	f.until("both are missed", func() bool { return len(s.Outages()) == 2 })
	if since := s.Outages()[0].Since; since.IsZero() || since.After(before) {
		t.Errorf("missed since %s, killed at %s", since, before)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	created := mustCreate(t, s, newTier("after", 2))
	f.until("the new one", func() bool { return f.has(created) })
	f.until("all are heard", func() bool { return s.Outages() == nil })
	if len(f.updates) != 2 || !f.has(kept) {
		t.Errorf("delivered %v: want what differs alone", f.updates)
	}
}

func testStoredEmptied(t *testing.T, server *kubernetes.Server) {
	applyLoose(t, server, v3.KindTier)
	s := openOn(t, server, quick, func(o *Options) { o.Patience = 3 * time.Second })
	for _, name := range []string{"a", "b", "c"} {
		mustCreate(t, s, newTier(name, 1))
	}
	f := syncOf(t, s, v3.KindTier)
	f.until("in sync", func() bool { return f.inSync && len(f.have) == 3 })
	if err := server.RestartEmpty(); err != nil {
		t.Fatal(err)
	}
	applyLoose(t, server, v3.KindTier)
	served := time.Now()
	doubted := false
	f.until("believed", func() bool {
		for _, h := range s.Health() {
			doubted = doubted || h.Doubted == 3
		}
		return len(f.have) == 0
	})
	if waited := time.Since(served); waited < 2*time.Second || !doubted {
		t.Errorf("believed after %s; doubted: %t", waited, doubted)
	}
	created := mustCreate(t, s, newTier("d", 1))
	f.until("followed again", func() bool { return f.has(created) && s.Outages() == nil })
}

func TestConnectionCut(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	w, config := newWire(t, server)
	s := openOn(t, server, quick, func(o *Options) { o.Config = config })
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindTier) })
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Watch(t.Context(), v3.KindTier, list.Revision)
	if err != nil {
		t.Fatal(err)
	}
	direct := openOn(t, server)
	for i, name := range []string{"a", "b", "c", "d"} {
		if i > 0 {
			w.cut()
		}
		created := mustCreate(t, direct, newTier(name, 1))
		select {
		case e := <-events:
			if e.Err != nil || e.Key != v3.KeyOf(created) || e.Object.GetResourceVersion() != created.GetResourceVersion() {
				t.Fatalf("got %+v, want %s: the watch goes on where it was", e, name)
			}
		case <-time.After(patience):
			t.Fatalf("no event of %s", name)
		}
	}
}

func TestConnectionStalls(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	w, config := newWire(t, server)
	s := openOn(t, server, quick, func(o *Options) { o.Config = config })
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindTier) })
	f := syncOf(t, s, v3.KindTier)
	f.until("in sync", func() bool { return f.inSync })
	until(t, "watched", func() bool { return len(s.Health()) == 1 && s.Health()[0].Synced })
	w.stall()
	began := time.Now()
	created := mustCreate(t, openOn(t, server), newTier("meanwhile", 1))
	f.until("what came meanwhile", func() bool { return f.has(created) })
	if took := time.Since(began); took > 10*time.Second { // pings of 1 s, answers within 1 s
		t.Errorf("noticed after %s", took)
	}
}

// TestWatchStalls has the connection live, and the answer to a watch stand still, as behind a proxy that is stuck.
func TestWatchStalls(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	p, config := newProxy(t, server)
	var watches atomic.Int32
	p.on(func(w http.ResponseWriter, r *http.Request) bool {
		if !isWatch(r.URL) || watches.Add(1) > 1 {
			return false
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	s := openOn(t, server, func(o *Options) {
		o.Config = config
		o.times = timing{call: 5 * time.Second, silence: time.Second, ping: time.Minute, pong: time.Minute, watching: time.Minute}
	})
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindTier) })
	f := syncOf(t, s, v3.KindTier)
	f.until("watched", func() bool { return watches.Load() > 0 })
	created := mustCreate(t, openOn(t, server), newTier("meanwhile", 1))
	f.until("what came meanwhile", func() bool { return f.has(created) })
	if n := p.count(isList); n != 1 {
		t.Errorf("%d lists, want the first alone", n)
	}
}

func TestRefusalsAndErrors(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	p, config := newProxy(t, server)
	s := openOn(t, server, quick, func(o *Options) { o.Config = config })
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindTier) })
	var refusals atomic.Int32
	p.on(func(w http.ResponseWriter, r *http.Request) bool {
		if refusals.Add(1) > 2 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return true
	})
	began := time.Now()
	mustCreate(t, s, newTier("a", 1))
	if took := time.Since(began); refusals.Load() != 3 || took < 2*time.Second {
		t.Errorf("created at the %d. attempt after %s, want the third after 2 s or more", refusals.Load(), took)
	}
	var failures atomic.Int32
	p.on(func(w http.ResponseWriter, r *http.Request) bool {
		if failures.Add(1) > 6 {
			return false
		}
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	})
	f := syncOf(t, s, v3.KindTier)
	f.until("in sync in spite of errors", func() bool { return f.inSync && len(f.have) == 1 })
	var broken atomic.Int32
	p.on(func(w http.ResponseWriter, r *http.Request) bool {
		if !isWatch(r.URL) || broken.Add(1) > 3 {
			return false
		}
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	})
	lists := p.count(isList)
	p.CloseClientConnections()
	created := mustCreate(t, openOn(t, server), newTier("b", 1))
	f.until("the watch goes on", func() bool { return f.has(created) })
	if broken.Load() < 4 || p.count(isList) != lists {
		t.Errorf("%d watches after the break, %d lists more; want 4, and none", broken.Load(), p.count(isList)-lists)
	}
}

func TestRestoredServerIsFound(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	s := openOn(t, server, quick)
	events, err := s.Watch(t.Context(), v3.KindTier, "1")
	if err != nil {
		t.Fatal(err)
	}
	wantExpired(t, events) // the server does not know what came after it any more
	s.client.withLine(storedOf(v3.KindTier), func(l *line) { l.suspect = true })
	if events, err = s.Watch(t.Context(), v3.KindTier, "1000000000"); err != nil {
		t.Fatal(err)
	}
	wantExpired(t, events) // it never had it
}
