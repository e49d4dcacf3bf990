package windows

import (
	"os"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// overHCN is a host whose HNS is the one of this Windows: an emulator, which HNSEMU_ADDR names. It is emptied first, so that a real one must not be used.
func overHCN(t *testing.T, form Form) *host {
	t.Helper()
	if os.Getenv("HNSEMU_ADDR") == "" {
		t.Fatal("HNSEMU_ADDR names no emulator of HNS: this test deletes all networks")
	}
	c := hns.NewClient(hns.Open())
	nets, err := c.Networks()
	must(t, err)
	for _, n := range nets {
		must(t, c.DeleteNetwork(n.ID))
	}
	return hostOver(t, form, hns.Open())
}

// TestDriverOverHCN is the conformance suite through hcsshim and the DLLs.
func TestDriverOverHCN(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) { conformance(t, func(t *testing.T) *host { return overHCN(t, form) }) })
	}
}

// TestDriverOverHCNSeesWhatIsLost: endpoints that are gone are told from calls that failed, by what hcsshim makes of the errors of the DLLs.
func TestDriverOverHCNSeesWhatIsLost(t *testing.T) {
	n := &node{host: overHCN(t, forms["plain"]), state: nodeState(3)}
	for i := range 3 {
		n.ids = append(n.ids, n.pod(podAddr(i).String()))
	}
	n.state.Endpoints[podID(2)].Interface = n.ids[2]
	n.d = n.open()
	n.mustApply(nil)
	must(t, n.inForce())
	must(t, n.client.DeleteEndpoint(n.ids[1]))
	must(t, n.client.DeleteEndpoint(n.ids[2]))
	r, err := n.apply(leave(n.state, "clients", "10.0.3.1/32"))
	must(t, err)
	if len(r.Endpoints) != 2 || r.Endpoints[podID(0)] != nil {
		t.Errorf("reported %v", r.Endpoints)
	}
	must(t, n.inForceAt(0, n.ids[0]))
	if drifted, err := n.d.CheckDrift(t.Context()); drifted || err != nil {
		t.Errorf("drifted %v, error %v", drifted, err)
	}
	n.mustApply(change(n.state, func(s *dataplane.State) { delete(s.Endpoints, podID(1)); delete(s.Endpoints, podID(2)) }))
}
