package dptest

import (
	"fmt"
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// Packet is what a host sees of one packet.
type Packet struct {
	Tuple
	// In and Out are interfaces; In is "" for one that the host itself sends, Out is "" for one to the host itself.
	In, Out string
	State   string // of connection tracking: NEW (also when ""), ESTABLISHED, RELATED, INVALID or UNTRACKED
	Mark    uint32
	// Local are the host's own addresses, for addrtype.
	Local []netip.Addr
	// SentTo is where the packet was sent, where the host makes of that the destination in Tuple (in PREROUTING, or in OUTPUT, whose rules see SentOut
	// as its interface, the one that led to SentTo); else it is zero.
	SentTo  netip.AddrPort
	SentOut string
	// Translated: the destination of the packet's connection was translated (ctstate DNAT).
	Translated bool
}

// IPTablesTrace is what became of a packet.
type IPTablesTrace struct {
	Action      dataplane.Action // Allow or Deny
	Rule        string           // what decided: "filter FORWARD: -j DROP", or "policy"
	Chains      []string         // "filter FORWARD", in the order in which the packet entered them
	Rules       int              // how many were looked at, whether or not they matched
	NFLOG       []string         // prefixes, in order
	Mark        uint32
	State       string // of connection tracking, at the end
	Masqueraded bool
}

// TraceIPTables runs a packet through the tables of its own family, given as iptables-restore text, with the sets given as
// ipset-restore text. Whatever the tracer does not know is an error, and so is whatever the kernel would refuse.
func TraceIPTables(tables, sets string, p Packet) (IPTablesTrace, error) {
	rs, err := ParseIPTables(tables, sets, p.Family())
	if err != nil {
		return IPTablesTrace{}, err
	}
	return rs.Trace(p)
}

type hook struct{ table, chain string }

var (
	hooksIn      = []hook{{"raw", "PREROUTING"}, {"mangle", "PREROUTING"}, {"nat", "PREROUTING"}, {"mangle", "INPUT"}, {"filter", "INPUT"}, {"nat", "INPUT"}}
	hooksForward = []hook{
		{"raw", "PREROUTING"}, {"mangle", "PREROUTING"}, {"nat", "PREROUTING"}, {"mangle", "FORWARD"}, {"filter", "FORWARD"},
		{"mangle", "POSTROUTING"}, {"nat", "POSTROUTING"},
	}
	hooksOut = []hook{
		{"raw", "OUTPUT"}, {"mangle", "OUTPUT"}, {"nat", "OUTPUT"}, {"filter", "OUTPUT"},
		{"mangle", "POSTROUTING"}, {"nat", "POSTROUTING"},
	}
)

// run is a packet on its way.
type run struct {
	rs    *Ruleset
	p     Packet
	trace *IPTablesTrace
	depth int
}

// Trace runs one packet through the hooks that it passes.
func (rs *Ruleset) Trace(p Packet) (IPTablesTrace, error) {
	if p.Family() != rs.family {
		return IPTablesTrace{}, fmt.Errorf("a packet of family %d in tables of family %d", p.Family(), rs.family)
	}
	if p.State == "" {
		p.State = "NEW"
	}
	hooks := hooksForward
	switch {
	case p.In == "" && p.Out == "":
		return IPTablesTrace{}, fmt.Errorf("the packet has no interface")
	case p.In == "":
		hooks = hooksOut
	case p.Out == "":
		hooks = hooksIn
	}
	trace := IPTablesTrace{Action: dataplane.Allow}
	r := &run{rs: rs, p: p, trace: &trace}
	if p.SentTo.IsValid() {
		r.p.Dst, r.p.DstPort = p.SentTo.Addr(), p.SentTo.Port()
	}
	err := r.hooks(hooks, p)
	trace.Mark, trace.State = r.p.Mark, r.p.State
	return trace, err
}

// hooks walks the tables; goes is the packet as it leaves.
func (r *run) hooks(hooks []hook, goes Packet) error {
	for _, h := range hooks {
		if err := r.enter(h, goes); err != nil {
			return err
		}
		if h.table == "nat" && r.p.State != "NEW" {
			continue // only the first packet of a connection is looked up
		}
		t := r.rs.tables[h.table]
		if t == nil || t.chains[h.chain] == nil {
			continue
		}
		c := t.chains[h.chain]
		v, err := r.chain(t, c)
		if err != nil {
			return err
		}
		if v == verdictNone {
			v = verdictAccept
			if c.policy == "DROP" {
				v, r.trace.Rule = verdictDrop, t.name+" "+c.name+": policy DROP"
			}
		}
		if v == verdictDrop {
			r.trace.Action = dataplane.Deny
			return nil
		}
	}
	return nil
}

// enter makes the packet what it is at a hook: before routing nobody knows the interface it will leave by, what the host sends keeps the one
// that it was routed to first until it leaves, and table nat translates the destination.
func (r *run) enter(h hook, goes Packet) error {
	translates := goes.SentTo.IsValid() && h.table == "nat" && (h.chain == "PREROUTING" || h.chain == "OUTPUT")
	switch r.p.Out = goes.Out; {
	case h.chain == "PREROUTING":
		r.p.Out = ""
	case h.chain == "OUTPUT" && goes.SentTo.IsValid():
		r.p.Out = goes.SentOut
	}
	if translates && r.p.State == "UNTRACKED" {
		return fmt.Errorf("a packet that is not tracked is not translated either: it goes to %s, not to %s", goes.SentTo, goes.Dst)
	}
	if translates {
		r.p.Dst, r.p.DstPort, r.p.Translated = goes.Dst, goes.DstPort, true
	}
	return nil
}

// verdict of a rule or chain; none means that the caller goes on.
type verdict uint8

const (
	verdictNone verdict = iota
	verdictAccept
	verdictDrop
	verdictReturn
)

// maxDepth is more than rules of ours nest, and less than would hide a loop.
const maxDepth = 64

func (r *run) chain(t *table, c *chain) (verdict, error) {
	if r.depth++; r.depth > maxDepth {
		return verdictNone, fmt.Errorf("%s %s: chains are nested more than %d deep: a loop", t.name, c.name, maxDepth)
	}
	defer func() { r.depth-- }()
	r.trace.Chains = append(r.trace.Chains, t.name+" "+c.name)
	for _, rule := range c.rules {
		r.trace.Rules++
		if !rule.matches(r) {
			continue
		}
		v, err := r.target(t, rule)
		if err != nil {
			return v, err
		}
		switch {
		case v == verdictAccept || v == verdictDrop:
			return v, nil
		case v == verdictReturn || rule.target.isGoto:
			return verdictNone, nil
		}
	}
	return verdictNone, nil
}

func (r *run) target(t *table, rule *ipRule) (verdict, error) {
	if rule.target.chain != "" {
		return r.chain(t, t.chains[rule.target.chain])
	}
	v := rule.target.act(r)
	if v == verdictAccept || v == verdictDrop {
		r.trace.Rule = t.name + " " + rule.chain + ": " + rule.text
	}
	return v, nil
}

func (rule *ipRule) matches(r *run) bool {
	for _, m := range rule.matchers {
		if !m(r) {
			return false
		}
	}
	return true
}
