package windows

import (
	"encoding/json"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// render is the plain list, with IPv6.
func render(s *dataplane.State, id dataplane.EndpointID) ([]hns.ACL, []dataplane.Unsupported) {
	l := Render(s, id, Options{Form: Form{IPv6: true}})
	return l.ACLs, l.Unsupported
}

// TestSharedCases runs every shared case through the lists that Render makes of it.
func TestSharedCases(t *testing.T) {
	dptest.RunACLs(t, func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		acls, unsupported := render(s, id)
		text, err := json.Marshal(acls)
		if err != nil {
			t.Fatal(err)
		}
		return dptest.ACLs{JSON: text, Unsupported: unsupported}
	})
}
