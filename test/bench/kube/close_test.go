//go:build linux

package kube

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felid-net/felid/internal/lab"
)

// BenchmarkClose: a policy that closes a port, on three nodes while labels change fifty times a second: from the API server's answer to the
// last new connection that was let in on any node. Bar: 1 s.
func BenchmarkClose(b *testing.B) {
	s := newBed(b, 3)
	var pods []*lab.Pod
	for i := 1; i <= 3; i++ {
		for _, name := range []string{"client", "server"} {
			p, err := s.pod(fmt.Sprintf("node-%d", i), fmt.Sprintf("%s-%d", name, i), map[string]string{"app": name}, 80)
			if err != nil {
				b.Fatal(err)
			}
			pods = append(pods, p)
		}
	}
	for i := range 100 {
		s.post("/api/v1/namespaces/default/pods", podObject("far", fmt.Sprintf("churn-%d", i), nil))
		s.patch(fmt.Sprintf("/api/v1/namespaces/default/pods/churn-%d/status", i), map[string]any{"status": map[string]any{
			"phase": "Running", "podIP": fmt.Sprintf("10.9.0.%d", i+1), "podIPs": []any{map[string]any{"ip": fmt.Sprintf("10.9.0.%d", i+1)}}}})
	}
	for i := range 20 {
		s.post("/apis/projectcalico.org/v3/globalnetworkpolicies", allowFrom(fmt.Sprintf("churn-%d", i), "app == 'server'", fmt.Sprintf("turn == '%d' || app == 'client'", i)))
	}
	var ended atomic.Bool
	var churn sync.WaitGroup
	churn.Go(func() { s.churn(&ended) })
	defer churn.Wait()
	defer ended.Store(true)
	var worst time.Duration
	for i := range 10 {
		took, err := s.closes(pods, fmt.Sprintf("close-%d", i))
		if err != nil {
			b.Fatal(err)
		}
		worst = max(worst, took)
	}
	b.ReportMetric(float64(worst.Milliseconds()), "slowest-ms")
}

func (s *bed) churn(ended *atomic.Bool) {
	for i := 0; !ended.Load(); i++ {
		_, _, err := s.call(http.MethodPatch, fmt.Sprintf("/api/v1/namespaces/default/pods/churn-%d", i%100), "application/merge-patch+json",
			map[string]any{"metadata": map[string]any{"labels": map[string]any{"turn": fmt.Sprint(i % 20)}}})
		if err != nil {
			s.b.Error(err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// closes measures one policy that closes port 80 of the servers, and takes it away again.
func (s *bed) closes(pods []*lab.Pod, name string) (time.Duration, error) {
	var attempts []lab.Attempt
	for i := 0; i < len(pods); i += 2 {
		server := pods[(i+3)%len(pods)] // of the next node
		attempts = append(attempts, lab.Attempt{From: pods[i], To: server, Addr: server.Addr[0], Port: 80})
	}
	deny := map[string]any{
		"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"order": 1, "selector": "app == 'server'", "types": []string{"Ingress"}, "ingress": []any{map[string]any{
			"action": "Deny", "protocol": "TCP", "destination": map[string]any{"ports": []int{80}}}}},
	}
	if err := s.until(attempts, true); err != nil {
		return 0, err
	}
	var last atomic.Int64 // when the last connection began that was let in
	var group sync.WaitGroup
	stop := make(chan struct{})
	for _, a := range attempts {
		group.Go(func() { s.probe(a, &last, stop) })
	}
	answered := s.post("/apis/projectcalico.org/v3/globalnetworkpolicies", deny)
	time.Sleep(2 * time.Second)
	close(stop)
	group.Wait()
	_, _, err := s.call(http.MethodDelete, "/apis/projectcalico.org/v3/globalnetworkpolicies/"+name, "application/json", nil)
	return max(0, time.Unix(0, last.Load()).Sub(answered)), err
}

// probe opens a connection every 5 ms.
func (s *bed) probe(a lab.Attempt, last *atomic.Int64, stop chan struct{}) {
	var group sync.WaitGroup
	defer group.Wait()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			group.Go(func() {
				if o := s.Try(s.b.Context(), []lab.Attempt{a}, 300*time.Millisecond); o[0].Allowed {
					for old := last.Load(); now.UnixNano() > old && !last.CompareAndSwap(old, now.UnixNano()); old = last.Load() {
					}
				}
			})
		}
	}
}

// until waits until every attempt is allowed.
func (s *bed) until(attempts []lab.Attempt, allowed bool) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		wrong := 0
		for _, o := range s.Try(s.b.Context(), attempts, time.Second) {
			if o.Allowed != allowed {
				wrong++
			}
		}
		if wrong == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d connections are not as they should be", wrong, len(attempts))
		}
	}
}
