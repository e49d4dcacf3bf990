package assumptions

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/test/windows/emulator"
)

// elsewhere tells of assumptions for which no list can make up (H4, H19 to H21: docs/windows.md says what is open then), whose making false refuses
// lists as a whole (H9, H29), and which are about calls: rows and moments have what becomes of those.
func elsewhere(h dptest.Assumption) bool {
	return h == dptest.H4 || h == dptest.H9 || h >= dptest.H19 && h <= dptest.H21 || h >= dptest.H23 && h <= dptest.H33 || h == dptest.H41
}

// TestNoSharedCaseOpens runs the shared cases with each assumption false, in the form that the probe chooses then: nothing passes that policy denies.
func TestNoSharedCaseOpens(t *testing.T) {
	models := map[windows.Form][]dptest.HNS{}
	for _, build := range []int{emulator.Server2022, emulator.Server2025} {
		for _, h := range dptest.Assumptions() {
			if elsewhere(h) {
				continue
			}
			form, _, _ := probed(t, emulator.Options{Build: build, False: []dptest.Assumption{h}}, h)
			models[form] = append(models[form], dptest.HNSOf(build).Without(h))
		}
	}
	if len(models) < 3 {
		t.Fatalf("the probe chooses %d forms", len(models))
	}
	for form, list := range models {
		for i, opened := range dptest.OpenedOnHNS(t, list, inForm(form)) {
			if len(opened) > 0 {
				t.Errorf("%s, without %v on HNS %d: %q", form, list[i].False, list[i].Major, opened)
			}
		}
	}
}

// TestSharedCasesWouldOpen: where nobody asks the probe, the shared cases notice that each of these does not hold.
func TestSharedCasesWouldOpen(t *testing.T) {
	var models []dptest.HNS
	for _, h := range []dptest.Assumption{dptest.H1, dptest.H2, dptest.H6, dptest.H7, dptest.H8, dptest.H10, dptest.H11, dptest.H12, dptest.H18} {
		models = append(models, dptest.HNSOf(emulator.Server2025).Without(h))
	}
	for i, opened := range dptest.OpenedOnHNS(t, models, inForm(plainForm)) {
		if len(opened) == 0 {
			t.Errorf("without %v nothing opens", models[i].False)
		}
	}
}

func inForm(form windows.Form) func(*testing.T, *dataplane.State, dataplane.EndpointID) dptest.ACLs {
	return func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		r := windows.NewRenderer(s, windows.Options{Form: form})
		l := r.List(id)
		text, err := json.Marshal(l.ACLs)
		must(t, err)
		sets := map[string]string{}
		for _, ref := range l.Sets {
			set := r.Set(ref)
			var members []string
			for _, p := range set.Members {
				members = append(members, p.String())
			}
			sets[set.ID] = strings.Join(members, ",")
		}
		return dptest.ACLs{JSON: text, Sets: sets}
	}
}
