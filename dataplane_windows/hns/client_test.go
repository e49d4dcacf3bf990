package hns_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// The tests of this file run twice: natively on the emulator's calls, and as a Windows program through hcsshim and the DLLs (connect is in a file of each).

const (
	podID = "AAAAAAAA-0000-4000-8000-000000000001"
	nsID  = "BBBBBBBB-0000-4000-8000-000000000001"
)

type node struct {
	emu     *emulator.Server
	client  *hns.Client
	network hns.Network
}

func newNode(t *testing.T, o emulator.Options) *node {
	t.Helper()
	emu := emulator.New(o)
	n := &node{emu: emu, client: hns.NewClient(emu.Connect(t))}
	var err error
	n.network, err = n.client.CreateNetwork(hns.NewNetwork{Name: "pods", Type: "L2Bridge", Subnets: []hns.Subnet{{Prefix: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attached is an endpoint in a namespace.
func (n *node) attached(t *testing.T, id, address string, acls ...json.RawMessage) hns.Endpoint {
	t.Helper()
	e, err := n.client.CreateEndpoint(hns.NewEndpoint{ID: id, Name: "pod", Network: n.network.ID, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}, ACLs: acls})
	if err != nil {
		t.Fatal(err)
	}
	ns, err := n.client.CreateNamespace("")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.client.Attach(ns.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestVersion(t *testing.T) {
	for build, want := range map[int]hns.Version{emulator.Server2022: {Major: 13, Minor: 2}, emulator.Server2025: {Major: 15, Minor: 4}} {
		n := newNode(t, emulator.Options{Build: build})
		n.emu.Stop()
		if _, err := n.client.Version(); !hns.Unavailable(err) {
			t.Errorf("build %d: with the service stopped: %v", build, err)
		}
		n.emu.Start()
		if got, err := n.client.Version(); err != nil || got != want {
			t.Errorf("build %d: %v, %v; want %v", build, got, err, want)
		}
	}
}

func TestEndpointsAreThoseAttached(t *testing.T) {
	n := newNode(t, emulator.Options{})
	acl := hns.ACL{ID: "x", Action: hns.Block, Direction: hns.In, RuleType: hns.Switch, Priority: 1000}
	e, err := n.client.CreateEndpoint(hns.NewEndpoint{ID: podID, Name: "pod", Network: n.network.ID, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.1.5/24")}, ACLs: []json.RawMessage{acl.Raw()}})
	if err != nil || e.ID != podID {
		t.Fatalf("created %q, %v; want the ID that was given", e.ID, err)
	}
	if list, err := n.client.Endpoints(); err != nil || len(list) != 0 {
		t.Fatalf("before it is attached: %v, %v", list, err)
	}
	ns, err := n.client.CreateNamespace(nsID)
	if err != nil || ns.ID != nsID || ns.Compartment == 0 {
		t.Fatalf("namespace %+v, %v", ns, err)
	}
	if err := n.client.Attach(nsID, podID); err != nil {
		t.Fatal(err)
	}
	list, err := n.client.Endpoints()
	if err != nil || len(list) != 1 {
		t.Fatalf("attached: %v, %v", list, err)
	}
	got := list[0]
	got.Raw = nil
	want := hns.Endpoint{ID: podID, Name: "pod", Network: n.network.ID, Namespace: nsID, State: hns.StateAttachedSharing, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.5")}, ACLs: []hns.ACL{acl}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if ids, err := n.client.NamespaceEndpoints(nsID); err != nil || !slices.Equal(ids, []string{podID}) {
		t.Errorf("endpoints of the namespace: %v, %v", ids, err)
	}
}

func TestDetachedAndDeleted(t *testing.T) {
	n := newNode(t, emulator.Options{})
	e := n.attached(t, "", "10.0.1.5/24")
	list, err := n.client.Endpoints()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := n.client.Detach(list[0].Namespace, e.ID); err != nil {
		t.Fatal(err)
	}
	if list, err := n.client.Endpoints(); err != nil || len(list) != 0 {
		t.Errorf("after it was detached: %v, %v", list, err)
	}
	for range 2 { // what is gone needs no deleting
		for _, err := range []error{n.client.DeleteEndpoint(e.ID), n.client.DeleteNamespace(list[0].Namespace), n.client.DeleteNetwork(n.network.ID)} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	_, gone := n.client.Network(n.network.ID)
	_, goneEndpoint := n.client.Endpoint(e.ID)
	_, goneNamespace := n.client.NamespaceEndpoints(list[0].Namespace)
	for _, err := range []error{gone, goneEndpoint, goneNamespace, n.client.PutACLs(e.ID, []json.RawMessage{hns.ACL{Action: hns.Allow, Direction: hns.In}.Raw()}), n.client.Attach(list[0].Namespace, e.ID)} {
		if !hns.NotFound(err) || hns.Unavailable(err) {
			t.Errorf("of what is gone: %v", err)
		}
	}
}

func TestPutACLsReplacesAllAndKeepsForeignOnesAsTheyWere(t *testing.T) {
	n := newNode(t, emulator.Options{})
	foreign := json.RawMessage(`{"Id":"wire","Protocols":"6","Action":"Block","Direction":"Out","RemoteAddresses":"168.63.129.16/32","RemotePorts":"80","Priority":200,"RuleType":"Switch","Scope":0}`)
	old := hns.ACL{ID: "old", Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 1000}
	e := n.attached(t, "", "10.0.1.5/24", foreign, old.Raw())
	before, err := n.client.Endpoint(e.ID)
	if err != nil || len(before.Raw) != 2 {
		t.Fatal(before, err)
	}
	own := hns.ACL{ID: "new", Action: hns.Block, Direction: hns.In, RemoteAddresses: "10.0.0.0/8,192.0.2.1", Protocols: "6", LocalPorts: "80,443,8000-8080", RuleType: hns.Switch, Priority: 1001}
	if err := n.client.PutACLs(e.ID, []json.RawMessage{before.Raw[0], own.Raw()}); err != nil {
		t.Fatal(err)
	}
	after, err := n.client.Endpoint(e.ID)
	if err != nil || len(after.ACLs) != 2 {
		t.Fatal(after, err)
	}
	if after.ACLs[1] != own || !sameJSON(t, after.Raw[0], foreign) {
		t.Errorf("after:\n%s\n%s", after.Raw[0], after.Raw[1])
	}
	var e2 *hns.Error
	if err := n.client.PutACLs(e.ID, nil); !errors.As(err, &e2) || hns.Retryable(err) {
		t.Errorf("an empty list: %v", err)
	}
}

func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		t.Fatalf("no JSON: %s, %s", a, b)
	}
	return cmp.Equal(x, y)
}

func TestSets(t *testing.T) {
	n := newNode(t, emulator.Options{})
	set := func(id string, members ...string) hns.Set {
		s := hns.Set{ID: id, Name: id}
		for _, m := range members {
			s.Members = append(s.Members, netip.MustParsePrefix(m))
		}
		return s
	}
	sets := func() []hns.Set {
		t.Helper()
		net, err := n.client.Network(n.network.ID)
		if err != nil {
			t.Fatal(err)
		}
		return net.Sets
	}
	a, b := set("felid-a", "10.0.0.1/32", "10.1.0.0/16"), set("felid-b", "10.0.0.2/32")
	if err := n.client.PutSets(n.network.ID, []hns.Set{a, b}, nil); err != nil {
		t.Fatal(err)
	}
	a2 := set("felid-a", "10.0.0.3/32")
	c := set("felid-c", "2001:db8::/64", "10.9.0.0/24")
	n.emu.ResetLog()
	if err := n.client.PutSets(n.network.ID, []hns.Set{c}, []hns.Set{a2}); err != nil {
		t.Fatal(err)
	}
	if calls, _ := n.emu.Count("Modify", hns.KindNetwork); calls != 2 {
		t.Errorf("%d modifies for new and changed sets, want 2", calls)
	}
	if got := sets(); !slices.EqualFunc(got, []hns.Set{a2, b, c}, hns.Set.Equal) {
		t.Errorf("sets %v", got)
	}
	if err := n.client.RemoveSets(n.network.ID, []hns.Set{b}); err != nil {
		t.Fatal(err)
	}
	if got := sets(); !slices.EqualFunc(got, []hns.Set{a2, c}, hns.Set.Equal) {
		t.Errorf("sets %v", got)
	}
	n.emu.ResetLog()
	if err := errors.Join(n.client.PutSets(n.network.ID, nil, nil), n.client.RemoveSets(n.network.ID, nil)); err != nil || len(n.emu.Log()) != 0 {
		t.Errorf("nothing to do: %v, %d calls", err, len(n.emu.Log()))
	}
}

func TestAListIsAskedForAgainWhenAnObjectGoesMeanwhile(t *testing.T) {
	n := newNode(t, emulator.Options{})
	first := n.attached(t, "", "10.0.1.5/24")
	n.attached(t, "", "10.0.1.6/24")
	disarm := n.emu.Inject(emulator.Fault{Op: "Open", Kind: hns.KindEndpoint, Nth: 1, Do: func() { n.emu.Vanish(hns.KindEndpoint, first.ID) }})
	defer disarm()
	list, err := n.client.Endpoints()
	if err != nil || len(list) != 1 || list[0].ID == first.ID {
		t.Errorf("%v, %v; want the one that stayed", list, err)
	}
}

func TestAListThatNeverStandsStillFails(t *testing.T) {
	n := newNode(t, emulator.Options{})
	n.attached(t, "", "10.0.1.5/24")
	defer n.emu.Inject(emulator.Fault{Op: "Open", Kind: hns.KindEndpoint, Code: 0x803b0002})()
	if _, err := n.client.Endpoints(); !hns.NotFound(err) {
		t.Errorf("got %v", err)
	}
}

// operations are all that a Client can ask, by the DLL's call that may fail in it.
func (n *node) operations(e hns.Endpoint, namespace string) map[string]map[emulator.Op]func() error {
	acls := []json.RawMessage{hns.ACL{Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 1000}.Raw()}
	second := func(_ any, err error) error { return err }
	put := func() error { return n.client.PutACLs(e.ID, acls) }
	list := func() error { return second(n.client.Endpoints()) }
	return map[string]map[emulator.Op]func() error{
		"HNS: modify Endpoint " + e.ID:        {"Open": put, "Modify": put, "Query": put},
		"HNS: list Endpoint":                  {"Enumerate": list},
		"HNS: list Network":                   {"Enumerate": func() error { return second(n.client.Networks()) }},
		"HNS: get Endpoint " + e.ID:           {"Enumerate": func() error { return second(n.client.Endpoint(e.ID)) }, "Query": func() error { return second(n.client.Endpoint(e.ID)) }},
		"HNS: get Namespace " + namespace:     {"Open": func() error { return second(n.client.NamespaceEndpoints(namespace)) }},
		"HNS: modify Network " + n.network.ID: {"Modify": func() error { return n.client.PutSets(n.network.ID, nil, []hns.Set{{ID: "s"}}) }},
		"HNS: modify Namespace " + namespace:  {"Modify": func() error { return n.client.Attach(namespace, e.ID) }},
		"HNS: create Endpoint":                {"Create": func() error { return second(n.client.CreateEndpoint(hns.NewEndpoint{Network: n.network.ID})) }},
		"HNS: create Network":                 {"Create": func() error { return second(n.client.CreateNetwork(hns.NewNetwork{Name: "n", Type: "NAT"})) }},
	}
}

// TestEveryCodeAtEveryCall has each error code that hcsshim names come back from each call, recognised.
func TestEveryCodeAtEveryCall(t *testing.T) {
	n := newNode(t, emulator.Options{})
	e := n.attached(t, "", "10.0.1.5/24")
	full, err := n.client.Endpoint(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, calls := range n.operations(full, full.Namespace) {
		for op, do := range calls {
			for _, code := range hns.Codes() {
				hresult := code
				if code < 0x10000 {
					hresult |= 0x80070000
				}
				disarm := n.emu.Inject(emulator.Fault{Op: op, Code: hresult})
				err := do()
				disarm()
				checkCode(t, name, op, code, err)
			}
		}
	}
}

func checkCode(t *testing.T, name string, op emulator.Op, code uint32, err error) {
	t.Helper()
	var e *hns.Error
	if !errors.As(err, &e) || e.Code != code || e.Text != "Injected." {
		t.Errorf("%s at %s, code %x: %#v", name, op, code, err)
		return
	}
	if prefix := name + ": " + hns.CodeName(code) + " ("; len(err.Error()) < len(prefix) || err.Error()[:len(prefix)] != prefix {
		t.Errorf("%s at %s: %q, want it to begin with %q", name, op, err, prefix)
	}
	gone := code == 1168 || code == 0x803b0001 || code == 0x803b0002
	if hns.NotFound(err) != gone {
		t.Errorf("%s at %s, code %x: not found is %v", name, op, code, !gone)
	}
	away := code >= 1700 && code < 1800 || code == 126 || code == 127 || code == 1058 || code == 1062 || code == 1072 || code == 1115 || code == 0x803b0020
	if hns.Unavailable(err) != away {
		t.Errorf("%s at %s, code %x: unavailable is %v", name, op, code, !away)
	}
}

func TestStoppedService(t *testing.T) {
	n := newNode(t, emulator.Options{})
	e := n.attached(t, "", "10.0.1.5/24")
	n.emu.Stop()
	for name, calls := range n.operations(e, nsID) {
		for op, do := range calls {
			if err := do(); !hns.Unavailable(err) || !hns.Retryable(err) || hns.NotFound(err) {
				t.Errorf("%s at %s: %v", name, op, err)
			}
		}
	}
	n.emu.Start()
	if list, err := n.client.Endpoints(); err != nil || len(list) != 1 {
		t.Errorf("started again: %v, %v", list, err)
	}
}

// TestCallsOfAnOperation holds what is said at Open (a Close never reaches HNS's log, so one less for each object).
func TestCallsOfAnOperation(t *testing.T) {
	n := newNode(t, emulator.Options{})
	e := n.attached(t, "", "10.0.1.5/24")
	n.attached(t, "", "10.0.1.6/24")
	acls := []json.RawMessage{hns.ACL{Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 1000}.Raw()}
	for _, c := range []struct {
		name string
		want int
		do   func() error
	}{
		{"Version", 1, func() error { _, err := n.client.Version(); return err }},
		{"Endpoints", 2 + 2*2, func() error { _, err := n.client.Endpoints(); return err }},
		{"Endpoint", 3, func() error { _, err := n.client.Endpoint(e.ID); return err }},
		{"PutACLs", 3, func() error { return n.client.PutACLs(e.ID, acls) }},
		{"CreateEndpoint", 3, func() error { _, err := n.client.CreateEndpoint(hns.NewEndpoint{Network: n.network.ID}); return err }},
		{"DeleteEndpoint", 1, func() error { return n.client.DeleteEndpoint(e.ID) }},
	} {
		n.emu.ResetLog()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := len(n.emu.Log()); got != c.want {
			t.Errorf("%s: %d calls, want %d", c.name, got, c.want)
		}
	}
}
