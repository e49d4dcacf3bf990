package policy

import (
	"cmp"
	"fmt"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// compiled is a policy or profile as a dataplane sees it, with the sets that its rules use and what is wrong with them. It depends on the
// stored object alone.
type compiled struct {
	policy     *dataplane.Policy
	sets       map[dataplane.IPSetID]*setSpec
	conditions []Condition
}

func compilePolicy(p *policy) *compiled {
	c := newCompiled(p.key, p.tier)
	if p.ingress {
		c.policy.Ingress = c.rules(p, dataplane.Ingress, p.in)
	}
	if p.egress {
		c.policy.Egress = c.rules(p, dataplane.Egress, p.out)
	}
	return c
}

// compileProfile is of a profile that has rules. Their selectors are of no namespace.
func compileProfile(p *profile) *compiled {
	key := v3.Key{Kind: v3.KindProfile, Name: p.name}
	c := newCompiled(key, "")
	ingress, egress := p.rules()
	c.policy.Ingress = c.rules(&policy{key: key}, dataplane.Ingress, ingress)
	c.policy.Egress = c.rules(&policy{key: key}, dataplane.Egress, egress)
	return c
}

func newCompiled(key v3.Key, tier string) *compiled {
	return &compiled{
		policy: &dataplane.Policy{ID: policyID(key), Tier: tier},
		sets:   map[dataplane.IPSetID]*setSpec{},
	}
}

func (c *compiled) rules(p *policy, dir dataplane.Direction, rules []v3.Rule) []dataplane.Rule {
	var out []dataplane.Rule
	for i := range rules {
		written := cmp.Or(rules[i].Written, i+1) - 1
		r := ruleCompiler{
			compiled: c, reader: reader{key: p.key}, namespace: p.namespace, dir: dir, in: &rules[i],
			field: fmt.Sprintf("spec.%s[%d]", dir, written),
		}
		r.out.Index = written
		if made := r.compile(); len(made) > 0 {
			out = append(slices.Grow(out, len(rules)-i), made...)
		}
		c.note(r.reader.conditions)
	}
	return out
}

// note adds conditions; what several parts of one rule say is said once.
func (c *compiled) note(conditions []Condition) {
	for _, condition := range conditions {
		if !slices.Contains(c.conditions, condition) {
			c.conditions = append(c.conditions, condition)
		}
	}
}

// ruleCompiler turns one stored rule into what a dataplane matches: none where the rule is left out, at most two.
//
// Whatever goes wrong, nothing opens: an Allow that can't be read or expressed is left out; a Deny or Pass that can't be read denies
// everything in its direction, and one that can't be expressed denies all that it might cover.
type ruleCompiler struct {
	*compiled
	reader
	namespace string // that selectors mean which name none; "" for global policies and profiles
	dir       dataplane.Direction
	field     string
	in        *v3.Rule
	out       dataplane.Rule

	unreadable  string     // why the match as a whole can't be read
	unsupported string     // what part of the match is ignored, though it would narrow the rule
	lossy       string     // what negated list lost an element
	pending     []*setSpec // sets that the rule refers to
}

func (r *ruleCompiler) compile() []dataplane.Rule {
	r.unreadable = r.in.Invalid
	r.readAction()
	r.readProtocols()
	r.readSide(&r.in.Source, ".source", &r.out.Src)
	r.readSide(&r.in.Destination, ".destination", &r.out.Dst)
	if r.unsupported == "" {
		r.readUnsupported()
	}

	if r.unsupported == "" && r.in.Action == v3.Pass {
		r.unsupported = r.lossy // as it is, more would go past the rest of the tier than was written
	}
	wrong := cmp.Or(r.unreadable, r.unsupported)
	switch {
	case r.mayBeLeftOut() && cmp.Or(wrong, r.lossy) != "":
		r.reportRule("left out: " + cmp.Or(wrong, r.lossy))
		return nil
	case r.unreadable != "":
		r.out = dataplane.Rule{Action: dataplane.Deny, Index: r.out.Index, Note: "denies everything: " + r.unreadable}
		r.reportRule(r.out.Note)
	case r.unsupported != "":
		r.out.Action, r.out.Note = dataplane.Deny, "denies all it might cover: "+r.unsupported
		r.reportRule(r.out.Note)
	}
	r.useSets()
	return r.families()
}

// mayBeLeftOut tells whether nothing opens without the rule.
func (r *ruleCompiler) mayBeLeftOut() bool {
	return r.out.Action == dataplane.Allow || r.out.Action == dataplane.Log
}

// reportRule reports the rule as a whole.
func (r *ruleCompiler) reportRule(message string) {
	kind := ConditionPartiallyInvalid
	if r.unreadable == "" && r.unsupported != "" {
		kind = ConditionUnsupported
	}
	r.report(r.field, kind, "%s", message)
}

func (r *ruleCompiler) cantRead(format string, args ...any) {
	if r.unreadable == "" {
		r.unreadable = fmt.Sprintf(format, args...)
	}
}

func (r *ruleCompiler) readAction() {
	switch r.in.Action {
	case v3.Allow:
		r.out.Action = dataplane.Allow
	case v3.Deny:
		r.out.Action = dataplane.Deny
	case v3.Pass:
		r.out.Action = dataplane.Pass
	case v3.Log:
		r.out.Action = dataplane.Log
	default:
		r.out.Action = dataplane.Deny
		r.cantRead("action %q is none of Allow, Deny, Log, Pass", r.in.Action)
	}
}

func (r *ruleCompiler) readProtocols() {
	if v := r.in.IPVersion; v != nil {
		if *v != 4 && *v != 6 {
			r.cantRead("ipVersion %d is neither 4 nor 6", *v)
		}
		r.out.IPVersion = uint8(*v)
	}
	r.out.Protocol = r.protocol("protocol", r.in.Protocol)
	r.out.NotProtocol = r.protocol("notProtocol", r.in.NotProtocol)
	r.out.ICMP = r.icmp("icmp", r.in.ICMP)
	r.out.NotICMP = r.icmp("notICMP", r.in.NotICMP)
}

func (r *ruleCompiler) protocol(field string, p *v3.Protocol) uint8 {
	if p == nil {
		return 0
	}
	number, ok := p.Number8()
	if !ok {
		r.cantRead("%s %q is none of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, 1 to 255", field, p.Name)
	}
	return number
}

// icmp reads a type and code; nil where there is no type (see families).
func (r *ruleCompiler) icmp(field string, i *v3.ICMPFields) *dataplane.ICMP {
	switch {
	case i == nil || i.Type == nil && i.Code == nil:
		return nil
	case i.Type == nil:
		r.cantRead("%s has a code without a type", field)
		return nil
	case *i.Type < 0 || *i.Type > 254 || i.Code != nil && (*i.Code < 0 || *i.Code > 255):
		r.cantRead("%s: type or code is out of range; valid: type 0 to 254, code 0 to 255", field)
		return nil
	}
	out := &dataplane.ICMP{Type: uint8(*i.Type), Code: -1}
	if i.Code != nil {
		out.Code = int16(*i.Code)
	}
	return out
}

// families is the rule itself, but for a match on ICMP of any type: that is the family's own protocol, so it takes a rule for each.
func (r *ruleCompiler) families() []dataplane.Rule {
	anyICMP, notAnyICMP := anyType(r.in.ICMP), anyType(r.in.NotICMP)
	if r.unreadable != "" || !anyICMP && !notAnyICMP {
		return []dataplane.Rule{r.out}
	}
	var rules []dataplane.Rule
	for _, family := range []struct{ version, icmp uint8 }{{4, dataplane.ProtoICMP}, {6, dataplane.ProtoICMPv6}} {
		out := r.out
		impossible := out.IPVersion != 0 && out.IPVersion != family.version
		out.IPVersion = family.version
		if anyICMP {
			impossible = impossible || out.Protocol != 0 && out.Protocol != family.icmp || out.NotProtocol == family.icmp
			out.Protocol = family.icmp
		}
		if notAnyICMP {
			impossible = impossible || out.Protocol == family.icmp
			if out.Protocol == 0 {
				out.NotProtocol = family.icmp
			}
		}
		if !impossible {
			rules = append(rules, out)
		}
	}
	return rules
}

func anyType(i *v3.ICMPFields) bool { return i != nil && i.Type == nil }

func (r *ruleCompiler) readUnsupported() {
	switch {
	case r.in.Unsupported != "":
		r.unsupported = r.in.Unsupported
	case len(r.in.Unknown) > 0:
		r.unsupported = fmt.Sprintf("this version does not know the field %s", r.in.Unknown[0])
	case r.in.HTTP != nil:
		r.unsupported = "http matches are not enforced on packets"
	case anyType(r.in.NotICMP) && r.in.Protocol == nil && r.in.NotProtocol != nil:
		r.unsupported = "notICMP without a type may not stand beside notProtocol"
	}
}

// readSide reads one side of the rule.
func (r *ruleCompiler) readSide(e *v3.EntityRule, at string, out *dataplane.Side) {
	r.readNets(e, at, out)
	peers := r.readPeers(e, at)
	r.readPorts(e, at, out)
	if peers != nil {
		out.IPSets = append(out.IPSets, r.set(selectorSet(peers, r.positive())))
	}
	if e.NotSelector != "" {
		out.NotIPSets = append(out.NotIPSets, r.set(selectorSet(r.peers(at+".notSelector", e.NotSelector), r.negated())))
	}
	if e.NodeSelector != "" {
		out.IPSets = append(out.IPSets, r.set(nodeSet(r.peers(at+".nodes", e.NodeSelector))))
	}
	r.readService(e, at, out)
}

// positive and negated say how an address counts that several endpoints claim.
func (r *ruleCompiler) positive() setUse {
	if r.mayBeLeftOut() {
		return ownerOnly
	}
	return everyClaimant
}

func (r *ruleCompiler) negated() setUse {
	if r.out.Action == dataplane.Allow {
		return negatedInAllow
	}
	return everyClaimant
}

func (r *ruleCompiler) readNets(e *v3.EntityRule, at string, out *dataplane.Side) {
	out.Nets = r.nets(r.field+at+".nets", e.Nets)
	out.NotNets = r.nets(r.field+at+".notNets", e.NotNets)
	if r.lost(r.field + at + ".notNets") {
		r.lossy = at[1:] + ".notNets can't be read in full"
	}
	if len(e.Domains) > 0 {
		r.readDomains(e, at, out)
	} else if len(e.Nets) > 0 && len(out.Nets) == 0 {
		r.cantRead("none of %s.nets can be read", at[1:])
	}
}

// readDomains: names stand for no address until they are learned; nets beside them still match.
func (r *ruleCompiler) readDomains(e *v3.EntityRule, at string, out *dataplane.Side) {
	if !r.mayBeLeftOut() || r.dir != dataplane.Egress || at != ".destination" {
		r.report(r.field+at+".domains", ConditionPartiallyInvalid, "left out: domains are for destinations of egress Allow and Log rules")
		if !r.mayBeLeftOut() {
			r.cantRead("%s.domains can't be matched by %s", at[1:], r.in.Action)
		}
	} else {
		r.report(r.field+at+".domains", ConditionNotEnforced, "names add no addresses yet; the nets beside them match")
	}
	out.IPSets = append(out.IPSets, r.set(domainSet(e.Domains, out.Nets)))
	out.Nets = nil
}

// readPeers is the selector of the peers that the side means; nil where it names none.
func (r *ruleCompiler) readPeers(e *v3.EntityRule, at string) *selector.Selector {
	named := e.Selector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil
	if !named && (e.NotSelector == "" || r.namespace == "") {
		return nil
	}
	sel := r.peers(at+".selector", e.Selector)
	if e.NamespaceSelector != "" {
		sel = selector.And(r.peers(at+".namespaceSelector", e.NamespaceSelector).ForNamespaces(), sel)
	} else if r.namespace != "" {
		sel = selector.And(selector.Equals(selector.LabelNamespace, r.namespace), sel)
	}
	if sa := e.ServiceAccounts; sa != nil {
		sel = selector.And(sel, selector.Has(selector.LabelServiceAccount))
		if len(sa.Names) > 0 {
			sel = selector.And(sel, selector.In(selector.LabelServiceAccount, sa.Names))
		}
		if sa.Selector != "" {
			sel = selector.And(sel, r.peers(at+".serviceAccounts.selector", sa.Selector).ForServiceAccounts())
		}
	}
	return sel
}

// peers reads a selector of the rule; one that can't be read makes the rule unreadable.
func (r *ruleCompiler) peers(at, text string) *selector.Selector {
	s, err := selector.Parse(text)
	if err != nil {
		r.cantRead("%s: %v", at[1:], err)
		return selector.All()
	}
	return s
}

func (r *ruleCompiler) readPorts(e *v3.EntityRule, at string, out *dataplane.Side) {
	out.Ports, out.PortSets = r.ports(at+".ports", e.Ports, r.positive())
	out.NotPorts, out.NotPortSets = r.ports(at+".notPorts", e.NotPorts, everyClaimant)
	if len(e.Ports) > 0 && len(out.Ports)+len(out.PortSets) == 0 {
		r.cantRead("none of %s.ports can be read", at[1:])
	}
	if r.lost(r.field + at + ".notPorts") {
		r.lossy = at[1:] + ".notPorts can't be read in full"
	}
}

func (r *ruleCompiler) ports(at string, ports []v3.Port, use setUse) (ranges []dataplane.PortRange, sets []dataplane.IPSetID) {
	for i, p := range ports {
		switch err := p.Problem(); {
		case err != nil:
			r.report(fmt.Sprintf("%s%s[%d]", r.field, at, i), ConditionPartiallyInvalid, "left out: %v", err)
		case p.Name != "":
			sets = append(sets, r.set(namedPortSet(p.Name, use)))
		case p.Max == 0:
			r.report(fmt.Sprintf("%s%s[%d]", r.field, at, i), ConditionPartiallyInvalid, "left out: no packet has port 0; valid: 1 to 65535")
		default:
			ranges = append(ranges, dataplane.PortRange{Min: p.Min, Max: p.Max})
		}
	}
	return ranges, sets
}

func (r *ruleCompiler) readService(e *v3.EntityRule, at string, out *dataplane.Side) {
	if e.Services == nil {
		return
	}
	name := serviceName{cmp.Or(e.Services.Namespace, r.namespace), e.Services.Name}
	switch {
	case name.name == "" || name.namespace == "":
		r.cantRead("%s.services needs a name and, outside of a namespace, a namespace", at[1:])
	case at == ".source":
		out.IPSets = append(out.IPSets, r.set(serviceSet(name, dataplane.SetNets, r.positive())))
	case len(e.Ports) > 0:
		r.unsupported = "destination.ports may not stand beside destination.services, which has ports of its own"
	default:
		out.PortSets = append(out.PortSets, r.set(serviceSet(name, dataplane.SetAddrPorts, r.positive())))
	}
}

// set notes that the rule refers to a set.
func (r *ruleCompiler) set(s *setSpec) dataplane.IPSetID {
	r.pending = append(r.pending, s)
	return s.id
}

// useSets keeps the sets that the rule still refers to.
func (r *ruleCompiler) useSets() {
	if r.unreadable != "" {
		return
	}
	for _, s := range r.pending {
		r.sets[s.id] = s
	}
}
