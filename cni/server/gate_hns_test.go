package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/test/windows/emulator"
)

// heldLoop is a node loop in memory that brings nothing in force while it is held.
type heldLoop struct {
	mu      sync.Mutex
	gate    chan struct{} // closed: not held
	inForce map[v3.Key]*v3.WorkloadEndpoint
}

func newHeldLoop() *heldLoop {
	l := &heldLoop{gate: make(chan struct{}), inForce: map[v3.Key]*v3.WorkloadEndpoint{}}
	close(l.gate)
	return l
}

// hold makes endpoints wait until release.
func (l *heldLoop) hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := make(chan struct{})
	l.gate = gate
	return func() { close(gate) }
}

func (l *heldLoop) Add(ctx context.Context, wep *v3.WorkloadEndpoint) error {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inForce[v3.KeyOf(wep)] = wep
	return nil
}

func (l *heldLoop) Remove(_ context.Context, wep *v3.WorkloadEndpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inForce, v3.KeyOf(wep))
	return nil
}

func (l *heldLoop) Ready() error { return nil }

// enforced is the interface of a pod whose policy is in force; "" for none.
func (l *heldLoop) enforced(pod string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wep := l.inForce[v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: pod}]; wep != nil {
		return wep.Spec.InterfaceName
	}
	return ""
}

// windowsNode is a node with HNS whose pods another plugin connects.
type windowsNode struct {
	*emulator.Server
	hns    *hns.Client
	net    string
	store  *dstest.Memory
	loop   *heldLoop
	socket string
	server *server.Server
	stop   func()
}

func newWindowsNode(t *testing.T, timeout time.Duration) *windowsNode {
	t.Helper()
	em := emulator.New(emulator.Options{Build: emulator.Server2022})
	w := &windowsNode{Server: em, hns: hns.NewClient(em.Calls()), store: dstest.NewMemory(), loop: newHeldLoop()}
	w.makeNetwork(t)
	w.start(t, timeout)
	return w
}

// makeNetwork makes the other plugin's network.
func (w *windowsNode) makeNetwork(t *testing.T) {
	t.Helper()
	network, err := w.hns.CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge",
		Subnets: []hns.Subnet{{Prefix: netip.MustParsePrefix("10.224.0.0/16"), Gateway: netip.MustParseAddr("10.224.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	w.net = network.ID
}

// start starts an agent that knows nothing of those before it.
func (w *windowsNode) start(t *testing.T, timeout time.Duration) {
	t.Helper()
	w.socket = server.NewSocket(t)
	s, err := server.New(server.Options{Socket: w.socket, Node: "win-1", Guest: true, InterfacePrefix: "fld", Timeout: timeout,
		Store: w.store, Pods: stored{w.store}, Loop: w.loop, HNS: w.hns})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	w.server = s
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(w.stop)
	w.rebuild(t)
	eventually(t, func() error { // under Wine the first call is lost
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := cni.Call(ctx, w.socket, &cni.Request{Verb: cni.Status, Config: json.RawMessage(`{"name":"azure"}`)})
		return err
	})
}

func (w *windowsNode) rebuild(t *testing.T) {
	t.Helper()
	if err := w.server.Rebuild(t.Context(), w.records(t), true); err != nil {
		t.Fatal(err)
	}
}

func (w *windowsNode) records(t *testing.T) (all []*v3.WorkloadEndpoint) {
	t.Helper()
	list, err := w.store.List(t.Context(), v3.KindWorkloadEndpoint, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Objects {
		all = append(all, o.(*v3.WorkloadEndpoint))
	}
	return all
}

func (w *windowsNode) record(t *testing.T, pod string) *v3.WorkloadEndpoint {
	t.Helper()
	for _, rec := range w.records(t) {
		if rec.Name == pod {
			return rec
		}
	}
	return nil
}

// stored finds pods in a store.
type stored struct{ datastore.Store }

func (p stored) Pod(ctx context.Context, namespace, name string) (*v3.WorkloadEndpoint, error) {
	o, err := p.Get(ctx, v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v3.WorkloadEndpoint), nil
}

// container is what the runtime and the other plugin made.
type container struct{ id, namespace, endpoint, addr string }

// connect makes a container's namespace and its endpoint in it, as containerd and the other plugin do.
func (w *windowsNode) connect(t *testing.T, id, addr string) container {
	t.Helper()
	ns, err := w.hns.CreateNamespace("")
	if err != nil {
		t.Fatal(err)
	}
	c := container{id: id, namespace: ns.ID, addr: addr}
	c.endpoint = w.attach(t, ns.ID, id, addr)
	return c
}

func (w *windowsNode) attach(t *testing.T, namespace, id, addr string) string {
	t.Helper()
	ep, err := w.hns.CreateEndpoint(hns.NewEndpoint{Name: id + "_azure", Network: w.net, Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/16")}})
	if err == nil {
		err = w.hns.Attach(namespace, ep.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ep.ID
}

// request is the gate's for a container, which calls the pod by the container's id. The interface of the result has the endpoint's name, as
// with win-bridge.
func (c container) request(verb string) *cni.Request {
	return &cni.Request{Verb: verb, ContainerID: c.id, Netns: c.namespace, IfName: "eth0", Args: "K8S_POD_NAMESPACE=web;K8S_POD_NAME=" + c.id,
		Config: json.RawMessage(`{"cniVersion":"1.0.0","name":"azure","mode":"gate","prevResult":` + c.result() + `}`)}
}

func (c container) result() string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","interfaces":[{"name":"%s_azure"}],"ips":[{"address":"%s/16","interface":0}],"other":"kept"}`, c.id, c.addr)
}

func (w *windowsNode) call(t *testing.T, c container, verb string) (*cni.Response, error) {
	t.Helper()
	return cni.Call(t.Context(), w.socket, c.request(verb))
}

func mustCall(t *testing.T, w *windowsNode, c container, verb string) {
	t.Helper()
	if _, err := w.call(t, c, verb); err != nil {
		t.Fatalf("%s of %s: %v", verb, c.id, err)
	}
}

func eventually(t *testing.T, what func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func wantCode(t *testing.T, what string, err error, code uint, says string) {
	t.Helper()
	var e *cni.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), says) {
		t.Errorf("%s: %v; want code %d and %q", what, err, code, says)
	}
}

// TestGateOnHNS: the result goes on as it was when policy is in force, and not before; the record names the endpoint.
func TestGateOnHNS(t *testing.T) {
	w := newWindowsNode(t, 10*time.Second)
	c := w.connect(t, "web-1", "10.224.0.7")
	release := w.loop.hold()
	type answer struct {
		resp *cni.Response
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := cni.Call(t.Context(), w.socket, c.request(cni.Add))
		answered <- answer{resp, err}
	}()
	eventually(t, func() error { // it is written beside the waiting: from then on only policy is missing
		if w.record(t, "web-1") == nil {
			return errors.New("no record")
		}
		return nil
	})
	select {
	case a := <-answered:
		t.Fatalf("answered before policy was in force: %+v, %v", a.resp, a.err)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	a := <-answered
	if a.err != nil || string(a.resp.Result) != c.result() {
		t.Errorf("%v, %+v; want %s", a.err, a.resp, c.result())
	}
	if rec := w.record(t, "web-1"); rec.Spec.InterfaceName != c.endpoint || rec.Spec.IPNetworks[0] != "10.224.0.7/32" || w.loop.enforced("web-1") != c.endpoint {
		t.Errorf("record %+v, in force at %q, want endpoint %s", rec.Spec, w.loop.enforced("web-1"), c.endpoint)
	}
	mustCall(t, w, c, cni.Check)
	mustCall(t, w, c, cni.Del)
	if w.record(t, "web-1") != nil || w.loop.enforced("web-1") != "" {
		t.Errorf("after DEL: %v", w.record(t, "web-1"))
	}
	if _, err := w.hns.Endpoint(c.endpoint); err != nil {
		t.Errorf("the endpoint is the other plugin's to delete: %v", err)
	}
	mustCall(t, w, c, cni.Del)
}

// TestGateOnHNSRefuses: a container whose endpoint can't be told does not start, and nothing of it is left.
func TestGateOnHNSRefuses(t *testing.T) {
	w := newWindowsNode(t, 300*time.Millisecond)
	good := w.connect(t, "good", "10.224.0.7")
	two := w.connect(t, "two", "10.224.0.8")
	w.attach(t, two.namespace, "second", "10.224.0.9")
	none := w.connect(t, "none", "10.224.0.10")
	if err := w.hns.Detach(none.namespace, none.endpoint); err != nil {
		t.Fatal(err)
	}
	gone := w.connect(t, "gone", "10.224.0.11")
	w.Vanish(hns.KindEndpoint, gone.endpoint)
	change := func(f func(*container)) container { c := good; f(&c); return c }
	for _, tt := range []struct {
		name string
		c    container
		code uint
		says string
	}{
		{"dockershim's way", change(func(c *container) { c.namespace = "container:abc" }), 8, `"container:abc" is not the ID of a namespace of HNS`},
		{"a namespace that went", change(func(c *container) { c.namespace = "6B3C1C61-0000-0000-0000-000000000001" }), 11, "looking for the endpoint of namespace 6B3C1C61"},
		{"another endpoint's address", change(func(c *container) { c.addr = "10.224.0.99" }), 11, "10.224.0.99 is of something else"},
		{"two endpoints", two, 11, "felid polices one of a container"},
		{"no endpoint", none, 11, "no endpoint is attached"},
		{"an endpoint that went", gone, 11, "no endpoint is attached"},
	} {
		_, err := w.call(t, tt.c, cni.Add)
		wantCode(t, tt.name, err, tt.code, tt.says)
	}
	w.Stop()
	_, err := w.call(t, good, cni.Add)
	wantCode(t, "HNS stopped", err, 11, "looking for the endpoint of namespace")
	w.Start()
	held := make(chan struct{})
	disarm := w.Inject(emulator.Fault{Op: emulator.OpQuery, Kind: hns.KindNamespace, Do: func() { <-held }})
	_, err = w.call(t, good, cni.Add)
	wantCode(t, "HNS hangs", err, 11, "HNS has not answered: not done within 300ms")
	disarm()
	close(held)
	if recs := w.records(t); len(recs) > 0 {
		t.Errorf("records of pods that did not start: %v", recs)
	}
	mustCall(t, w, good, cni.Add)
}

// TestGateOnHNSChecks: CHECK finds what is not as it was.
func TestGateOnHNSChecks(t *testing.T) {
	w := newWindowsNode(t, 10*time.Second)
	c := w.connect(t, "web-1", "10.224.0.7")
	_, err := w.call(t, c, cni.Check)
	wantCode(t, "before ADD", err, 101, "did not pass this gate")
	mustCall(t, w, c, cni.Add)
	other := c
	other.addr = "10.224.0.8"
	_, err = w.call(t, other, cni.Check)
	wantCode(t, "another address", err, 101, "10.224.0.8 of prevResult is not on record")
	if err := w.hns.DeleteEndpoint(c.endpoint); err != nil {
		t.Fatal(err)
	}
	_, err = w.call(t, c, cni.Check)
	wantCode(t, "without its endpoint", err, 101, "no endpoint is attached")
	w.attach(t, c.namespace, "web-1", "10.224.0.7")
	_, err = w.call(t, c, cni.Check)
	wantCode(t, "another endpoint", err, 101, "not of "+c.endpoint)
	mustCall(t, w, c, cni.Add)
	mustCall(t, w, c, cni.Check)
}

// TestGateOnHNSDeletesWhateverIsMissing: neither HNS nor what was in it is needed for DEL.
func TestGateOnHNSDeletesWhateverIsMissing(t *testing.T) {
	w := newWindowsNode(t, 10*time.Second)
	for i, missing := range []func(container){
		func(c container) { w.Vanish(hns.KindEndpoint, c.endpoint) },
		func(c container) { w.Vanish(hns.KindNamespace, c.namespace) },
		func(container) { w.Reboot(); w.makeNetwork(t) },
		func(container) { w.Server.Stop() },
	} {
		c := w.connect(t, fmt.Sprintf("web-%d", i), fmt.Sprintf("10.224.1.%d", i+1))
		mustCall(t, w, c, cni.Add)
		missing(c)
		c.namespace = "" // as containerd says it of a sandbox that is gone
		mustCall(t, w, c, cni.Del)
		if rec := w.record(t, c.id); rec != nil {
			t.Errorf("case %d: record %+v", i, rec)
		}
	}
}

// TestGateOnHNSRebuilds: an agent without memory keeps the records whose endpoints are there, and waits for HNS to say which.
func TestGateOnHNSRebuilds(t *testing.T) {
	w := newWindowsNode(t, 10*time.Second)
	stays, goes := w.connect(t, "stays", "10.224.0.7"), w.connect(t, "goes", "10.224.0.8")
	mustCall(t, w, stays, cni.Add)
	mustCall(t, w, goes, cni.Add)
	w.stop()
	if err := w.hns.DeleteEndpoint(goes.endpoint); err != nil {
		t.Fatal(err)
	}
	w.start(t, 10*time.Second)
	if w.record(t, "stays") == nil || w.record(t, "goes") != nil || w.loop.enforced("goes") != "" {
		t.Errorf("stays %v, goes %v", w.record(t, "stays"), w.record(t, "goes"))
	}
	mustCall(t, w, stays, cni.Check)
	w.Server.Stop()
	if err := w.server.Rebuild(t.Context(), w.records(t), true); !hns.Unavailable(err) {
		t.Errorf("with HNS stopped: %v", err)
	}
	if w.record(t, "stays") == nil {
		t.Error("a record went because HNS could not be asked")
	}
}

// TestOwnerOnHNS: felid's own network on Windows is not in this version, and says so.
func TestOwnerOnHNS(t *testing.T) {
	em := emulator.New(emulator.Options{})
	_, err := server.New(server.Options{Socket: server.NewSocket(t), Node: "n", InterfacePrefix: "fld", Loop: newHeldLoop(), HNS: hns.NewClient(em.Calls())})
	if err == nil || !strings.Contains(err.Error(), "valid: guest") {
		t.Errorf("%v", err)
	}
	w := newWindowsNode(t, time.Second)
	req := w.connect(t, "web-1", "10.224.0.7").request(cni.Add)
	req.Config = json.RawMessage(`{"cniVersion":"1.0.0","name":"azure"}`)
	_, err = cni.Call(t.Context(), w.socket, req)
	wantCode(t, "as the network", err, 7, `valid: "gate", after another plugin`)
}
