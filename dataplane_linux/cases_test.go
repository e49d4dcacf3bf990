package linux

import (
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
)

// TestSharedCases runs every shared case through the rendered text, in both families.
func TestSharedCases(t *testing.T) {
	dptest.RunIPTables(t, func(_ *testing.T, s *dataplane.State) map[uint8]dptest.IPTables {
		r := Render(s, RenderConfig{})
		out := map[uint8]dptest.IPTables{}
		for _, f := range Families {
			out[uint8(f)] = dptest.IPTables{Tables: r.RestoreText(f, "filter") + r.RestoreText(f, "nat"), Sets: r.IPSetText()}
		}
		return out
	})
}
