package linux

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// post is where packets meet the policy of host endpoints.
type post struct {
	table     string
	hook      string // the kernel's chain from which it is reached; "": from chains that pods' packets cross too
	entry     string // the chain that finds the endpoint; "": one of those chains does
	direction dataplane.Direction
	chain     string // the endpoint's, without its interface
	// wanted tells whether an endpoint has policy there.
	wanted func(ep *dataplane.Endpoint, d dataplane.Direction) bool
	// rules writes those of an endpoint.
	rules func(r *renderer, f Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects)
}

// The posts that other chains enter.
var (
	postIn         = post{"filter", "", "", dataplane.Ingress, "felid-ih-", always, (*renderer).hostLocal}
	postOut        = post{"filter", "", "", dataplane.Egress, "felid-oh-", always, (*renderer).hostLocal}
	postForwardIn  = post{"filter", "", chainForwardIn, dataplane.Ingress, "felid-if-", forwards, (*renderer).hostForward}
	postForwardOut = post{"filter", "", chainForwardOut, dataplane.Egress, "felid-of-", forwards, (*renderer).hostForward}
)

// posts are all.
var posts = [...]post{
	{"raw", "PREROUTING", chainPrerouting, dataplane.Ingress, "felid-ih-", untracked, (*renderer).hostUntracked},
	{"raw", "OUTPUT", chainOutput, dataplane.Egress, "felid-oh-", untracked, (*renderer).hostUntracked},
	{"mangle", "PREROUTING", chainPrerouting, dataplane.Ingress, "felid-ih-", preDNAT, (*renderer).hostPreDNAT},
	{"mangle", "POSTROUTING", chainPostrouting, dataplane.Egress, "felid-oh-", always, (*renderer).hostSent},
	postIn, postOut, postForwardIn, postForwardOut,
}

func always(*dataplane.Endpoint, dataplane.Direction) bool { return true }

// manned tells whether any endpoint has policy there.
func (p *post) manned(h *hosts) bool {
	for _, ep := range h.all() {
		if p.wanted(ep, p.direction) {
			return true
		}
	}
	return false
}

// hostChain is a chain of a table.
type hostChain struct {
	Chain
	table string
	owner dataplane.EndpointID // whose it is; "": of all host endpoints
}

// hostChains are those of host endpoints in one family, without those of policies.
func (r *renderer) hostChains(f Family, h *hosts, eff effects) []hostChain {
	var out []hostChain
	tables := map[string]bool{}
	for i := range posts {
		p := &posts[i]
		if !p.manned(h) {
			continue
		}
		tables[p.table] = true
		if p.entry != "" {
			out = append(out, hostChain{r.hostEntry(h, p), p.table, ""})
		}
		for suffix, ep := range h.all() {
			if p.wanted(ep, p.direction) {
				p.rules(r, f, ep, p.direction, eff)
				c := r.w.chain(p.chain+suffix, string(ep.ID)+", "+p.direction.String())
				out = append(out, hostChain{c, p.table, ep.ID})
			}
		}
	}
	for _, table := range hostTables {
		if tables[table] {
			for _, c := range r.ends(table) {
				out = append(out, hostChain{c, table, ""})
			}
		}
	}
	if h.any() {
		r.w.s("-j MARK --set-xmark ").bits(r.marks.sent, r.marks.sent).end()
		out = append(out, hostChain{r.w.chain(chainSent, "entered by goto: for table mangle"), "filter", ""})
	}
	return out
}

// hostTables are those in which there is nothing but host endpoints'.
var hostTables = [...]string{"raw", "mangle"}

// hostKernelChains are the kernel's chains that lead into them.
var hostKernelChains = [...]string{"PREROUTING", "OUTPUT", "POSTROUTING"}

// hostHook is the jump from a kernel's chain of one of hostTables; "": none. Pods' interfaces are no host endpoint's.
func (r *renderer) hostHook(h *hosts, table, kernel string) string {
	for i := range posts {
		p := &posts[i]
		if p.table != table || p.hook != kernel || !p.manned(h) {
			continue
		}
		w := &r.w
		switch kernel {
		case "PREROUTING":
			w.s("! ", r.podsIn())
		case "OUTPUT":
			w.s("! ", r.podsOut())
		default:
			w.s("-m mark --mark ").bits(r.marks.sent, r.marks.sent).s(" ")
		}
		w.add("-j " + p.entry)
		return w.chain("", "").Rules[0]
	}
	return ""
}

// hostEntry finds the endpoint by the interface.
func (r *renderer) hostEntry(h *hosts, p *post) Chain {
	if p.hook == "POSTROUTING" {
		r.w.s("-j MARK --set-xmark ").bits(0, r.marks.sent).end()
		r.w.add(r.podsOut(), "-j RETURN")
	}
	r.hostDispatch(h, p)
	return r.w.chain(p.entry, "host endpoints, "+p.direction.String())
}

// hostDispatch writes the way to the endpoints' chains, by goto. They are few: one rule each.
func (r *renderer) hostDispatch(h *hosts, p *post) {
	option := "-i "
	if p.direction == dataplane.Egress {
		option = "-o "
	}
	rest := h.rest != nil && p.wanted(h.rest, p.direction)
	for _, n := range h.named {
		switch {
		case p.wanted(n.ep, p.direction):
			r.w.add(option, n.name, " -g ", p.chain+n.name)
		case rest:
			r.w.add(option, n.name, " -j RETURN")
		}
	}
	if rest {
		r.w.add("! ", option, loopback, " -g ", p.chain+restSuffix)
	}
}

// hostLocal writes what the host itself gets or sends: normal policy.
func (r *renderer) hostLocal(f Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	if judgedBefore(ep, d) {
		r.ifAllowed(r.settled())
	}
	r.w.add("-m conntrack --ctstate RELATED,ESTABLISHED ", r.settled())
	r.spared(f, d, false, r.settled())
	r.hostNormal(ep, &way{stage: stageLocal, direction: d, allowed: r.settled()}, eff, true)
}

// hostSent writes what destination NAT has redirected: normal policy. It is about new connections alone; table filter has seen to the others.
func (r *renderer) hostSent(f Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	r.failsafes(f, d, false, "-j RETURN")
	r.hostNormal(ep, &way{stage: stageSent, direction: d, allowed: "-j RETURN"}, eff, false)
}

func (r *renderer) hostNormal(ep *dataplane.Endpoint, by *way, eff effects, invalid bool) {
	if ep.Host.Fault != "" {
		r.w.add("-j DROP")
		return
	}
	if invalid {
		r.invalid()
	}
	r.clear()
	r.normal(ep, by, eff)
}

// hostForward writes what is for new connections that are forwarded. Where nothing decides, the packet goes on.
func (r *renderer) hostForward(_ Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	by := way{stage: stageForward, direction: d, allowed: "-j RETURN"}
	if d == dataplane.Egress {
		by.stage = stageLocal // its egress policies accept nothing outright
	} else if judgedBefore(ep, d) {
		r.ifAllowed("-j RETURN")
	}
	if ep.Host.Fault != "" {
		r.w.add("-j DROP")
		return
	}
	r.invalid()
	r.clear()
	r.tiers(ep.Host.Forward, &by, eff)
}

// hostUntracked writes what comes before connection tracking, for every packet. The mark may be left from before: of a packet that was in a
// tunnel, from the packet around it.
func (r *renderer) hostUntracked(f Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	r.clear()
	r.spared(f, d, true, "-j RETURN")
	r.tiers(ep.Host.Untracked, &way{stage: stageUntracked, direction: d, allowed: "-j RETURN"}, eff)
}

// hostPreDNAT writes what comes before destination NAT. It has no say about connections that are established.
func (r *renderer) hostPreDNAT(f Family, ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	r.w.add("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")
	if untracked(ep, d) {
		r.ifAllowed("-j RETURN")
	}
	r.clear()
	r.spared(f, d, false, "-j RETURN")
	r.tiers(ep.Host.PreDNAT, &way{stage: stagePreDNAT, direction: d, allowed: "-j RETURN"}, eff)
}

// ifAllowed ends the way of packets that have the mark.
func (r *renderer) ifAllowed(target string) {
	r.w.s("-m mark --mark ").bits(r.marks.accept, r.marks.accept).s(" ", target).end()
}

// spared are packets that no policy of a host endpoint closes: failsafe ports, and in IPv6 those without which there is no link.
func (r *renderer) spared(f Family, d dataplane.Direction, answers bool, target string) {
	if f == IPv6 {
		for _, t := range linkTypes {
			r.w.s("-p ipv6-icmp -m icmp6 --icmpv6-type ").n(t).s(" ", target).end()
		}
	}
	r.failsafes(f, d, answers, target)
}

// linkTypes are neighbourTypes and what routers say: advertisements (RFC 4861), and reports of MLDv2 (RFC 3810).
var linkTypes = append(append([]int{}, neighbourTypes[:]...), 134, 143)

// failsafes writes the ports to which connections stay open, and where asked for those of their answers, which before connection tracking can't
// be told from others.
func (r *renderer) failsafes(f Family, d dataplane.Direction, answers bool, target string) {
	list, other, e := r.host.FailsafeInbound, r.host.FailsafeOutbound, source
	if d == dataplane.Egress {
		list, other, e = other, list, destination
	}
	r.failsafePorts(f, list, e.addr, destination.ports, target)
	if answers {
		r.failsafePorts(f, other, e.addr, source.ports, target)
	}
}

// failsafePorts writes a rule for each protocol and net, in the order in which they come first.
func (r *renderer) failsafePorts(f Family, list []dataplane.Failsafe, address, ports, target string) {
	type group struct {
		protocol uint8
		net      netip.Prefix
	}
	var order []group
	ranges := map[group][]dataplane.PortRange{}
	for _, s := range list {
		if s.Net.IsValid() && !f.of(s.Net.Addr()) {
			continue
		}
		g := group{s.Protocol, s.Net.Masked()}
		if ranges[g] == nil {
			order = append(order, g)
		}
		ranges[g] = append(ranges[g], dataplane.PortRange{Min: s.Port, Max: s.Port})
	}
	for _, g := range order {
		for _, numbers := range multiport(ranges[g]) {
			if g.net.IsValid() && g.net.Bits() > 0 {
				r.w.s(address, g.net.String(), " ")
			}
			r.w.add("-p ", protocolName(g.protocol), " -m multiport ", ports, numbers, " ", target)
		}
	}
}
