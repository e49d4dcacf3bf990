package dataplane

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// Copy is a deep copy that shares nothing with s.
func (s *State) Copy() *State {
	c := NewState()
	for id, e := range s.Endpoints {
		c.Endpoints[id] = e.copy()
	}
	for id, p := range s.Policies {
		q := *p
		q.Ingress, q.Egress = copyRules(p.Ingress), copyRules(p.Egress)
		c.Policies[id] = &q
	}
	for id, set := range s.IPSets {
		t := *set
		t.Members = maps.Clone(set.Members)
		c.IPSets[id] = &t
	}
	for name, n := range s.Nodes {
		c.Nodes[name] = &Node{Name: n.Name, Addresses: slices.Clone(n.Addresses)}
	}
	maps.Copy(c.Routes, s.Routes)
	maps.Copy(c.VTEPs, s.VTEPs)
	c.NAT = NAT{Masquerade: slices.Clone(s.NAT.Masquerade), Exclude: slices.Clone(s.NAT.Exclude)}
	c.Host = s.Host
	return c
}

func (e *Endpoint) copy() *Endpoint {
	c := *e
	c.Addresses, c.AllowedSources = slices.Clone(e.Addresses), slices.Clone(e.AllowedSources)
	c.Ports, c.Profiles = slices.Clone(e.Ports), slices.Clone(e.Profiles)
	c.Tiers, c.Probes = copyTiers(e.Tiers), slices.Clone(e.Probes)
	if e.Host != nil {
		c.Host = &HostEndpoint{
			Untracked: copyTiers(e.Host.Untracked), PreDNAT: copyTiers(e.Host.PreDNAT), Forward: copyTiers(e.Host.Forward), Fault: e.Host.Fault,
		}
	}
	return &c
}

func copyTiers(tiers []EndpointTier) []EndpointTier {
	c := slices.Clone(tiers)
	for i := range c {
		t := &c[i]
		t.Ingress, t.Egress = slices.Clone(t.Ingress), slices.Clone(t.Egress)
	}
	return c
}

func copyRules(rules []Rule) []Rule {
	c := slices.Clone(rules)
	for i := range c {
		r := &c[i]
		r.ICMP, r.NotICMP = copyICMP(r.ICMP), copyICMP(r.NotICMP)
		r.Src, r.Dst = r.Src.copy(), r.Dst.copy()
	}
	return c
}

func copyICMP(i *ICMP) *ICMP {
	if i == nil {
		return nil
	}
	c := *i
	return &c
}

func (s Side) copy() Side {
	return Side{
		Nets: slices.Clone(s.Nets), NotNets: slices.Clone(s.NotNets),
		IPSets: slices.Clone(s.IPSets), NotIPSets: slices.Clone(s.NotIPSets),
		Ports: slices.Clone(s.Ports), PortSets: slices.Clone(s.PortSets),
		NotPorts: slices.Clone(s.NotPorts), NotPortSets: slices.Clone(s.NotPortSets),
	}
}

// Diff is what moved from one State to another: the truthful Changes, found by comparing everything.
func Diff(from, to *State) *Changes {
	c := NewChanges()
	diffInto(c.Endpoints, from.Endpoints, to.Endpoints)
	diffInto(c.Policies, from.Policies, to.Policies)
	diffInto(c.Nodes, from.Nodes, to.Nodes)
	diffInto(c.Routes, from.Routes, to.Routes)
	diffInto(c.VTEPs, from.VTEPs, to.VTEPs)
	for id, a := range from.IPSets {
		if to.IPSets[id] == nil {
			c.IPSets[id] = nil
		} else if b := to.IPSets[id]; a.Type != b.Type {
			c.IPSets[id] = nil
		} else if delta := diffMembers(a.Members, b.Members); delta != nil {
			c.IPSets[id] = delta
		}
	}
	for id := range to.IPSets {
		if from.IPSets[id] == nil {
			c.IPSets[id] = nil
		}
	}
	c.NAT = !samePrefixes(from.NAT.Masquerade, to.NAT.Masquerade) || !samePrefixes(from.NAT.Exclude, to.NAT.Exclude)
	c.Host = !from.Host.Equal(&to.Host)
	return c
}

func samePrefixes(a, b []netip.Prefix) bool { return slices.Equal(a, b) }

// diffInto names the keys whose values differ; an empty slice and a nil one are the same.
func diffInto[K comparable, V any](moved map[K]struct{}, from, to map[K]V) {
	for k, a := range from {
		if b, ok := to[k]; !ok || !same(reflect.ValueOf(a), reflect.ValueOf(b)) {
			moved[k] = struct{}{}
		}
	}
	for k := range to {
		if _, ok := from[k]; !ok {
			moved[k] = struct{}{}
		}
	}
}

// same is reflect.DeepEqual, but for nil and empty slices, which mean the same in a State.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || same(a.Elem(), b.Elem()))
	case reflect.Struct:
		if a.Comparable() && b.Comparable() {
			return a.Equal(b)
		}
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

// diffMembers is nil where the members are the same.
func diffMembers(from, to map[Member]struct{}) *SetDelta {
	var d SetDelta
	for m := range from {
		if _, ok := to[m]; !ok {
			d.Removed = append(d.Removed, m)
		}
	}
	for m := range to {
		if _, ok := from[m]; !ok {
			d.Added = append(d.Added, m)
		}
	}
	if len(d.Added)+len(d.Removed) == 0 {
		return nil
	}
	return &d
}
