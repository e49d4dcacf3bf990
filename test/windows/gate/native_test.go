package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/test/windows/emulator"
)

// inProcess is a Windows node whose agent, all but its pipe and its DLLs, runs in the test.
type inProcess struct {
	*emulator.Server
	hns    *hns.Client
	net    string
	store  *dstest.Memory
	agent  *agent.Agent
	socket string
}

func newInProcess(t *testing.T, timeout time.Duration) *inProcess {
	t.Helper()
	em := emulator.New(emulator.Options{Build: emulator.Server2022})
	n := &inProcess{Server: em, hns: hns.NewClient(em.Calls()), store: dstest.NewMemory(), socket: filepath.Join(t.TempDir(), "s")}
	n.net = azureNetwork(t, n.hns)
	for _, o := range policies() {
		n.put(t, o)
	}
	log := slog.New(slog.DiscardHandler)
	driver, err := windows.New(windows.Config{HNS: n.hns, Log: log, Patience: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	n.agent = agent.New(agent.Options{Host: dataplane.Host{Node: nodeName}, Store: n.store, Dataplane: driver, Log: log,
		Metrics: agent.NewMetrics(prometheus.NewRegistry()), DriftInterval: time.Second})
	s, err := server.New(server.Options{Socket: n.socket, Node: nodeName, Guest: true, InterfacePrefix: "fld", Timeout: timeout,
		Store: n.store, Pods: storedPods{n.store}, Loop: n.agent, HNS: n.hns, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	serveCtx, stopServing := context.WithCancel(context.Background())
	loopCtx, stopLoop := context.WithCancel(context.Background())
	var serving, looping sync.WaitGroup
	serving.Go(func() { report(t, s.Serve(serveCtx)) })
	looping.Go(func() { report(t, n.agent.Run(loopCtx)) })
	t.Cleanup(func() {
		stopServing()
		serving.Wait()
		stopLoop()
		looping.Wait()
		report(t, driver.Close())
	})
	eventually(t, n.agent.Ready)
	if err := s.Rebuild(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := cni.Call(t.Context(), n.socket, &cni.Request{Verb: cni.Status, Config: json.RawMessage(`{"name":"azure"}`)})
		return err
	})
	return n
}

func report(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

func (n *inProcess) put(t *testing.T, o v3.Object) {
	t.Helper()
	if _, err := n.store.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func (n *inProcess) connect(t *testing.T, name, addr string) pod {
	return connect(t, n.hns, n.net, name, addr)
}

func (n *inProcess) add(t *testing.T, p pod) error {
	t.Helper()
	_, err := cni.Call(t.Context(), n.socket, &cni.Request{Verb: cni.Add, ContainerID: p.name, Netns: p.namespace, IfName: "eth0",
		Args:   "K8S_POD_NAMESPACE=web;K8S_POD_NAME=" + p.name,
		Config: json.RawMessage(`{"cniVersion":"0.3.0","name":"azure","mode":"gate","prevResult":` + p.result() + `}`)})
	return err
}

// storedPods are pods of a store.
type storedPods struct{ datastore.Store }

func (p storedPods) Pod(ctx context.Context, namespace, name string) (*v3.WorkloadEndpoint, error) {
	o, err := p.Get(ctx, v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v3.WorkloadEndpoint), nil
}

// TestGateWhenHNSFails: an ADD answers after the faults that pass, and fails with those that stay, in time; the pod's next sandbox is not held up by them.
func TestGateWhenHNSFails(t *testing.T) {
	for _, code := range []uint32{0x803b0015, 0x800706ba, 0x80070005, 0x803b0017} {
		t.Run(fmt.Sprintf("%#x", code), func(t *testing.T) {
			t.Parallel()
			n := newInProcess(t, 2*time.Second)
			passing := n.connect(t, "passing", "10.224.0.7")
			for nth := range 2 {
				n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: passing.endpoint, Nth: nth + 1, Code: code})
			}
			if err := n.add(t, passing); err != nil || !policed(t, n.Server, passing) {
				t.Errorf("after two faults: %v, policed %v", err, policed(t, n.Server, passing))
			}
			staying := n.connect(t, "staying", "10.224.0.8")
			disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: staying.endpoint, Code: code})
			var e *cni.Error
			if err := n.add(t, staying); !errors.As(err, &e) || e.Code != 11 || !strings.Contains(e.Msg, "policy is not in force") || !strings.Contains(e.Msg, staying.endpoint) {
				t.Errorf("with a fault that stays: %v", err)
			}
			disarm()
			if err := n.hns.DeleteEndpoint(staying.endpoint); err != nil { // as the other plugin, when the runtime gives the sandbox up
				t.Fatal(err)
			}
			next := n.connect(t, "staying", "10.224.0.8")
			if err := n.add(t, next); err != nil || !policed(t, n.Server, next) {
				t.Errorf("when the fault has gone: %v, policed %v", err, policed(t, n.Server, next))
			}
		})
	}
}

// TestWithoutGate: a pod that came without the gate has no record; it is policed by its address, and counted until a container of it comes by the gate.
func TestWithoutGate(t *testing.T) {
	n := newInProcess(t, 10*time.Second)
	p := n.connect(t, "early", "10.224.0.7")
	seen := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{Orchestrator: "k8s", Node: nodeName, Pod: "early", Endpoint: "eth0",
		IPNetworks: []string{p.addr + "/32"}, Profiles: []string{"kns.web"}}}
	seen.Kind, seen.APIVersion, seen.Namespace, seen.Name = string(v3.KindWorkloadEndpoint), v3.APIVersion, "web", "early"
	n.put(t, seen)
	eventually(t, func() error {
		if !policed(t, n.Server, p) {
			return errors.New("a pod that came without the gate is not policed")
		}
		return nil
	})
	eventually(t, func() error {
		if got := n.agent.Ungated(); !slices.Equal(got, []string{"pod/web/early"}) {
			return fmt.Errorf("ungated: %v", got)
		}
		return nil
	})
	if err := n.hns.DeleteEndpoint(p.endpoint); err != nil {
		t.Fatal(err)
	}
	next := n.connect(t, "early", "10.224.0.9")
	if err := n.add(t, next); err != nil || !policed(t, n.Server, next) {
		t.Fatalf("its next container: %v", err)
	}
	eventually(t, func() error {
		if got := n.agent.Ungated(); len(got) != 0 {
			return fmt.Errorf("ungated: %v", got)
		}
		return nil
	})
}
