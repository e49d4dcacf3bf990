package windows

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// TestClean: nothing of ours is left, and what others had put there is as it was.
func TestClean(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, form)
			s := nodeState(3)
			var pods []string
			for i := range 3 {
				pods = append(pods, h.pod(podAddr(i).String()))
			}
			must(t, h.client.PutACLs(pods[1], rawOf([]hns.ACL{{ID: "wireserver", Action: hns.Block, Direction: hns.Out, RuleType: hns.Switch, Protocols: "6", RemoteAddresses: "168.63.129.16", RemotePorts: "80", Priority: 200}})))
			before := h.observe()
			d := h.open()
			if _, err := d.Apply(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			if with := h.observe(); !strings.Contains(with, aclMark) || form.Sets != strings.Contains(with, "felid4-clients") {
				t.Fatalf("%s", with)
			}
			must(t, d.Clean(t.Context()))
			if diff := cmp.Diff(before, h.observe()); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
			h.ResetLog()
			must(t, d.Clean(t.Context()))
			if n, _ := h.Count(emulator.OpModify, hns.KindEndpoint); n != 0 {
				t.Errorf("nothing is left, and it was taken off %d times", n)
			}
		})
	}
}

// TestCleanNamesWhatItLeaves: an endpoint at which HNS fails holds up no other.
func TestCleanNamesWhatItLeaves(t *testing.T) {
	h := newHost(t, Form{})
	pods := []string{h.pod(podAddr(0).String()), h.pod(podAddr(1).String())}
	slices.Sort(pods)
	d := h.open()
	if _, err := d.Apply(t.Context(), nodeState(2), nil); err != nil {
		t.Fatal(err)
	}
	h.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: pods[0], Nth: 1, Code: 0x80004005})
	if err := d.Clean(t.Context()); err == nil || !strings.Contains(err.Error(), "endpoint "+pods[0]) || strings.Contains(err.Error(), pods[1]) {
		t.Errorf("%v", err)
	}
	if len(h.list(pods[0])) == 0 || len(h.list(pods[1])) != 0 {
		t.Errorf("%v\n%v", h.list(pods[0]), h.list(pods[1]))
	}
	must(t, d.Clean(t.Context()))
	if left := h.list(pods[0]); len(left) != 0 {
		t.Errorf("%v", left)
	}
}
