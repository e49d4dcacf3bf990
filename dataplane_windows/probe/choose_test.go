package probe_test

import (
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
)

func choose(t *testing.T, emu *emulator.Server, dir string, probing bool) (probe.Result, int) {
	t.Helper()
	emu.ResetLog()
	r, err := probe.Choose(t.Context(), config(t, emu), dir, probing)
	if err != nil {
		t.Fatal(err)
	}
	return r, len(emu.Log())
}

func TestChoose(t *testing.T) {
	dir, emu := t.TempDir(), emulator.New(emulator.Options{})
	if r, calls := choose(t, emu, dir, false); r.Form() != (windows.Form{}) || calls != 1 || r.Reason() != "nothing was proven on this node: the probe is turned off" {
		t.Errorf("turned off: %v (%s), %d calls", r.Form(), r.Reason(), calls)
	}
	full := windows.Form{IPv6: true, Sets: true}
	if r, calls := choose(t, emu, dir, true); r.Form() != full || calls < 100 {
		t.Errorf("first: %v (%s), %d calls", r.Form(), r.Reason(), calls)
	}
	for _, probing := range []bool{true, false} {
		if r, calls := choose(t, emu, dir, probing); r.Form() != full || calls != 1 {
			t.Errorf("kept: %v (%s), %d calls", r.Form(), r.Reason(), calls)
		}
	}
	patched := emulator.New(emulator.Options{Version: hns.Version{Major: 13, Minor: 3}})
	if _, calls := choose(t, patched, dir, true); calls < 100 {
		t.Errorf("of another version of HNS: %d calls", calls)
	}
}

// TestWhatIsFalseIsTriedAgain: it may have been the moment's fault.
func TestWhatIsFalseIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	bad := emulator.New(emulator.Options{False: []dptest.Assumption{dptest.H1}})
	if r, _ := choose(t, bad, dir, true); !r.Form().Closed || len(r.Telling()) == 0 || r.Telling()[0].Assumption != 1 || !r.Telling()[0].Refuses() {
		t.Errorf("%v: %+v", r.Form(), r.Telling())
	}
	if r, _ := choose(t, emulator.New(emulator.Options{}), dir, true); r.Form().Closed || len(r.Telling()) > 0 {
		t.Errorf("%v: %+v", r.Form(), r.Telling())
	}
}

// TestWhatIsFalseStaysSo until a probe finds it otherwise: none that can try nothing, and none that is not made, opens a node that was closed.
func TestWhatIsFalseStaysSo(t *testing.T) {
	dir, good := t.TempDir(), emulator.New(emulator.Options{})
	choose(t, emulator.New(emulator.Options{False: []dptest.Assumption{dptest.H1}}), dir, true)
	unsent := config(t, good)
	unsent.Packets = &mute{}
	for range 2 {
		r, err := probe.Choose(t.Context(), unsent, dir, true)
		if err != nil || !r.Form().Closed || !strings.HasPrefix(r.Reason(), "the probe found false: H1: by an earlier probe: ") || strings.Count(r.Reason(), "earlier") != 1 {
			t.Errorf("no packets: %v (%s), %v", r.Form(), r.Reason(), err)
		}
	}
	if r, _ := choose(t, good, dir, false); !r.Form().Closed {
		t.Errorf("no probe: %v", r.Form())
	}
	disarm := good.Inject(emulator.Fault{Op: emulator.OpV1, Code: 0x80070005})
	r, err := probe.Choose(t.Context(), config(t, good), dir, true)
	disarm()
	if want := (windows.Form{Closed: true, IPv6: true}); err == nil || r.Form() != want {
		t.Errorf("no version: %v (%s), %v", r.Form(), r.Reason(), err)
	}
	if r := probe.Without(26100, dir, "HNS hangs"); r.Form() != (windows.Form{}) || r.Reason() != "nothing was proven on this node: HNS hangs" {
		t.Errorf("of another build: %v (%s)", r.Form(), r.Reason())
	}
	if r, _ := choose(t, good, dir, true); r.Form().Closed {
		t.Errorf("proven: %v (%s)", r.Form(), r.Reason())
	}
	if r := probe.Without(20348, dir, "HNS hangs"); r.Form().Closed {
		t.Errorf("proven since: %s", r.Reason())
	}
}
