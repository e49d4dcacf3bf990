package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/test/cnitest"
)

// newGuest is a twin whose pods another plugin connects.
func newGuest(t *testing.T, timeout string) *twin {
	t.Helper()
	w := newTwin(t, lent)
	w.kill(t)
	w.guest, w.timeout = "yes", timeout
	w.start(t)
	return w
}

const prevResult = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.9.0.5/16"}],"other":"kept"}`

// connected is a pod as the other plugin leaves it, and the gate's request for it.
func connected(t *testing.T, w *twin, host, verb string) *cni.Request {
	t.Helper()
	pod := cnitest.NewNetns(t, "pod")
	cnitest.Command(t, "ip", "-n", w.netns, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", pod)
	cnitest.Command(t, "ip", "-n", w.netns, "link", "set", host, "up")
	return &cni.Request{Verb: verb, ContainerID: "c-" + host, Netns: "/run/netns/" + pod, IfName: "eth0", Args: "K8S_POD_NAMESPACE=web;K8S_POD_NAME=" + host,
		Config: json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"other","mode":"gate","prevResult":%s}`, prevResult))}
}

func recordOf(t *testing.T, w *twin, pod string) *v3.WorkloadEndpoint {
	t.Helper()
	list, err := w.Store().List(t.Context(), v3.KindWorkloadEndpoint, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Objects {
		if o.GetName() == pod {
			return o.(*v3.WorkloadEndpoint)
		}
	}
	return nil
}

// TestGateWaits: the result goes on when policy is in force, not before, and as it was.
func TestGateWaits(t *testing.T) {
	w := newGuest(t, "30s")
	w.Hold(t, true)
	req := connected(t, w, "fldone", cni.Add)
	type answer struct {
		resp *cni.Response
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := cni.Call(context.Background(), w.Socket(), req)
		answered <- answer{resp, err}
	}()
	// The record is written beside the waiting: from then on only policy is missing.
	cnitest.Eventually(t, func() error {
		if recordOf(t, w, "fldone") == nil {
			return errors.New("no record")
		}
		return nil
	})
	select {
	case a := <-answered:
		t.Fatalf("answered before policy was in force: %+v, %v", a.resp, a.err)
	case <-time.After(200 * time.Millisecond):
	}
	w.Hold(t, false)
	a := <-answered
	if a.err != nil || string(a.resp.Result) != prevResult {
		t.Errorf("%v\n%s\nwant\n%s", a.err, a.resp.Result, prevResult)
	}
	if rec := recordOf(t, w, "fldone"); rec == nil || rec.Spec.InterfaceName != "fldone" || rec.Spec.IPNetworks[0] != "10.9.0.5/32" {
		t.Errorf("record %+v", rec)
	}
}

// TestGateGivesUp: at the deadline the runtime is told to try again, and nothing of the pod is left but what the other plugin made.
func TestGateGivesUp(t *testing.T) {
	w := newGuest(t, "300ms")
	w.Hold(t, true)
	req := connected(t, w, "fldone", cni.Add)
	_, err := cni.Call(t.Context(), w.Socket(), req)
	wantError(t, err, 11, "policy is not in force")
	if rec := recordOf(t, w, "fldone"); rec != nil {
		t.Errorf("record %+v", rec)
	}
	cnitest.Command(t, "ip", "-n", w.netns, "link", "show", "fldone")
	w.Hold(t, false)
	if _, err := cni.Call(t.Context(), w.Socket(), req); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestGateNeedsThePair: an interface whose other end is not the host's can't be policed, and its pod does not start.
func TestGateNeedsThePair(t *testing.T) {
	w := newGuest(t, "10s")
	// The indexes are those of the pair that the host does have: both namespaces count from one.
	pod, elsewhere := cnitest.NewNetns(t, "pod"), cnitest.NewNetns(t, "elsewhere")
	cnitest.Command(t, "ip", "-n", elsewhere, "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", pod)
	req := connected(t, w, "fldother", cni.Add)
	req.Netns = "/run/netns/" + pod
	_, err := cni.Call(t.Context(), w.Socket(), req)
	wantError(t, err, 11, "whose other end is no interface of this host")
	req.IfName = "net1"
	_, err = cni.Call(t.Context(), w.Socket(), req)
	wantError(t, err, 11, "finding net1 in the pod")
}

// TestGateForgetsTheGone: after a restart, records whose interface has gone are erased, and others are known.
func TestGateForgetsTheGone(t *testing.T) {
	w := newGuest(t, "10s")
	for _, host := range []string{"fldstays", "fldgoes"} {
		if _, err := cni.Call(t.Context(), w.Socket(), connected(t, w, host, cni.Add)); err != nil {
			t.Fatal(err)
		}
	}
	w.kill(t)
	cnitest.Command(t, "ip", "-n", w.netns, "link", "del", "fldgoes")
	w.start(t)
	if recordOf(t, w, "fldstays") == nil || recordOf(t, w, "fldgoes") != nil {
		t.Errorf("stays %v, goes %v", recordOf(t, w, "fldstays"), recordOf(t, w, "fldgoes"))
	}
}

func wantError(t *testing.T, err error, code uint, says string) {
	t.Helper()
	var e *cni.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), says) {
		t.Errorf("%v; want code %d and %q", err, code, says)
	}
}
