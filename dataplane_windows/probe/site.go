package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// mark is the name of the probe's network, and begins those of its endpoints and ACLs.
const mark = "felid-probe"

// The IDs of the probe's objects: whatever has one of them is a probe's, and whatever is a probe's has one of them, as far as HNS lets one choose.
const networkID = "FE11D000-0000-4000-8000-70726F626501"

// place is what an end is made of.
type place struct {
	name, endpoint, namespace string
	v4, v6                    string // host part of the addresses: in another prefix of length 28, or 124, each
}

var places = []place{
	{"a", "FE11D000-0000-4000-8000-70726F62650A", "FE11D000-0000-4000-8000-70726F62651A", "16", "10"},
	{"b", "FE11D000-0000-4000-8000-70726F62650B", "FE11D000-0000-4000-8000-70726F62651B", "32", "20"},
}

// subnets that the probe's network may have: of those kept for measuring between hosts (RFC 2544), which no network should use; and one for
// IPv6 (RFC 4193).
var subnets = []string{"198.18.247", "198.19.93", "198.18.11"}

const subnet6 = "fd5f:e11d:9b0e:1"

// site is what the probe works on.
type site struct {
	client  *hns.Client
	network string
	subnet  string
	dual    bool // there are IPv6 addresses
	ends    []*end
}

// end is one of the two endpoints.
type end struct {
	place
	id          string
	compartment uint32
	v4, v6      netip.Addr
	others      []string // its policies besides ACLs, as it was made
}

func (e *end) at(family int) End {
	a := e.v4
	if family == 6 {
		a = e.v6
	}
	return End{Endpoint: e.id, Compartment: e.compartment, Address: a}
}

// Clean takes away what a probe left behind.
func Clean(c *hns.Client) error {
	var errs []error
	for _, p := range places {
		e, err := c.Endpoint(p.endpoint)
		switch {
		case hns.NotFound(err):
		case err != nil:
			errs = append(errs, err)
		case e.Namespace != "":
			errs = append(errs, ignoreGone(c.Detach(e.Namespace, e.ID)))
			fallthrough
		default:
			errs = append(errs, c.DeleteEndpoint(e.ID))
		}
		errs = append(errs, c.DeleteNamespace(p.namespace))
	}
	networks, err := c.Networks()
	for _, n := range networks {
		if n.Name == mark {
			errs = append(errs, c.DeleteNetwork(n.ID))
		}
	}
	return errors.Join(append(errs, err)...)
}

func ignoreGone(err error) error {
	if hns.NotFound(err) {
		return nil
	}
	return err
}

// makeNetwork makes the probe's network on a subnet that is nobody's.
func makeNetwork(c *hns.Client, kind string, dual bool) (*site, error) {
	networks, err := c.Networks()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(subnets, func(s string) bool { return free(netip.MustParsePrefix(s+".0/24"), networks) })
	if i < 0 {
		return nil, fmt.Errorf("networks of others have all of %v", subnets)
	}
	s := &site{client: c, subnet: subnets[i], dual: dual}
	list := []hns.Subnet{{Prefix: netip.MustParsePrefix(s.subnet + ".0/24"), Gateway: netip.MustParseAddr(s.subnet + ".1")}}
	if dual {
		list = append(list, hns.Subnet{Prefix: netip.MustParsePrefix(subnet6 + "::/64"), Gateway: netip.MustParseAddr(subnet6 + "::1")})
	}
	n, err := c.CreateNetwork(hns.NewNetwork{ID: networkID, Name: mark, Type: kind, Subnets: list})
	s.network = n.ID
	return s, err
}

func free(p netip.Prefix, networks []hns.Network) bool {
	return !slices.ContainsFunc(networks, func(n hns.Network) bool { return slices.ContainsFunc(n.Subnets, p.Overlaps) })
}

// makeEnd makes an endpoint, and a namespace, which it is not attached to yet.
func (s *site) makeEnd(p place) (*end, error) {
	e := &end{place: p, v4: netip.MustParseAddr(s.subnet + "." + p.v4)}
	addresses := []netip.Prefix{netip.PrefixFrom(e.v4, 24)}
	if s.dual {
		e.v6 = netip.MustParseAddr(subnet6 + "::" + p.v6)
		addresses = append(addresses, netip.PrefixFrom(e.v6, 64))
	}
	n := hns.NewEndpoint{ID: p.endpoint, Name: mark + "-" + p.name, Network: s.network, Addresses: addresses, Others: []hns.Policy{bystander}}
	made, err := s.client.CreateEndpoint(n)
	if err != nil && !hns.Unavailable(err) { // the bystander is of use to H24 alone
		n.Others = nil
		made, err = s.client.CreateEndpoint(n)
	}
	if err != nil {
		return nil, err
	}
	ns, err := s.client.CreateNamespace(p.namespace)
	if err != nil {
		return nil, err
	}
	e.id, e.others, e.namespace, e.compartment = made.ID, made.Others, ns.ID, ns.Compartment
	s.ends = append(s.ends, e)
	return e, nil
}

// bystander is a policy of another type than ACL.
var bystander = hns.Policy{Type: "OutBoundNAT", Settings: json.RawMessage(`{"Exceptions":["198.18.0.0/15"]}`)}
