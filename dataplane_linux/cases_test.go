package linux

import (
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
)

// TestSharedCases runs every shared case through the rendered text, in both families.
func TestSharedCases(t *testing.T) { runCases(t, usualGrouping) }

// TestSharedCasesGrouped likewise, where each policy is in a group and most lists are parted.
func TestSharedCasesGrouped(t *testing.T) { runCases(t, grouping{from: 1, min: 1, max: 2}) }

func runCases(t *testing.T, g grouping) {
	dptest.RunIPTables(t, func(_ *testing.T, s *dataplane.State, devices map[netip.Addr]string) map[uint8]dptest.IPTables {
		r := Render(s, RenderConfig{Devices: devices, grouping: g})
		out := map[uint8]dptest.IPTables{}
		for _, f := range Families {
			out[uint8(f)] = dptest.IPTables{Tables: r.RestoreText(f, "raw") + r.RestoreText(f, "mangle") + r.RestoreText(f, "nat") + r.RestoreText(f, "filter"), Sets: r.IPSetText()}
		}
		return out
	})
}
