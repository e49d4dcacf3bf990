package windows

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

func TestOneModifyForEachListThatChanges(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, form, 3)
			n.mustApply(nil)
			must(t, n.inForce())
			lists, _, _ := n.modifies()
			if lists != 3 {
				t.Errorf("three endpoints took %d modifies", lists)
			}
			n.ResetLog()
			n.mustApply(dataplane.NewChanges())
			n.mustApply(nil)
			n.wantModifies(0, 0)

			only := n.state.Endpoints[podID(1)]
			n.mustApply(change(n.state, func(*dataplane.State) { only.Tiers[0].Egress = only.Tiers[0].Ingress }))
			must(t, n.inForce())
			n.wantModifies(1, 0)
		})
	}
}

// TestRulesThatMoveWithoutMeaning: the names of rules are not worth a write.
func TestRulesThatMoveWithoutMeaning(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	n.mustApply(nil)
	n.ResetLog()
	n.mustApply(change(n.state, func(s *dataplane.State) {
		for _, p := range s.Policies {
			for i := range p.Ingress {
				p.Ingress[i].Index += 3
			}
		}
	}))
	n.wantModifies(0, 0)
}

func TestEndpointsAreFound(t *testing.T) {
	address := podAddr(0).String()
	for name, test := range map[string]struct {
		ready    func(h *host) (want []string) // endpoints that get the list
		byID     func(id string) string        // what the gate says
		reported string
	}{
		"by address": {ready: func(h *host) []string { return []string{h.pod(address)} }},
		"by id, before it is attached": {
			ready: func(h *host) []string { return []string{h.endpoint(address)} }, byID: func(id string) string { return id },
		},
		"by id in another writing": {
			ready: func(h *host) []string { return []string{h.endpoint(address)} }, byID: func(id string) string { return "{" + strings.ToLower(id) + "}" },
		},
		"a stale one is passed over": {ready: func(h *host) []string {
			h.endpoint(address)
			detached := h.pod(address)
			h.SetState(detached, hns.StateDetached)
			return []string{h.pod(address)}
		}},
		"a remote one is passed over": {ready: func(h *host) []string {
			h.remote(address)
			return []string{h.pod(address)}
		}},
		"on another network": {ready: func(h *host) []string {
			h.network = h.newNetwork("other")
			return []string{h.pod(address)}
		}},
		"two of one address both get it":  {ready: func(h *host) []string { return []string{h.pod(address), h.pod(address)} }},
		"none":                            {ready: func(*host) []string { return nil }, reported: "no attached endpoint"},
		"one that is stuck in attach":     {ready: func(h *host) []string { h.SetState(h.pod(address), hns.StateCreated); return nil }, reported: "no attached endpoint"},
		"an id that HNS does not know":    {ready: func(h *host) []string { h.pod(address); return nil }, byID: func(string) string { return strings.Repeat("0", 8) + "-0000-0000-0000-000000000000" }, reported: "NOT_FOUND"},
		"only one of another host":        {ready: func(h *host) []string { h.remote(address); return nil }, reported: "no attached endpoint"},
		"an interface that is not an id":  {ready: func(h *host) []string { return []string{h.pod(address)} }, byID: func(string) string { return "cali123" }},
		"an id beside another of address": {ready: func(h *host) []string { id := h.endpoint(address); h.pod(address); return []string{id} }, byID: func(id string) string { return id }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, forms["plain"])
			n := &node{host: h, state: nodeState(1)}
			n.ids = test.ready(h)
			if test.byID != nil {
				n.state.Endpoints[podID(0)].Interface = test.byID(strings.Join(n.ids, ""))
			}
			n.d = h.open()
			r, err := n.apply(nil)
			must(t, err)
			if test.reported != "" {
				if got := fmt.Sprint(r.Endpoints[podID(0)]); !strings.Contains(got, test.reported) {
					t.Errorf("reported %q, want something of %q", got, test.reported)
				}
			} else if r.Failed() {
				t.Errorf("failed: %v %v", r.Endpoints, r.Others)
			}
			for _, id := range n.ids {
				must(t, n.inForceAt(0, id))
			}
			if lists, _, _ := n.modifies(); lists < len(n.ids) || slices.Contains(n.ids, "") {
				t.Errorf("%d lists were written for %d endpoints", lists, len(n.ids))
			}
		})
	}
}

// remote makes an endpoint that stands for one of another host.
func (h *host) remote(address string) (id string) {
	h.t.Helper()
	settings := fmt.Sprintf(`{"HostComputeNetwork":%q,"Flags":1,"IpConfigurations":[{"IpAddress":%q,"PrefixLength":32}],"SchemaVersion":{"Major":2,"Minor":0}}`, h.network, address)
	raw, err := h.calls.Create(hns.KindEndpoint, h.network, json.RawMessage(settings))
	must(h.t, err)
	e, err := hns.ParseEndpoint(raw)
	must(h.t, err)
	return e.ID
}

// TestRemoteByID: an endpoint that stands for one of another host gets no list, whoever names it.
func TestRemoteByID(t *testing.T) {
	n := newNode(t, forms["plain"], 0)
	n.state = nodeState(1)
	id := n.remote(podAddr(0).String())
	n.state.Endpoints[podID(0)].Interface = id
	r, err := n.apply(nil)
	must(t, err)
	if got := fmt.Sprint(r.Endpoints[podID(0)]); !strings.Contains(got, "another host") || n.list(id) != nil {
		t.Errorf("reported %s, and it has %v", got, n.list(id))
	}
}

// TestEndpointThatComesLater: it is looked for, ever more seldom, and gets its list as soon as it is there.
func TestEndpointThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, forms["plain"], 1)
		n.mustApply(nil)
		c := change(n.state, func(s *dataplane.State) {
			e := *s.Endpoints[podID(0)]
			e.ID, e.Addresses = podID(1), []netip.Addr{podAddr(1)}
			s.Endpoints[e.ID] = &e
		})
		r, err := n.apply(c)
		must(t, err)
		if r.Endpoints[podID(1)] == nil || r.Endpoints[podID(0)] != nil {
			t.Fatalf("reported %v", r.Endpoints)
		}
		n.ResetLog()
		for range 100 { // others change meanwhile
			_, err := n.apply(dataplane.NewChanges())
			must(t, err)
		}
		if lists, _ := n.Count(emulator.OpEnumerate, hns.KindEndpoint); lists != 0 {
			t.Errorf("HNS was asked %d times for an endpoint that is not there", lists/2)
		}
		time.AfterFunc(3*time.Second, func() { n.ids = append(n.ids, n.pod(podAddr(1).String())) })
		if took := n.settle(time.Minute); took < 3*time.Second || took > 7*time.Second {
			t.Errorf("found after %s", took)
		}
	})
}

// TestAddressOfOneThatIsGone: another pod that has its address, and whose list is the same, has an endpoint of its own.
func TestAddressOfOneThatIsGone(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	n.mustApply(nil)
	n.Vanish(hns.KindEndpoint, n.ids[1])
	n.ids[1] = n.pod(podAddr(1).String())
	n.mustApply(change(n.state, func(s *dataplane.State) {
		e := *s.Endpoints[podID(1)]
		delete(s.Endpoints, e.ID)
		e.ID = "pod/a/next"
		s.Endpoints[e.ID] = &e
	}))
	if got, want := n.stands(n.ids[1]), Render(n.state, "pod/a/next", Options{Form: n.cfg.Form}).ACLs; !sameACLs(got, want) {
		t.Errorf("there is %v", texts(got))
	}
}

// TestDeletedAfterItsPod: an endpoint that goes after its pod is no drift.
func TestDeletedAfterItsPod(t *testing.T) {
	inBubble(t, forms["plain"], 2, func(t *testing.T, n *node) {
		n.mustApply(nil)
		n.mustApply(change(n.state, func(s *dataplane.State) { delete(s.Endpoints, podID(1)) }))
		must(t, n.client.DeleteEndpoint(n.ids[1]))
		for range 4 {
			time.Sleep(2 * time.Minute)
			if drifted, err := n.d.CheckDrift(t.Context()); drifted || err != nil {
				t.Errorf("drifted %v, error %v", drifted, err)
			}
		}
		if len(n.d.ports) != 1 {
			t.Errorf("%d endpoints are remembered", len(n.d.ports))
		}
	})
}

// TestEndpointOfTwo: a port that two endpoints claim is closed, and both are named.
func TestEndpointOfTwo(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	n.state.Endpoints[podID(1)].Addresses = n.state.Endpoints[podID(0)].Addresses
	r, err := n.apply(nil)
	must(t, err)
	if len(r.Endpoints) != 2 {
		t.Errorf("reported %v", r.Endpoints)
	}
	if got := n.stands(n.ids[0]); !sameACLs(got, Closed()) {
		t.Errorf("the endpoint has %v", texts(got))
	}
	n.mustApply(change(n.state, func(s *dataplane.State) { s.Endpoints[podID(1)].Addresses = []netip.Addr{podAddr(1)} }))
	must(t, n.inForce())
}

// TestWithdrawn: what carries our mark and is nobody's is closed, by this driver or the next, until it is somebody's again.
func TestWithdrawn(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	n.mustApply(nil)
	gone := maps.Clone(n.state.Endpoints)
	n.mustApply(change(n.state, func(s *dataplane.State) { delete(s.Endpoints, podID(1)) }))
	must(t, n.inForce())
	untouched := n.pod("10.0.9.9")
	n.d = n.open()
	n.mustApply(nil)
	must(t, n.inForce())
	if got := n.list(untouched); got != nil {
		t.Errorf("an endpoint that is none of ours has %v", got)
	}
	n.mustApply(change(n.state, func(s *dataplane.State) { s.Endpoints = gone }))
	must(t, n.inForce())
}

// TestWithdrawnWithIPv6: of an endpoint that has IPv6, that family is denied by name.
func TestWithdrawnWithIPv6(t *testing.T) {
	n := newNode(t, forms["plain"], 1)
	pod := n.pod("10.0.9.1", "fd00::9")
	n.state.Endpoints[podID(7)] = &dataplane.Endpoint{ID: podID(7), Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.9.1"), netip.MustParseAddr("fd00::9")}}
	n.mustApply(nil)
	n.mustApply(change(n.state, func(s *dataplane.State) { delete(s.Endpoints, podID(7)) }))
	if got := n.stands(pod); len(got) != 4 || !strings.Contains(fmt.Sprint(texts(got)), "::/0") {
		t.Errorf("there is %v", texts(got))
	}
}

func TestACLsOfOthers(t *testing.T) {
	wireserver := hns.ACL{Action: hns.Block, Direction: hns.Out, Protocols: "6", RemoteAddresses: "168.63.129.16/32", RemotePorts: "80", RuleType: hns.Switch, Priority: 200}
	n := newNode(t, forms["plain"], 1)
	must(t, n.client.PutACLs(n.ids[0], []json.RawMessage{json.RawMessage(`{"Protocols":"6","Action":"Block","Direction":"Out","RemoteAddresses":"168.63.129.16/32","RemotePorts":"80","RuleType":"Switch","Priority":200,"Scope":0}`)}))
	n.mustApply(nil)
	must(t, n.inForce())
	stays := func() {
		t.Helper()
		if got := n.list(n.ids[0]); !slices.Contains(got, texts([]hns.ACL{wireserver})[0]) {
			t.Errorf("the block of the cloud is gone: %v", got)
		}
	}
	stays()
	n.mustApply(leave(n.state, "clients", "10.0.3.1/32"))
	must(t, n.inForce())
	stays()
	raw, err := n.calls.Get(hns.KindEndpoint, n.ids[0])
	must(t, err)
	if !strings.Contains(string(raw), `"Scope":0`) {
		t.Errorf("a field of others' is gone: %s", raw)
	}
}

// TestAnotherEngine: felid does not fight.
func TestAnotherEngine(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	acl := hns.ACL{ID: "azure-acl-1", Action: hns.Block, Direction: hns.In, RuleType: hns.Switch, Priority: 3000}
	must(t, n.client.PutACLs(n.ids[0], []json.RawMessage{acl.Raw()}))
	before := n.list(n.ids[0])
	r, err := n.apply(nil)
	must(t, err)
	if got := fmt.Sprint(r.Endpoints[podID(0)]); !strings.Contains(got, "Azure NPM") || r.Endpoints[podID(1)] != nil {
		t.Errorf("reported %v", r.Endpoints)
	}
	if got := n.list(n.ids[0]); !slices.Equal(got, before) {
		t.Errorf("felid wrote %v", got)
	}
	must(t, n.inForceAt(1, n.ids[1]))
}

func TestHostAddressesAreFollowed(t *testing.T) {
	h := newHost(t, forms["plain"])
	moving := &movingHost{changed: make(chan struct{}, 1)}
	h.cfg.Host = moving
	n := &node{host: h, state: nodeState(1), ids: []string{h.pod(podAddr(0).String())}}
	n.d = h.open()
	n.mustApply(nil)
	if strings.Contains(strings.Join(n.list(n.ids[0]), " "), "10.0.0.77") {
		t.Fatal("the address is there before its time")
	}
	moving.addresses = []netip.Addr{netip.MustParseAddr("10.0.0.77")}
	moving.changed <- struct{}{}
	<-n.d.Drift()
	n.mustApply(dataplane.NewChanges())
	if got := strings.Join(n.list(n.ids[0]), "\n"); !strings.Contains(got, "10.0.0.77") {
		t.Errorf("the host's new address is not let in:\n%s", got)
	}
}

type movingHost struct {
	addresses []netip.Addr
	changed   chan struct{}
}

func (m *movingHost) Addresses() []netip.Addr  { return m.addresses }
func (m *movingHost) Changed() <-chan struct{} { return m.changed }

// TestCloseLeavesLists and an Apply with an ended context changes none.
func TestCloseLeavesLists(t *testing.T) {
	n := newNode(t, forms["plain"], 2)
	n.mustApply(nil)
	before := n.observe()
	must(t, n.d.Close())
	must(t, n.d.Close())
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	delete(n.state.Endpoints, podID(0))
	if _, err := n.d.Apply(ended, n.state, nil); err == nil {
		t.Error("an ended context is no error")
	}
	if after := n.observe(); after != before {
		t.Errorf("there is\n%s\nwas\n%s", after, before)
	}
}
