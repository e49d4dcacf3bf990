package gate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// TestGate: felid-cni.exe answers when policy is in force in HNS, and not before, and what the other plugin answered goes on as it was.
func TestGate(t *testing.T) {
	for _, build := range []int{emulator.Server2022, emulator.Server2025} {
		t.Run(fmt.Sprint(build), func(t *testing.T) {
			n := newNode(t, build)
			n.start(t)
			p := n.connect(t, "web-1", "10.224.0.7")
			if !reaches(t, n.Server, stranger, p) {
				t.Fatal("without a list everything should come through: this test would prove nothing")
			}
			reached, release := make(chan struct{}, 100), make(chan struct{})
			disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: p.endpoint, Do: func() { reached <- struct{}{}; <-release }})
			add := n.begin(t, cni.Add, p)
			<-reached
			select {
			case <-add.ended:
				t.Fatalf("it answered before HNS had the list: %v %s", add.failed, add.out.String())
			case <-time.After(300 * time.Millisecond):
			}
			disarm()
			close(release)
			result, failure := add.wait(t)
			if !policed(t, n.Server, p) {
				t.Error("it answered, but policy is not in force")
			}
			var got, want bytes.Buffer
			if failure != nil || json.Compact(&got, result) != nil || json.Compact(&want, []byte(p.result())) != nil || got.String() != want.String() {
				t.Errorf("%v\n%s\nwant\n%s", failure, result, p.result())
			}
			if rec := n.record(t, "web-1"); rec == nil || rec.Spec.InterfaceName != p.endpoint || rec.Spec.IPNetworks[0] != p.addr+"/32" {
				t.Errorf("record %+v, want endpoint %s", rec, p.endpoint)
			}
			n.mustCall(t, cni.Check, p)
			n.mustCall(t, cni.Del, p)
			if rec := n.record(t, "web-1"); rec != nil {
				t.Errorf("after DEL: %+v", rec)
			}
			eventually(t, func() error {
				if reaches(t, n.Server, friend, p) {
					return errors.New("after DEL, until the other plugin deletes the endpoint, it is open")
				}
				return nil
			})
			n.mustCall(t, cni.Del, p)
			if err := n.agent.Stop(); err != nil {
				t.Errorf("stopping the agent: %v", err)
			}
		})
	}
}

// TestGateWithoutAgent: no pod starts while no agent answers, and those that go, go.
func TestGateWithoutAgent(t *testing.T) {
	n := newNode(t, emulator.Server2022)
	n.start(t)
	p, waits := n.connect(t, "web-1", "10.224.0.7"), n.connect(t, "waits", "10.224.0.8")
	n.mustCall(t, cni.Add, p)
	reached, release := make(chan struct{}, 100), make(chan struct{})
	defer close(release)
	n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: waits.endpoint, Do: func() { reached <- struct{}{}; <-release }})
	add := n.begin(t, cni.Add, waits)
	<-reached
	n.agent.Kill()
	_, err := add.wait(t)
	wantCode(t, "ADD while the agent dies", err, 11)
	start := time.Now()
	for verb, code := range map[string]uint{cni.Add: 11, cni.Check: 11, cni.Status: 50} {
		_, err := n.call(t, verb, p)
		wantCode(t, verb, err, code)
		if err != nil && !strings.Contains(err.Msg, n.pipe) {
			t.Errorf("%s: %v; want it to name the pipe", verb, err)
		}
	}
	n.mustCall(t, cni.Del, p)
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("four calls took %s: a pipe that is not there was waited for", took)
	}
	if !policed(t, n.Server, p) {
		t.Error("the lists went with the agent")
	}
}

// TestGateAfterAll: a container of which nothing is left is deleted; what the agent had on record of it went with it.
func TestGateAfterAll(t *testing.T) {
	n := newNode(t, emulator.Server2025)
	n.start(t)
	lost, rebooted := n.connect(t, "lost", "10.224.0.7"), n.connect(t, "rebooted", "10.224.0.8")
	n.mustCall(t, cni.Add, lost)
	n.mustCall(t, cni.Add, rebooted)
	n.Vanish(hns.KindNamespace, lost.namespace)
	n.Vanish(hns.KindEndpoint, lost.endpoint)
	n.mustCall(t, cni.Del, lost)
	n.agent.Kill()
	n.Reboot()
	n.makeNetwork(t)
	if err := os.Remove(n.path("net.d", "00-felid.conflist")); err != nil { // so that it is seen when the next agent has begun
		t.Fatal(err)
	}
	n.start(t)
	for _, p := range []pod{lost, rebooted} {
		if rec := n.record(t, p.name); rec != nil {
			t.Errorf("%s is still on record: %+v", p.name, rec)
		}
		n.mustCall(t, cni.Del, p)
	}
	again := n.connect(t, "rebooted", "10.224.0.8")
	n.mustCall(t, cni.Add, again)
	if !policed(t, n.Server, again) {
		t.Error("the pod's next container is not policed")
	}
}

// TestGateBeforeSync: an agent that does not know the policies yet lets no pod start, and does not put itself into the runtime's list.
func TestGateBeforeSync(t *testing.T) {
	n := newNode(t, emulator.Server2022)
	n.agent = n.run(t, "--datastore", "etcd:http://127.0.0.1:1", "--cni-bin-dir", wine.Path(n.path("bin")), "--cni-conf-dir", wine.Path(n.path("net.d")))
	p := n.connect(t, "web-1", "10.224.0.7")
	call := func(verb string, patience time.Duration) *started {
		config := map[string]any{"cniVersion": "1.1.0", "name": "azure", "type": "felid-cni", "mode": "gate", "socket": n.pipe}
		return n.exec(t, n.path("image", "felid-cni.exe"), config, verb, p, patience)
	}
	eventually(t, func() error { // the first call that finds the pipe is lost under Wine
		s := call(cni.Status, 3*time.Second)
		<-s.ended
		if !strings.Contains(s.out.String(), "not in sync with the datastore yet") {
			return fmt.Errorf("%v: %s", s.failed, s.out.String())
		}
		return nil
	})
	for verb, code := range map[string]uint{cni.Add: 11, cni.Check: 11, cni.Status: 50} {
		_, err := call(verb, time.Minute).wait(t)
		wantCode(t, verb, err, code)
		if err != nil && !strings.Contains(err.Msg, "not in sync with the datastore yet") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, err := call(cni.Del, time.Minute).wait(t); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if _, err := n.felids(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list is there: %v", err)
	}
}

// TestSecondAgent: two agents don't share a pipe: the second ends, and says why.
func TestSecondAgent(t *testing.T) {
	n := newNode(t, emulator.Server2022)
	n.start(t)
	second := n.run(t)
	<-second.Ended()
	// On a machine with much to do the first may not have an instance of its pipe free in time.
	out := second.Output()
	told := strings.Contains(out, n.pipe+": another agent holds it") || strings.Contains(out, n.pipe+": somebody has made this pipe before")
	if err := second.Stop(); err == nil || !told {
		t.Errorf("%v:\n%s", err, out)
	}
	n.mustCall(t, cni.Add, n.connect(t, "web-1", "10.224.0.7"))
}

// TestListIsFollowed: the other plugin writes its list anew while the agent runs, and felid's copy follows.
func TestListIsFollowed(t *testing.T) {
	n := newNode(t, emulator.Server2022)
	n.start(t)
	for _, mode := range []string{"bridge", "transparent"} {
		n.setOthers(t, strings.Replace(others, "tunnel", mode, 1))
		eventually(t, func() error {
			text, err := os.ReadFile(n.path("net.d", "00-felid.conflist"))
			if err == nil && !strings.Contains(string(text), mode) {
				err = errors.New("the change is not followed: " + string(text))
			}
			if err == nil {
				_, err = n.felids()
			}
			return err
		})
	}
	n.mustCall(t, cni.Add, n.connect(t, "web-1", "10.224.0.7"))
}
