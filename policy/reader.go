package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// reader reads the elements of one object; those that can't be read are left out, and reported.
type reader struct {
	key        v3.Key
	conditions []Condition
	texts      *texts // nil: strings are not shared
}

func (r *reader) report(field, kind, format string, args ...any) {
	r.conditions = append(r.conditions, Condition{Object: r.key, Field: field, Type: kind, Message: fmt.Sprintf(format, args...)})
}

// lost tells whether an element of the field could not be read.
func (r *reader) lost(field string) bool {
	return slices.ContainsFunc(r.conditions, func(c Condition) bool {
		return c.Type == ConditionPartiallyInvalid && strings.HasPrefix(c.Field, field+"[")
	})
}

// nets reads prefixes: sorted, no duplicates.
func (r *reader) nets(field string, texts []string) []netip.Prefix {
	if len(texts) == 0 {
		return nil
	}
	nets := make([]netip.Prefix, 0, len(texts))
	for i, text := range texts {
		net, _, err := v3.ParseCIDR(text)
		if err != nil {
			r.report(fmt.Sprintf("%s[%d]", field, i), ConditionPartiallyInvalid, "left out: %v", err)
			continue
		}
		nets = append(nets, net)
	}
	slices.SortFunc(nets, netip.Prefix.Compare)
	return slices.Clip(slices.Compact(nets))
}

// addrs reads addresses, with or without a prefix length: sorted, no duplicates.
func (r *reader) addrs(field string, texts []string) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(texts))
	for i, text := range texts {
		bare, _, _ := strings.Cut(text, "/")
		_, _, bad := v3.ParseCIDR(text)
		net, _, err := v3.ParseCIDR(bare)
		if err = cmp.Or(bad, err); err != nil {
			r.report(fmt.Sprintf("%s[%d]", field, i), ConditionPartiallyInvalid, "left out: %v", err)
			continue
		}
		addrs = append(addrs, net.Addr())
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Clip(slices.Compact(addrs))
}

func (r *reader) endpointPorts(ports []v3.EndpointPort) []dataplane.NamedPort {
	if len(ports) == 0 {
		return nil
	}
	out := make([]dataplane.NamedPort, 0, len(ports))
	for i, p := range ports {
		number, ok := p.Protocol.Number8()
		if !ok || p.Port == 0 || p.Name == "" {
			r.report(fmt.Sprintf("spec.ports[%d]", i), ConditionPartiallyInvalid, "left out: a named port has a name, a protocol and a number from 1 to 65535")
			continue
		}
		out = append(out, dataplane.NamedPort{Name: p.Name, Protocol: number, Port: p.Port})
	}
	slices.SortFunc(out, func(a, b dataplane.NamedPort) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return slices.Clip(slices.Compact(out))
}

// selector reads a selector; "" matches everything.
func (r *reader) selector(field, text string) *selector.Selector {
	s, err := selector.Parse(text)
	if err != nil {
		r.report(field, ConditionPartiallyInvalid, "%v", err)
		return selector.All()
	}
	return s
}

// ofNamespaces reads a selector over the labels of namespaces; "" asks nothing of the namespace.
func (r *reader) ofNamespaces(field, text string) *selector.Selector {
	if text == "" {
		return selector.All()
	}
	return r.selector(field, text).ForNamespaces()
}

// ofAccounts reads a selector over the labels of service accounts; "" asks nothing of the account.
func (r *reader) ofAccounts(field, text string) *selector.Selector {
	if text == "" {
		return selector.All()
	}
	return selector.And(selector.Has(selector.LabelServiceAccount), r.selector(field, text).ForServiceAccounts())
}
