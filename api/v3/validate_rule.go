package v3

import (
	"fmt"
	"net/netip"
	"strings"
)

// RuleContext says where a rule stands.
//
// +kubebuilder:object:generate=false
type RuleContext struct {
	Object    Key
	Direction PolicyType
	Selectors func(selector string) error // nil: not judged
}

// ValidateRule judges one rule. path names it in the errors: "spec.ingress[0]". An error with Element set concerns one element of a list,
// any other the rule as a whole.
func ValidateRule(path string, r *Rule, ctx RuleContext) []FieldError {
	v := newValidator(ctx.Object, []Option{WithSelectors(ctx.Selectors)})
	v.rule(path, r, ctx.Direction == PolicyTypeEgress)
	return v.errs
}

func (v *validator) rule(path string, r *Rule, egress bool) {
	v.expect(r.Invalid == "", path, "", "can't be read: %s", r.Invalid)
	for _, field := range r.Unknown {
		v.expect(false, path+"."+field, "", "unknown field")
	}
	v.oneOf(path+".action", string(r.Action), string(Allow), string(Deny), string(Log), string(Pass))
	if r.IPVersion != nil {
		v.expect(*r.IPVersion == 4 || *r.IPVersion == 6, path+".ipVersion", "4 or 6", "is %d", *r.IPVersion)
	}
	v.protocol(path+".protocol", r.Protocol)
	v.protocol(path+".notProtocol", r.NotProtocol)
	v.icmp(path+".icmp", r.ICMP, r)
	v.icmp(path+".notICMP", r.NotICMP, r)
	v.entity(path+".source", &r.Source, r)
	v.entity(path+".destination", &r.Destination, r)
	v.families(path, r)
	v.services(path, r, egress)
	v.domains(path, r, egress)
	v.http(path+".http", r, egress)
}

func (v *validator) protocol(field string, p *Protocol) {
	if p == nil {
		return
	}
	if err := p.Problem(); err != nil {
		v.add(FieldError{Field: field, Problem: err.Error()})
		return
	}
	v.expect(!v.strict || p.plain(), field, "all in upper case, all in lower case, or as in TCP, Tcp, ICMPv6, UDPLite", "%q is an unusual spelling", p.Name)
}

// protocolNumber is that of the rule; 0 where it has none.
func protocolNumber(r *Rule) uint8 {
	if r.Protocol == nil {
		return 0
	}
	n, _ := r.Protocol.Number8()
	return n
}

func (v *validator) icmp(field string, icmp *ICMPFields, r *Rule) {
	if icmp == nil {
		return
	}
	v.expect(icmp.Type == nil || *icmp.Type >= 0 && *icmp.Type <= 254, field+".type", "0 to 254", "is out of range")
	v.expect(icmp.Code == nil || *icmp.Code >= 0 && *icmp.Code <= 255, field+".code", "0 to 255", "is out of range")
	v.expect(icmp.Code == nil || icmp.Type != nil, field+".type", "a type with every code", "is missing")
	n := protocolNumber(r)
	v.expect(n == 1 || n == 58, field, "protocol ICMP or ICMPv6", "needs a matching protocol")
	v.expect(n != 1 || r.IPVersion == nil || *r.IPVersion == 4, field, "ipVersion 4 with ICMP", "ICMP is IPv4's")
	v.expect(n != 58 || r.IPVersion == nil || *r.IPVersion == 6, field, "ipVersion 6 with ICMPv6", "ICMPv6 is IPv6's")
}

func (v *validator) entity(path string, e *EntityRule, r *Rule) {
	v.ruleNets(path+".nets", e.Nets)
	for i, prefix := range v.ruleNets(path+".notNets", e.NotNets) {
		v.expect(!prefix.IsValid() || prefix.Bits() > 0, fmt.Sprintf("%s.notNets[%d]", path, i), "a longer prefix", "%s would never match", prefix)
	}
	v.policySelector(path+".selector", e.Selector)
	v.policySelector(path+".notSelector", e.NotSelector)
	if v.selector(path+".namespaceSelector", e.NamespaceSelector) && v.usesGlobal(e.NamespaceSelector) {
		alone := strings.NewReplacer(" ", "", "\t", "").Replace(e.NamespaceSelector) == "global()"
		v.expect(alone, path+".namespaceSelector", "global() alone", "global() can't be combined")
	}
	if e.ServiceAccounts != nil {
		v.policySelector(path+".serviceAccounts.selector", e.ServiceAccounts.Selector)
	}
	v.ports(path+".ports", e.Ports, r)
	v.ports(path+".notPorts", e.NotPorts, r)
}

func (v *validator) ruleNets(field string, nets []string) []netip.Prefix {
	v.expect(len(nets) <= maxNets, field, fmt.Sprintf("at most %d; more belong in a network set", maxNets), "has %d elements", len(nets))
	return v.nets(field, nets)
}

// nets judges each element; the result has an invalid prefix in the place of one that can't be read.
func (v *validator) nets(field string, nets []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(nets))
	for i, text := range nets {
		prefix, warning, err := ParseCIDR(text)
		prefixes[i] = prefix
		switch at := fmt.Sprintf("%s[%d]", field, i); {
		case err != nil:
			v.element(at, err)
		case warning != "":
			v.warn(at, warning)
		}
	}
	return prefixes
}

func (v *validator) ports(field string, ports []Port, r *Rule) {
	v.expect(len(ports) <= maxPorts, field, fmt.Sprintf("at most %d", maxPorts), "has %d elements", len(ports))
	numeric := false
	for i, port := range ports {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := port.Problem(); err != nil {
			v.element(at, err)
			continue
		}
		numeric = numeric || port.Name == "" || v.strict && isNumber(port.Name[:1])
		if low, high, ok := strings.Cut(port.Name, "-"); ok && isNumber(low) && isNumber(high) {
			v.warn(at, fmt.Sprintf("%s is the name of a port; a range is written %s:%s", port.Name, low, high))
		}
	}
	if len(ports) == 0 {
		return
	}
	n := protocolNumber(r)
	ported := n == 6 || n == 17 || n == 132
	v.expect(ported || !numeric && r.Protocol == nil, field, "protocol TCP, UDP or SCTP in the rule (named ports that begin with no digit may go without)", "needs a protocol that has ports")
}

// families: one packet is of one family, so a rule with nets of both could match in part only.
func (v *validator) families(path string, r *Rule) {
	var seen [7]bool
	for _, list := range [][]string{r.Source.Nets, r.Source.NotNets, r.Destination.Nets, r.Destination.NotNets} {
		for _, text := range list {
			if prefix, _, err := ParseCIDR(text); err == nil {
				seen[family(prefix.Addr())] = true
			}
		}
	}
	v.expect(!seen[4] || !seen[6], path, "nets of one family; write a rule for each", "mixes IPv4 and IPv6 nets")
	if r.IPVersion != nil && (*r.IPVersion == 4 || *r.IPVersion == 6) {
		v.expect(!seen[10-*r.IPVersion], path+".ipVersion", "that of the nets", "is %d, and nets are of the other family", *r.IPVersion)
	}
}

// family is 4 or 6.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return 4
	}
	return 6
}
