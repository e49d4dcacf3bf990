package agent

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// othersServer serves resources that somebody else keeps: no blocks of addresses.
type othersServer struct{ *dstest.Memory }

func (s othersServer) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	if kind == v3.KindIPAMBlock {
		return datastore.List{}, fmt.Errorf("%s: %w", kind, datastore.ErrNotServed)
	}
	return s.Memory.List(ctx, kind, namespace)
}

// TestGuestNeedsNoBlocks: beside Calico's own API server a guest enforces; as the owner it would wait for its definitions.
func TestGuestNeedsNoBlocks(t *testing.T) {
	for _, owner := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := New(Options{
				Host: dataplane.Host{Node: "n1", Owner: owner}, Store: othersServer{dstest.NewMemory()}, Dataplane: dataplane.NewFake(nil),
				Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- a.Run(ctx) }()
			time.Sleep(time.Minute)
			if err := a.Ready(); (err == nil) == owner {
				t.Errorf("owner %v: %v", owner, err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
