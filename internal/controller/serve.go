package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/felid-net/felid/datastore"
)

// stuckAfter is how long nothing may turn before /healthz says that the process hangs.
const stuckAfter = 90 * time.Second

// Service is a whole controller process.
type Service struct {
	Store    datastore.Store
	Settings Settings
	Lease    datastore.LeaseStore // nil: it works without asking others, who do no harm
	Name     string               // of this process, in the lease
	Listen   string               // address of /healthz, /readyz and /metrics; "": none
	Log      *slog.Logger

	beat            atomic.Int64 // unix nanoseconds of the last turn
	leading, inSync atomic.Bool
}

// Run works until ctx ends, and gives up the lease.
func (s *Service) Run(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := NewMetrics(registry)
	s.alive()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if s.Listen != "" {
		group.Go(func() error { return serve(ctx, s.Listen, s.handler(registry)) })
	}
	group.Go(func() error {
		defer cancel()
		return s.elect(ctx, func(ctx context.Context) error { return s.lead(ctx, metrics) })
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Service) elect(ctx context.Context, work func(context.Context) error) error {
	if s.Lease == nil {
		s.Log.Info("this datastore has no leases: this controller works whether or not there are others")
		return work(ctx)
	}
	e := &Election{Lease: s.Lease, Name: s.Name, Log: s.Log, Beat: func() {
		if !s.leading.Load() {
			s.alive()
		}
	}}
	return e.Run(ctx, work)
}

// lead is one term of leadership.
func (s *Service) lead(ctx context.Context, metrics *Metrics) error {
	s.leading.Store(true)
	metrics.Leading(true)
	defer func() {
		s.leading.Store(false)
		s.inSync.Store(false)
		metrics.Leading(false)
	}()
	return Run(ctx, Options{Store: s.Store, Reconcilers: All(s.Settings), Log: s.Log, Metrics: metrics, Alive: func(inSync bool) {
		s.alive()
		s.inSync.Store(inSync)
	}})
}

func (s *Service) alive() { s.beat.Store(time.Now().UnixNano()) }

// handler serves /healthz (something turns), /readyz (a leader that has seen everything, or one that waits for its turn) and /metrics.
func (s *Service) handler(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if since := time.Since(time.Unix(0, s.beat.Load())); since > stuckAfter {
			http.Error(w, fmt.Sprintf("nothing has turned for %s", since.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !s.leading.Load():
			fmt.Fprintln(w, "ok: another controller leads, or none yet")
		case !s.inSync.Load():
			http.Error(w, "not in sync with the datastore yet"+s.unheard(), http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok: leading")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// unheard names what the datastore does not hear of, as far as it knows that itself.
func (s *Service) unheard() string {
	store, ok := s.Store.(interface{ Outages() []datastore.Outage })
	if !ok {
		return ""
	}
	var text strings.Builder
	for _, o := range store.Outages() {
		fmt.Fprintf(&text, "; %s: %s", o.Kind, o.Reason)
	}
	return text.String()
}

// serve answers at addr until ctx ends.
func serve(ctx context.Context, addr string, handler http.Handler) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("health and metrics: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("health and metrics: %w", err)
	}
	return nil
}
