package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stuckAfter is how long the loop may take for one turn before /healthz says that it hangs.
const stuckAfter = 90 * time.Second

// Handler serves /healthz (the loop turns), /readyz (everything is in force), /status, /status/report (the
// NodeReport), /status/policies (?name=[NS/]NAME for one) and /metrics.
func (a *Agent) Handler(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		since := time.Since(time.Unix(0, a.beat.Load()))
		if since > stuckAfter {
			http.Error(w, fmt.Sprintf("the loop has not turned for %s", since.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Status().Enforcing(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		serveJSON(w, a.Status())
	})
	mux.HandleFunc("GET /status/report", func(w http.ResponseWriter, _ *http.Request) {
		serveJSON(w, NewNodeReport(a.Status(), nil, time.Now()))
	})
	mux.HandleFunc("GET /status/policies", a.servePolicyReports)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// servePolicyReports asks the loop, which is busy at times.
func (a *Agent) servePolicyReports(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	reports, err := a.PolicyReports(ctx, r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, fmt.Sprintf("the loop is busy: %v", err), http.StatusServiceUnavailable)
		return
	}
	serveJSON(w, reports)
}

func serveJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the peer went away: nothing to tell it
}

// reportTimeout is how long a request for reports waits for the loop.
const reportTimeout = 10 * time.Second

// Serve answers at addr until ctx ends.
func Serve(ctx context.Context, addr string, handler http.Handler) error {
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
