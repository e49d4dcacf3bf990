package linux

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// filterHooks are the jumps from the kernel's chains.
func filterHooks() []Hook {
	return []Hook{{"INPUT", "-j " + chainInput}, {"FORWARD", "-j " + chainForward}, {"OUTPUT", "-j " + chainOutput}}
}

// podsIn and podsOut match packets from and to pods, by interface.
func (r *renderer) podsIn() string  { return "-i " + r.host.InterfacePrefix + "+ " }
func (r *renderer) podsOut() string { return "-o " + r.host.InterfacePrefix + "+ " }

// staticChains are those of the filter table that do not depend on pods: the entries, and the ends of Allow and Pass.
func (r *renderer) staticChains(f Family, h *hosts) []Chain {
	if !r.enabled(f) {
		return r.closedChains(h)
	}
	ends := r.ends("filter")
	r.w.add(r.podsIn(), "-g "+chainWorkloadHost)
	r.hostDispatch(h, &postIn)
	input := r.w.chain(chainInput, "to this host")
	return append(append(r.workloadChains(f, h), ends...), input)
}

// ends are the chains of a table at which Allow and Pass end.
func (r *renderer) ends(table string) []Chain {
	w := &r.w
	if table == "raw" {
		w.add("-j CT --notrack")
	}
	w.s("-j MARK --set-xmark ").bits(r.marks.accept, r.marks.accept).end()
	allow := w.chain(chainAllow, "entered by goto: marks, and returns to the endpoint's chain")
	w.s("-j MARK --set-xmark ").bits(r.marks.pass, r.marks.pass).end()
	return []Chain{allow, w.chain(chainPass, "entered by goto: on to the next tier")}
}

// closedChains are those for a family that is not policed for pods.
func (r *renderer) closedChains(h *hosts) []Chain {
	const about = "not policed: pods' packets of this family are dropped"
	w := &r.w
	w.add(r.podsIn(), "-j DROP")
	r.hostDispatch(h, &postIn)
	input := w.chain(chainInput, about)
	w.add(r.podsIn(), "-j DROP")
	w.add(r.podsOut(), "-j DROP")
	r.hostForwards(h)
	forward := w.chain(chainForward, about)
	w.add(redirected, "-j "+chainRedirected)
	w.add(r.podsOut(), "-j DROP")
	r.hostOutput(h)
	closed := []Chain{input, forward, w.chain(chainOutput, about)}
	if h.any() {
		closed = append(closed, r.ends("filter")...)
	}
	return closed
}

// workloadChains are felid-forward, felid-output and felid-workload-host.
func (r *renderer) workloadChains(f Family, h *hosts) []Chain {
	w := &r.w
	w.add(r.podsIn(), "-j "+chainFrom)
	r.hostForwards(h)
	w.add(r.podsOut(), "-m conntrack ! --ctstate RELATED,ESTABLISHED -j "+chainTo)
	w.add(r.podsIn(), r.allowed())
	w.add(r.podsOut(), r.allowed())
	forward := w.chain(chainForward, "through this host")

	r.toOwnPods(f)
	w.add(r.podsOut(), r.allowed())
	r.hostOutput(h)
	output := w.chain(chainOutput, "from this host")

	r.neighbours(f, "")
	w.add(dhcp(f), r.allowed())
	w.add("-j " + chainFrom)
	if f == IPv4 && r.host.Owner { // route_localnet, which pods' interfaces have, would let pods in here
		w.add("-d 127.0.0.0/8 -j DROP")
	}
	r.toOwnHost(h)
	return []Chain{forward, output, w.chain(chainWorkloadHost, "from a pod to this host")}
}

// redirected matches new connections whose destination is not the one that they were sent to.
const redirected = "-m conntrack --ctstate DNAT -m conntrack ! --ctstate RELATED,ESTABLISHED "

// toOwnPods writes which packets to pods of this host are left to policy. Those that destination NAT has redirected to one are found by
// their address: the interface that is seen here is the one before.
func (r *renderer) toOwnPods(f Family) {
	w := &r.w
	if r.host.HostToWorkload == dataplane.HostToWorkloadAll {
		return
	}
	w.add(redirected, "-j "+chainRedirected)
	if r.probes() {
		w.add(r.podsOut(), probed(f), r.allowed())
	}
	r.neighbours(f, r.podsOut())
	w.add(r.podsOut(), "-m conntrack ! --ctstate RELATED,ESTABLISHED -j "+chainTo)
}

// redirects tells whether what the host sends to its own pods in a family is not simply allowed.
func (r *renderer) redirects(f Family) bool {
	return !r.enabled(f) || r.host.HostToWorkload != dataplane.HostToWorkloadAll
}

// redirectedChain leads what destination NAT has redirected to a pod of this host to the pod's policy, as the packets of the host itself that go
// there. An address that several claim is the first's, as its route is.
func (r *renderer) redirectedChain(f Family, ifaces map[string]*dataplane.Endpoint) []Chain {
	if !r.redirects(f) {
		return nil
	}
	owner := map[netip.Addr]*dataplane.Endpoint{}
	for _, ep := range ifaces {
		for _, a := range ep.Addresses {
			if first := owner[a]; f.of(a) && (first == nil || ep.ID < first.ID) {
				owner[a] = ep
			}
		}
	}
	if r.probes() && r.enabled(f) {
		r.w.add(probed(f), r.allowed())
	}
	for _, a := range slices.SortedFunc(maps.Keys(owner), netip.Addr.Compare) {
		target := "-j DROP"
		if r.enabled(f) {
			target = "-g " + endpointChain(dataplane.Ingress, owner[a].Interface)
		}
		r.w.add("-d ", netip.PrefixFrom(a, a.BitLen()).String(), " ", target)
	}
	return []Chain{r.w.chain(chainRedirected, "from this host, redirected to a pod of its own")}
}

// probed matches the ports that the probes of this host's pods name.
func probed(f Family) string { return "-m set --match-set " + setName(f, setProbes) + " dst,dst " }

// toOwnHost writes what becomes of a packet to this host that the pod's egress policy has allowed.
func (r *renderer) toOwnHost(h *hosts) {
	w := &r.w
	switch r.host.WorkloadToHost {
	case dataplane.Allow:
		w.add(r.allowed())
	case dataplane.Pass:
		if h.rest != nil {
			r.clear() // it was allowed by the pod's policy, not by the host's
			w.add("-g ", postIn.chain+restSuffix)
		}
	default:
		if !r.host.Owner { // the owner has accepted them in felid-from
			w.add("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")
		}
		w.add("-j DROP")
	}
}

// hostForwards writes the way to what host endpoints say about new connections through this host: in first, then out.
func (r *renderer) hostForwards(h *hosts) {
	if postForwardIn.manned(h) {
		r.w.add("! ", r.podsIn(), "-m conntrack ! --ctstate RELATED,ESTABLISHED -j "+chainForwardIn)
	}
	if postForwardOut.manned(h) {
		r.w.add("! ", r.podsOut(), "-m conntrack ! --ctstate RELATED,ESTABLISHED -j "+chainForwardOut)
	}
}

// hostOutput writes the way to the host endpoint by which a packet of the host itself leaves. Where destination NAT has redirected it, the
// interface that this chain sees is the one before: table mangle judges it.
func (r *renderer) hostOutput(h *hosts) {
	if h.any() {
		r.w.add(redirected, "-g "+chainSent)
		r.hostDispatch(h, &postOut)
	}
}

// dhcp matches what a client sends that has no address yet: DHCPDISCOVER and DHCPREQUEST by broadcast (RFC 2131, section 4.1), and
// DHCPv6 from its link-local address to All_DHCP_Relay_Agents_and_Servers (RFC 8415, section 7.1). What comes from an address of its own is
// judged by policy like all else.
func dhcp(f Family) string {
	if f == IPv6 {
		return "-s fe80::/10 -d ff02::1:2/128 -p udp -m udp --sport 546 --dport 547 "
	}
	return "-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m udp --sport 68 --dport 67 "
}

// allowed is what becomes of an allowed packet: semantics of owner and guest.
func (r *renderer) allowed() string {
	if r.host.Owner {
		return "-j ACCEPT"
	}
	return "-g " + chainAllow
}

// neighbourTypes are the ICMPv6 messages without which there is no link: multicast listener queries, reports and done (RFC 2710),
// router solicitation, neighbour solicitation and advertisement (RFC 4861). Their source may be link-local or unspecified.
var neighbourTypes = [...]int{130, 131, 132, 133, 135, 136}

func (r *renderer) neighbours(f Family, where string) {
	if f != IPv6 {
		return
	}
	for _, t := range neighbourTypes {
		r.w.s(where, "-p ipv6-icmp -m icmp6 --icmpv6-type ").n(t).s(" ", r.allowed()).end()
	}
}

// masquerades tells whether the family has a nat table of ours. A guest leaves what goes out to the other plugin.
func (r *renderer) masquerades(f Family, nat *dataplane.NAT) bool {
	return r.host.Owner && r.enabled(f) && slices.ContainsFunc(nat.Masquerade, hasFamily(f))
}

// natTable masquerades what goes from a pool with natOutgoing to an address in no pool, unless it goes to a pod.
func (r *renderer) natTable(f Family) *tableChains {
	w := &r.w
	w.add("! ", r.podsOut(), "-m set --match-set "+setName(f, setMasquerade)+" src -m set ! --match-set "+setName(f, setPools)+
		" dst -j MASQUERADE --random-fully")
	return &tableChains{
		hooks:  []Hook{{"POSTROUTING", "-j " + chainPostrouting}},
		chains: []Chain{w.chain(chainPostrouting, "natOutgoing")},
	}
}
