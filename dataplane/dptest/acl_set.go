package dptest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HNSNetwork is a network of the model: sets stand on it, and ports.
type HNSNetwork struct {
	model HNS
	sets  map[string]hnsSet
	ports []*HNSPort
}

// hnsSet has prefixes, or where it is nested the names of other sets.
type hnsSet struct {
	nested   bool
	prefixes []netip.Prefix
	sets     []string
}

// NewNetwork is a network without sets.
func (m HNS) NewNetwork() *HNSNetwork {
	return &HNSNetwork{model: m, sets: map[string]hnsSet{}}
}

// PutSet makes a set have these members and no others. The type is that of a SetPolicy: IPSET, whose values are addresses and prefixes, or
// NESTEDIPSET, whose values are sets.
func (n *HNSNetwork) PutSet(id, policyType, values string) error {
	if n.model.Major < 13 {
		return fmt.Errorf("set %q: sets need HNS 13.0, this is %d.%d", id, n.model.Major, n.model.Minor)
	}
	if id == "" || strings.ContainsAny(id, ", ") {
		return fmt.Errorf("set %q: field Id", id)
	}
	if _, err := parseAddress(id); err == nil {
		return fmt.Errorf("set %q: field Id is an address", id)
	}
	var items []string
	if values != "" {
		items = strings.Split(values, ",")
	}
	switch policyType {
	case "IPSET":
		set, err := n.plainSet(items)
		if err != nil {
			return fmt.Errorf("set %q: field Values: %w", id, err)
		}
		n.sets[id] = set
	case "NESTEDIPSET":
		if i := slices.IndexFunc(items, func(s string) bool { return !n.has(s) }); i >= 0 {
			return fmt.Errorf("set %q: field Values: no set %q", id, items[i])
		}
		n.sets[id] = hnsSet{nested: true, sets: items}
	default:
		return fmt.Errorf("set %q: field PolicyType: %q", id, policyType)
	}
	return nil
}

func (n *HNSNetwork) plainSet(items []string) (hnsSet, error) {
	var set hnsSet
	for _, item := range items {
		p, err := parseAddress(item)
		if err != nil {
			return set, err
		}
		if n.model.False[H40] {
			if p.Addr().Is6() {
				continue
			}
			p = netip.PrefixFrom(p.Addr(), 32)
		}
		set.prefixes = append(set.prefixes, p)
	}
	return set, nil
}

func (n *HNSNetwork) has(id string) bool {
	_, ok := n.sets[id]
	return ok
}

// RemoveSet takes a set away that no list and no other set names.
func (n *HNSNetwork) RemoveSet(id string) error {
	if !n.has(id) {
		return fmt.Errorf("no set %q", id)
	}
	if !n.model.False[H39] {
		for _, p := range n.ports {
			if slices.ContainsFunc(p.rules, func(r *aclRule) bool { return r.names(id) }) {
				return fmt.Errorf("set %q is named by an ACL", id)
			}
		}
		for other, s := range n.sets {
			if slices.Contains(s.sets, id) {
				return fmt.Errorf("set %q is a member of %q", id, other)
			}
		}
	}
	delete(n.sets, id)
	return nil
}

// contains tells whether an address is in a set of these.
func (m *HNS) contains(sets map[string]hnsSet, id string, a netip.Addr) bool {
	set, ok := sets[id]
	switch {
	case !ok: // only where such rules are taken
		return true
	case len(set.prefixes)+len(set.sets) == 0:
		return set.nested || m.False[H37]
	case set.nested:
		return slices.ContainsFunc(set.sets, func(member string) bool { return m.contains(sets, member, a) })
	}
	return within(a, set.prefixes)
}

var errHostBits = errors.New("has host bits")

// parseAddress reads an address or a masked prefix.
func parseAddress(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no address", text)
	case p != p.Masked():
		return p, fmt.Errorf("address %q %w", text, errHostBits)
	}
	return p, nil
}
