package controller

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felid-net/felid/datastore"
)

// asks is what the handler answers.
func asks(s *Service, path string) string {
	w := httptest.NewRecorder()
	s.handler(prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		return "not ok: " + w.Body.String()
	}
	return w.Body.String()
}

// expectAnswer compares how an answer begins.
func expectAnswer(t *testing.T, s *Service, path, want string) {
	t.Helper()
	if got := asks(s, path); !strings.HasPrefix(got, want) {
		t.Errorf("%s: %q; want %q", path, got, want)
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		lease := &memoryLease{down: map[string]bool{}}
		services := map[string]*Service{}
		stop := map[string]func(){}
		for _, name := range []string{"a", "b"} {
			ctx, cancel := context.WithCancel(t.Context())
			s := &Service{Store: b.store, Settings: Settings{Status: true}, Lease: seat{lease, name}, Name: name, Log: slog.New(slog.DiscardHandler)}
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			services[name], stop[name] = s, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			b.after(time.Second)
		}
		b.after(time.Hour)
		for name, ready := range map[string]string{"a": "ok: leading", "b": "ok: another controller leads"} {
			expectAnswer(t, services[name], "/healthz", "ok")
			expectAnswer(t, services[name], "/readyz", ready)
		}
		b.store.SetDown(datastore.ErrUnreachable)
		stop["a"]()
		b.after(time.Hour)
		expectAnswer(t, services["b"], "/healthz", "ok") // it does what it can
		expectAnswer(t, services["b"], "/readyz", "not ok: not in sync")
		b.store.SetDown(nil)
		b.after(time.Minute)
		expectAnswer(t, services["b"], "/readyz", "ok: leading")
		stop["b"]()
	})
}

func TestHangingIsUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{}
		s.alive()
		time.Sleep(stuckAfter)
		expectAnswer(t, s, "/healthz", "ok")
		time.Sleep(time.Second)
		expectAnswer(t, s, "/healthz", "not ok: nothing has turned")
	})
}

// deaf is a store that does not hear of a kind.
type deaf struct{ datastore.Store }

func (deaf) Outages() []datastore.Outage {
	return []datastore.Outage{{Kind: "Tier", Reason: "forbidden"}}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	s := &Service{Store: deaf{}}
	s.leading.Store(true)
	expectAnswer(t, s, "/readyz", "not ok: not in sync with the datastore yet; Tier: forbidden")
}
