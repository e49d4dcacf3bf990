package windows

import (
	"encoding/json"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
)

// TestSharedCases runs every shared case through the lists that Render makes of it.
func TestSharedCases(t *testing.T) {
	dptest.RunACLs(t, func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		acls, unsupported := Render(s, id)
		text, err := json.Marshal(acls)
		if err != nil {
			t.Fatal(err)
		}
		return dptest.ACLs{JSON: text, Unsupported: unsupported}
	})
}
