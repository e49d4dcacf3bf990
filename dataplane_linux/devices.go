package linux

import (
	"maps"
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// devices remembers which interfaces have the addresses of host endpoints that name no interface. Both maps are replaced, never changed.
type devices struct {
	find   func(map[netip.Addr]struct{}) (map[netip.Addr]string, error) // nil: none has any
	wanted map[netip.Addr]struct{}
	names  map[netip.Addr]string
	err    error // of the last look; names are then older
}

// update looks at the host where an endpoint has come with addresses that nobody asked for before, or where asked to look again.
func (d *devices) update(s *dataplane.State, again bool) {
	wanted := map[netip.Addr]struct{}{}
	for ep := range hostEndpoints(s) {
		if ep.Interface == "" {
			for _, a := range ep.Addresses {
				wanted[a] = struct{}{}
			}
		}
	}
	if !again && maps.Equal(wanted, d.wanted) {
		return
	}
	d.wanted = wanted
	names, err := d.look()
	if d.err = err; err == nil {
		d.names = names
	}
}

// look reads the interfaces anew; with nothing wanted it asks nobody.
func (d *devices) look() (map[netip.Addr]string, error) {
	if len(d.wanted) == 0 || d.find == nil {
		return nil, nil
	}
	return d.find(d.wanted)
}
