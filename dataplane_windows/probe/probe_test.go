package probe_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
)

// thin makes fewer runs of those tests that make many: a run of some 600 calls takes a second or more under Wine.
const thin = runtime.GOOS == "windows"

// The tests of this file run twice, as those of package hns do.

var hostAddress = netip.MustParseAddr("10.9.9.9")

func config(t *testing.T, emu *emulator.Server) probe.Config {
	return probe.Config{
		HNS: hns.NewClient(emu.Connect(t)), Packets: &emulated{emu: emu, host: hostAddress}, Build: 20348,
		HostAddresses: func() []netip.Addr { return []netip.Addr{hostAddress} }, Settle: time.Millisecond,
	}
}

func run(t *testing.T, o emulator.Options) probe.Result {
	t.Helper()
	emu := emulator.New(o)
	r, err := probe.Run(t.Context(), config(t, emu))
	if err != nil {
		t.Fatal(err)
	}
	checkClean(t, emu)
	return r
}

// checkClean: there is nothing left that a probe made.
func checkClean(t *testing.T, emu *emulator.Server) {
	t.Helper()
	c := emu.Calls()
	for _, kind := range []hns.Kind{hns.KindNetwork, hns.KindEndpoint, hns.KindNamespace} {
		if list, err := c.List(kind, nil); err != nil || len(list) > 0 {
			t.Errorf("left behind: %s %s, %v", kind, list, err)
		}
	}
}

// untriable are those that can't be told from the node.
var untriable = []probe.Assumption{16, 17, 20, 21, 22, 25, 29, 30, 32, 33, 38}

func outcomes(r probe.Result, o probe.Outcome) (out []probe.Assumption) {
	for _, f := range r.Findings {
		if f.Outcome == o {
			out = append(out, f.Assumption)
		}
	}
	return out
}

func TestEverythingHolds(t *testing.T) {
	for _, o := range []emulator.Options{{Build: emulator.Server2022}, {Build: emulator.Server2025}} {
		r := run(t, o)
		if not := outcomes(r, probe.NotTried); !slices.Equal(not, untriable) || len(outcomes(r, probe.False)) > 0 {
			t.Errorf("build %d: not tried %v, false %v: %+v", o.Build, not, outcomes(r, probe.False), r.Findings)
		}
		if r.Rendered != (probe.Rendered{Outcome: probe.Proven}) {
			t.Errorf("build %d: lists %+v", o.Build, r.Rendered)
		}
		if got, want := r.Form(), (windows.Form{IPv6: true, Sets: true}); got != want || !r.Settled() || r.Reason() != "proven on this node" {
			t.Errorf("build %d: form %v (%s), settled %v", o.Build, got, r.Reason(), r.Settled())
		}
	}
}

// TestEachAssumptionFalse has each assumption not hold, on both builds. What packets show must be found, and nothing else may be said to be false.
func TestEachAssumptionFalse(t *testing.T) {
	full := windows.Form{IPv6: true, Sets: true}
	plain, closed, four := windows.Form{IPv6: true}, windows.Form{Closed: true, IPv6: true}, windows.Form{Sets: true}
	forms := map[probe.Assumption]windows.Form{
		1: closed, 2: closed, 3: closed, 6: closed, 7: closed, 8: closed, 10: closed, 11: closed, 15: closed, 18: closed, 23: closed,
		9: four, 12: four, 34: plain, 35: plain, 36: plain, 39: plain, 40: plain, 41: plain,
	}
	for _, build := range []int{emulator.Server2022, emulator.Server2025} {
		for _, a := range dptest.Assumptions() {
			if thin && (int(a)+build)%20 != 0 { // some of them on each build
				continue
			}
			r := run(t, emulator.Options{Build: build, False: []dptest.Assumption{a}})
			number := probe.Assumption(a)
			want := []probe.Assumption{number}
			if slices.Contains(untriable, number) || number == 4 { // protocols that no socket speaks
				want = nil
			}
			if got := outcomes(r, probe.False); !slices.Equal(got, want) {
				t.Errorf("build %d, %s false: found false %v, want %v: %+v", build, a, got, want, r.Findings)
			}
			form, ok := forms[number]
			if !ok {
				form = full
			}
			if got := r.Form(); got != form {
				t.Errorf("build %d, %s false: form %v (%s), want %v", build, a, got, r.Reason(), form)
			}
		}
	}
}

func TestWithoutSetsOrIPv6(t *testing.T) {
	r := run(t, emulator.Options{Version: hns.Version{Major: 12, Minor: 1}, NoIPv6: true})
	if got := outcomes(r, probe.False); !slices.Equal(got, []probe.Assumption{12}) || r.Form() != (windows.Form{}) || r.Settled() || r.Reason() != "proven on this node, but for sets" {
		t.Errorf("form %v (%s), false %v: %+v", r.Form(), r.Reason(), got, r.Findings)
	}
}

// TestOthersAreLeftAlone: a network that has a subnet of the probe's, and an endpoint that has its mark in a name.
func TestOthersAreLeftAlone(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	c := hns.NewClient(emu.Calls())
	n, err := c.CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge", Subnets: []hns.Subnet{{Prefix: netip.MustParsePrefix("198.18.0.0/16"), Gateway: netip.MustParseAddr("198.18.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateEndpoint(hns.NewEndpoint{Name: "felid-probe-c", Network: n.ID, Addresses: []netip.Prefix{netip.MustParsePrefix("198.18.0.5/16")}}); err != nil {
		t.Fatal(err)
	}
	list := func() []string {
		var out []string
		for _, kind := range []hns.Kind{hns.KindNetwork, hns.KindEndpoint, hns.KindNamespace} {
			raw, err := emu.Calls().List(kind, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range raw {
				out = append(out, string(r))
			}
		}
		return out
	}
	before := list()
	r, err := probe.Run(t.Context(), config(t, emu))
	if err != nil || !r.Settled() {
		t.Errorf("%v: %s", err, r.Reason())
	}
	if after := list(); !slices.Equal(before, after) {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

// TestStopped has HNS go away for good at some call: nothing is false for that, and the next probe takes away what is left.
func TestStopped(t *testing.T) {
	at := []int{1, 2, 9, 20, 30, 60, 200, 500}
	if thin {
		at = []int{60}
	}
	for _, nth := range at {
		emu := emulator.New(emulator.Options{})
		disarm := emu.Inject(emulator.Fault{Nth: nth, Do: emu.Stop})
		r, err := probe.Run(t.Context(), config(t, emu))
		disarm()
		if err == nil || len(r.Findings) != 41 || len(outcomes(r, probe.False)) > 0 || r.Settled() {
			t.Errorf("stopped at call %d: %v: %+v", nth, err, r.Findings)
		}
		emu.Start()
		if r, err = probe.Run(t.Context(), config(t, emu)); err != nil || !r.Settled() {
			t.Errorf("the next one: %v: %s", err, r.Reason())
		}
		checkClean(t, emu)
	}
}

// TestOneFault has one call fail, as calls do now and then: nothing is false for that, but for what is refused.
func TestOneFault(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	if _, err := probe.Run(t.Context(), config(t, emu)); err != nil {
		t.Fatal(err)
	}
	const refused = 0x803b000d
	calls, runs := len(emu.Log()), 8
	if thin {
		runs = 2
	}
	for nth := 1; nth < calls; nth += calls/runs + 1 {
		for _, code := range []uint32{0x803b0017, 0x80070490, refused} {
			if thin && code != 0x803b0017 {
				continue
			}
			emu := emulator.New(emulator.Options{})
			emu.Inject(emulator.Fault{Nth: nth, Code: code})
			r, err := probe.Run(t.Context(), config(t, emu))
			if got := outcomes(r, probe.False); len(got) > 0 && code != refused || r.Form().Closed {
				t.Errorf("code %x at call %d of %d: false %v: %v: %+v", code, nth, calls, got, err, r.Findings)
			}
			if err := probe.Clean(hns.NewClient(emu.Calls())); err != nil {
				t.Error(err)
			}
			checkClean(t, emu)
		}
	}
}

// deaf packets never arrive.
type deaf struct{ emulated }

func (*deaf) Open(context.Context, probe.End, probe.End, uint8, uint16) (probe.Conn, error) {
	return nil, nil
}

func TestPacketsThatNeverArriveProveNothing(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	c := config(t, emu)
	c.Packets = &deaf{}
	r, err := probe.Run(t.Context(), c)
	if err != nil || len(outcomes(r, probe.False)) > 0 || r.Form() != (windows.Form{}) || r.Settled() {
		t.Errorf("%v: form %v, %+v", err, r.Form(), r.Findings)
	}
	if !strings.Contains(r.Reason(), "packets do not arrive though everything is allowed") {
		t.Errorf("%s", r.Reason())
	}
	checkClean(t, emu)
}

// unruled packets pass whatever ACLs say.
type unruled struct{ emulated }

func (p *unruled) Open(context.Context, probe.End, probe.End, uint8, uint16) (probe.Conn, error) {
	return &unruledConn{}, nil
}

type unruledConn struct{}

func (*unruledConn) Push(context.Context) (bool, error) { return true, nil }
func (*unruledConn) Close() error                       { return nil }

// TestWhereNoACLCountsNothingIsTold: HNS does not apply ACLs on each type of network; to close the node for that would be of no use.
func TestWhereNoACLCountsNothingIsTold(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	c := config(t, emu)
	c.Packets = &unruled{}
	r, err := probe.Run(t.Context(), c)
	if err != nil || len(outcomes(r, probe.False)) > 0 || r.Form() != (windows.Form{}) || r.Settled() {
		t.Errorf("%v: form %v, false %v", err, r.Form(), outcomes(r, probe.False))
	}
	if !strings.Contains(r.Reason(), "no ACL has any effect on the probe's network") {
		t.Errorf("%s", r.Reason())
	}
	checkClean(t, emu)
}

// TestOtherTypeOfNetwork: where HNS makes no network of the first type, the second is tried.
func TestOtherTypeOfNetwork(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	made := 0
	emu.Inject(emulator.Fault{Op: "Create", Kind: hns.KindNetwork, Nth: 1, Code: 0x803b000b}, emulator.Fault{Op: "Create", Kind: hns.KindNetwork, Nth: 2, Code: 0x803b000b},
		emulator.Fault{Op: "Create", Kind: hns.KindNetwork, Do: func() { made++ }})
	if r, err := probe.Run(t.Context(), config(t, emu)); err != nil || !r.Settled() || made != 3 {
		t.Errorf("%v: %s; %d networks", err, r.Reason(), made)
	}
	checkClean(t, emu)
}

// leaky packets to one port always pass: one that none but the renderer's lists are to deny.
type leaky struct{ emulated }

func (p *leaky) Open(ctx context.Context, from, to probe.End, protocol uint8, port uint16) (probe.Conn, error) {
	if port == 18102 && protocol == dataplane.ProtoTCP {
		return &unruledConn{}, nil
	}
	return p.emulated.Open(ctx, from, to, protocol, port)
}

// TestListThatLetsThrough: where each assumption holds, and a list as a whole lets something through all the same, the node is closed.
func TestListThatLetsThrough(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	c := config(t, emu)
	c.Packets = &leaky{emulated{emu: emu, host: hostAddress}}
	r, err := probe.Run(t.Context(), c)
	if err != nil || len(outcomes(r, probe.False)) > 0 || !r.Rendered.Open || !r.Form().Closed || r.Settled() {
		t.Errorf("%v: form %v, false %v, lists %+v", err, r.Form(), outcomes(r, probe.False), r.Rendered)
	}
	if !strings.Contains(r.Reason(), "TCP from 198.18.247.16 to 198.18.247.32 port 18102 was answered") {
		t.Errorf("%s", r.Reason())
	}
	checkClean(t, emu)
}

// mute hosts can't send packets.
type mute struct{ emulated }

func (*mute) Usable() error { return errors.New("no compartments here") }

func TestWithoutPacketsNothingIsMade(t *testing.T) {
	emu := emulator.New(emulator.Options{})
	c := config(t, emu)
	c.Packets = &mute{}
	r, err := probe.Run(t.Context(), c)
	if err != nil || len(outcomes(r, probe.NotTried)) != 41 || r.Form() != (windows.Form{}) {
		t.Errorf("%v: form %v, %+v", err, r.Form(), r.Findings)
	}
	if r.Reason() != "nothing was proven on this node: packets can't be sent: no compartments here" || len(emu.Log()) != 1 {
		t.Errorf("%s; %d calls", r.Reason(), len(emu.Log()))
	}
}

func TestStored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	v := hns.Version{Major: 13, Minor: 2}
	if _, ok, err := probe.Load(dir, 20348, v); ok || err != nil {
		t.Errorf("nothing stored: %v, %v", ok, err)
	}
	want := probe.Assume(20348, v)
	if err := errors.Join(probe.Save(dir, probe.Result{}), probe.Save(dir, want)); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := probe.Load(dir, 20348, v); !ok || err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	for _, c := range []struct {
		build int
		v     hns.Version
	}{{26100, v}, {20348, hns.Version{Major: 13, Minor: 3}}} {
		if _, ok, err := probe.Load(dir, c.build, c.v); ok || err != nil {
			t.Errorf("of another build or version: %v, %v", ok, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "probe.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := probe.Load(dir, 20348, v); ok || err == nil {
		t.Errorf("broken: %v, %v", ok, err)
	}
}
