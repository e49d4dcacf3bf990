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
		t.Run(form.String(), func(t *testing.T) { dptest.NeverOpens(t, list, inForm(form)) })
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
