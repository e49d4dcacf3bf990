package emulator

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// create makes an object out of its settings, in schema 2 or, where no version of the schema is named, in schema 1. The GUID is the call's, the
// settings', or a new one.
func (s *Server) create(kind hns.Kind, id, parent, text string) (answer, *failure) {
	f, err := parse(text)
	if err != nil {
		return answer{}, err
	}
	if _, two := f["SchemaVersion"]; !two {
		f = toSchema2(kind, f)
	}
	o := &object{kind: kind, id: id, fields: f}
	if o.id == "" {
		o.id = upper(str(f, "ID"))
	}
	if o.id == "" {
		o.id = newGUID()
	}
	f["ID"] = o.id
	if err := s.complete(o, parent); err != nil {
		return answer{}, err
	}
	if err := s.furnish(o); err != nil {
		return answer{}, err
	}
	s.shelves[kind].put(o)
	return answer{id: o.id}, nil
}

// complete checks a new object and adds what HNS adds.
func (s *Server) complete(o *object, parent string) *failure {
	switch o.kind {
	case hns.KindNetwork:
		return s.completeNetwork(o)
	case hns.KindEndpoint:
		return s.completeEndpoint(o, parent)
	case hns.KindNamespace:
		if o.fields["NamespaceId"] == nil {
			s.number++
			o.fields["NamespaceId"] = s.number
		}
	}
	return nil
}

func (s *Server) completeNetwork(o *object) *failure {
	if o.str("Type") == "" {
		o.fields["Type"] = "NAT"
	}
	for _, other := range s.shelves[o.kind].all() {
		if name := o.str("Name"); name != "" && name == other.str("Name") {
			return fail(codeNetworkExists, "A network with this name already exists.")
		}
	}
	for _, p := range o.policies() {
		if err := s.checkPolicy(o.kind, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) completeEndpoint(o *object, parent string) *failure {
	if parent == "" {
		parent = o.str("HostComputeNetwork")
	}
	network, err := s.find(hns.KindNetwork, parent)
	if err != nil {
		return err
	}
	o.fields["HostComputeNetwork"] = network.id
	o.state = hns.StateCreated
	if remote(o) {
		o.state = hns.StateAttached
	}
	for _, p := range o.policies() {
		if err := s.checkPolicy(o.kind, p); err != nil {
			return err
		}
		if err := s.checkPort(p); err != nil {
			return err
		}
	}
	if err := s.address(network, o); err != nil {
		return err
	}
	if o.str("MacAddress") == "" {
		o.fields["MacAddress"] = mac(addresses(o))
	}
	return nil
}

// remote endpoints are kube-proxy's, for what is on another host.
func remote(o *object) bool { return number(o.fields, "Flags")&1 != 0 }

// checkPort refuses a second endpoint with the same external port.
func (s *Server) checkPort(p fields) *failure {
	if str(p, "Type") != "PortMapping" {
		return nil
	}
	for _, o := range s.shelves[hns.KindEndpoint].all() {
		for _, q := range o.policies() {
			if str(q, "Type") == "PortMapping" && equal(p["Settings"], q["Settings"]) {
				return fail(codePortExists, "The specified port already exists.")
			}
		}
	}
	return nil
}

// address gives an endpoint that names none the first free address of the network's first subnet.
func (s *Server) address(network, o *object) *failure {
	if len(addresses(o)) > 0 {
		return nil
	}
	subnet, ok := firstSubnet(network)
	if !ok {
		return nil
	}
	used := map[netip.Addr]bool{}
	for _, other := range s.shelves[hns.KindEndpoint].all() {
		for _, a := range addresses(other) {
			used[a] = true
		}
	}
	a := subnet.Masked().Addr().Next().Next() // behind the network's own address and the gateway
	for used[a] {
		a = a.Next()
	}
	if !subnet.Contains(a) {
		return fail(codeAddressReserved, "The address is either invalid or reserved.")
	}
	o.fields["IpConfigurations"] = []any{fields{"IpAddress": a.String(), "PrefixLength": float64(subnet.Bits())}}
	return nil
}

func firstSubnet(network *object) (netip.Prefix, bool) {
	for _, ipam := range items(network.fields, "Ipams") {
		for _, subnet := range items(ipam, "Subnets") {
			if p, err := netip.ParsePrefix(str(subnet, "IpAddressPrefix")); err == nil {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

func addresses(o *object) []netip.Addr {
	var list []netip.Addr
	for _, c := range items(o.fields, "IpConfigurations") {
		if a, err := netip.ParseAddr(str(c, "IpAddress")); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// mac is Microsoft's prefix and the end of the first address.
func mac(list []netip.Addr) string {
	end := []byte{0xc0, 0, 1}
	if len(list) > 0 {
		b := list[0].AsSlice()
		end = b[len(b)-3:]
	}
	return strings.ToUpper(fmt.Sprintf("00-15-5d-%02x-%02x-%02x", end[0], end[1], end[2]))
}

// remove takes an object away, and what hangs on it: a network's endpoints; an endpoint's place in its namespace.
func (s *Server) remove(o *object) {
	switch o.kind {
	case hns.KindNetwork:
		for _, e := range s.shelves[hns.KindEndpoint].all() {
			if e.network() == o.id {
				s.remove(e)
			}
		}
	case hns.KindEndpoint:
		s.detach(o, hns.StateDestroyed)
		if n := s.shelves[hns.KindNetwork].byID[o.network()]; n != nil {
			n.sets.RemovePort(o.port)
		}
	case hns.KindNamespace:
		for _, e := range s.shelves[hns.KindEndpoint].all() {
			if upper(e.str("HostComputeNamespace")) == o.id {
				s.detach(e, hns.StateDetached)
			}
		}
	}
	s.shelves[o.kind].drop(o.id)
}
