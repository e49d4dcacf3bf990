package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore/dstest"
)

// probed is a dataplane that has tried its host.
type probed struct{ dataplane.Dataplane }

func (probed) Probed() []v1alpha1.Assumption {
	return []v1alpha1.Assumption{{Name: "H14", Outcome: "False", Message: strings.Repeat("cut ", 1000)}}
}

// TestAssumptionsAreReported: what was found false is in status, and in the report as far as it fits.
func TestAssumptionsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{
			Host: dataplane.Host{Node: "n1", Owner: true}, Store: dstest.NewMemory(), Dataplane: probed{dataplane.NewFake(nil)},
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Second)
		synctest.Wait()
		s := a.Status()
		r := NewNodeReport(s, nil, time.Now())
		if len(s.Assumptions) != 1 || len(r.Status.Assumptions) != 1 || r.Status.Assumptions[0].Name != "H14" || len(r.Status.Assumptions[0].Message) > maxMessage {
			t.Errorf("status %+v, report %+v", s.Assumptions, r.Status.Assumptions)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
