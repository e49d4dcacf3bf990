package probe_test

import (
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
