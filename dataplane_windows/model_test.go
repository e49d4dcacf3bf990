package windows

import (
	"encoding/json"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
)

// inForm renders an endpoint as on a node whose HNS takes this form, which names no sets.
func inForm(form Form) func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
	return func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		l := Render(s, id, Options{Form: form})
		text, err := json.Marshal(l.ACLs)
		if err != nil {
			t.Fatal(err)
		}
		return dptest.ACLs{JSON: text, Unsupported: l.Unsupported, NoIPv6: !form.IPv6}
	}
}

// TestSharedCasesOfIPv4 runs every shared case through lists for an HNS that takes no IPv6 addresses: IPv6 is denied, and IPv4 is as ever.
func TestSharedCasesOfIPv4(t *testing.T) {
	old := dptest.HNSOf(20348)
	old.IPv6 = false
	dptest.RunHNS(t, []dptest.HNS{old, dptest.HNSOf(26100).Without(dptest.H12)}, inForm(Form{}))
}

// TestSharedCasesClosed: a closed node lets nothing in or out of its pods, whatever its HNS makes of priorities, layers and fields.
func TestSharedCasesClosed(t *testing.T) {
	render := inForm(Form{Closed: true})
	old := dptest.HNSOf(20348)
	models := []dptest.HNS{old, dptest.HNSOf(26100), old.Without(dptest.H1), old.Without(dptest.H2), old.Without(dptest.H6), old.Without(dptest.H7), old.Without(dptest.H8, dptest.H10, dptest.H11)}
	for _, c := range dptest.Cases(t) {
		for node, s := range dptest.States(c) {
			for id, ep := range s.Endpoints {
				if node == "" || ep.Host != nil {
					continue
				}
				for _, m := range models {
					passesNothing(t, m, render(t, s, id).JSON, c)
				}
			}
		}
	}
}

func passesNothing(t *testing.T, m dptest.HNS, list []byte, c *dptest.Case) {
	t.Helper()
	port := m.NewNetwork().NewPort()
	if err := port.SetACLs(list); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Flows {
		for _, dir := range []dataplane.Direction{dataplane.Ingress, dataplane.Egress} {
			if got := port.Pass(dir, f.Tuple); got.Action != dataplane.Deny {
				t.Fatalf("%v: %s: %s %s passes", m.False, c.Name, dir, f.Text)
			}
		}
	}
}
