package windows

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// maxItems is how many addresses or ports one ACL lists; what has more is split. Microsoft advises "a few thousand".
const maxItems = 4000

// maxSingles is up to how many protocols get an ACL each: those that have ports, at most.
const maxSingles = 4

// writer writes rules as ACLs of one direction with rising priorities.
type writer struct {
	*Renderer
	dir        dataplane.Direction
	families   []uint8
	ipv4Only   bool                        // to allow all is to allow all of IPv4
	named      func(SetRef) (string, bool) // the name of a set; false for one without members
	next, last int
	full       bool // a rule found no priority left
	acls       []hns.ACL
	count      map[string]int // ACLs by name of rule, to number them
}

// add writes a rule as ACLs: one for each family of which it names addresses, and for each part of lists that are too long. A rule
// without addresses in any family of the writer's leaves nothing.
func (w *writer) add(rule flatten.Rule) {
	acl := hns.ACL{Action: hns.Block, Direction: directionOf(w.dir), RuleType: hns.Switch}
	if rule.Action == dataplane.Allow {
		acl.Action = hns.Allow
	}
	name := w.name(rule.From)
	localPorts, remotePorts := rule.SrcPorts, rule.DstPorts
	if w.dir == dataplane.Ingress {
		localPorts, remotePorts = rule.DstPorts, rule.SrcPorts
	}
	protocols := protocolTexts(rule.Protocols)
	for _, addrs := range w.addresses(&rule) {
		acl.LocalAddresses, acl.RemoteAddresses = addrs[0], addrs[1]
		for _, acl.Protocols = range protocols {
			for _, acl.LocalPorts = range portTexts(localPorts) {
				for _, acl.RemotePorts = range portTexts(remotePorts) {
					w.write(acl, name)
				}
			}
		}
	}
}

// write gives the ACL its priority and an ID that no other has.
func (w *writer) write(acl hns.ACL, name string) {
	if w.next > w.last {
		w.full = true
		return
	}
	acl.Priority = uint16(w.next)
	w.next++
	acl.ID = name
	if n := w.count[name]; n > 0 {
		acl.ID += "." + strconv.Itoa(n)
	}
	w.count[name]++
	w.acls = append(w.acls, acl)
}

// name is "felid/NetworkPolicy/shop/allow-web/in/0", or without a policy "felid/end-of-tier/default/in".
func (w *writer) name(from flatten.Origin) string {
	parts := []string{"felid", from.Tier}
	if from.Policy.Kind != "" {
		parts = []string{"felid", from.Policy.Kind, from.Policy.Namespace, from.Policy.Name}
	}
	parts = append(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), directionText(w.dir))
	if from.Policy.Kind != "" {
		parts = append(parts, strconv.Itoa(from.Index))
	}
	return strings.Join(parts, "/")
}

func directionOf(dir dataplane.Direction) hns.Direction {
	if dir == dataplane.Ingress {
		return hns.In
	}
	return hns.Out
}

func directionText(dir dataplane.Direction) string {
	if dir == dataplane.Ingress {
		return "in"
	}
	return "out"
}

// addresses are the pairs of lists, local and remote, that make up a rule: "" is any address, of every family.
func (w *writer) addresses(rule *flatten.Rule) [][2]string {
	m := rule.Match
	if m.SrcSet != nil && !m.Dst.Whole() || m.DstSet != nil && !m.Src.Whole() {
		m = m.ExpandSrc().ExpandDst()
	}
	if m.SrcSet != nil || m.DstSet != nil {
		return w.names(&m)
	}
	local, remote := m.Src, m.Dst
	if w.dir == dataplane.Ingress {
		local, remote = m.Dst, m.Src
	}
	if local.All() && remote.All() && (rule.Action != dataplane.Allow || !w.ipv4Only) {
		return w.anyAddress()
	}
	if w.ipv4Only {
		remote = remote.Intersect(flatten.Family(4))
	}
	var out [][2]string
	for _, family := range w.families {
		for _, l := range w.addressTexts(local, family) {
			for _, r := range w.addressTexts(remote, family) {
				out = append(out, [2]string{l, r})
			}
		}
	}
	return out
}

// anyAddress is the pair for all addresses. An endpoint with IPv6 addresses gets them once more as a prefix, should HNS take no address for IPv4
// alone (H3).
func (w *writer) anyAddress() [][2]string {
	if slices.Contains(w.families, 6) {
		return [][2]string{{}, {"", "::/0"}}
	}
	return [][2]string{{}}
}

// names are the pairs of a match that asks for sets: in an ACL that names one, Local is the source and Remote the destination in both
// directions (H35).
func (w *writer) names(m *flatten.Match) [][2]string {
	var out [][2]string
	for _, family := range w.families {
		if !m.Src.Has(family) || !m.Dst.Has(family) {
			continue
		}
		var pair [2]string
		filled := true
		for i, set := range []*flatten.Symbol{m.SrcSet, m.DstSet} {
			if set != nil && filled {
				pair[i], filled = w.named(SetRef{set.ID, family})
			}
		}
		if filled {
			out = append(out, pair)
		}
	}
	return out
}

// textKey is a family of the addresses of a set.
type textKey struct {
	addrs  flatten.AddrsKey
	family uint8
}

// addressTexts are the lists of one family: none for no address, one empty one for all addresses of all families. They are kept, as what a set
// has stands in the lists of many endpoints.
func (r *Renderer) addressTexts(a flatten.Addrs, family uint8) []string {
	if a.All() {
		return []string{""}
	}
	key := textKey{a.Key(), family}
	out, ok := r.texts[key]
	if !ok {
		for part := range slices.Chunk(a.Prefixes(family), maxItems) {
			out = append(out, joined(part, appendPrefix))
		}
		r.texts[key] = out
	}
	return out
}

// appendPrefix writes a whole address without its length, which old versions of HNS do not take.
func appendPrefix(b []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b)
	}
	return p.AppendTo(b)
}

func portTexts(p flatten.Ports) []string {
	if p.All() {
		return []string{""}
	}
	var out []string
	for part := range slices.Chunk(p.Ranges(), maxItems) {
		out = append(out, joined(part, appendRange))
	}
	return out
}

// appendRange writes port 0 as a range, as a lone 0 has stood for any port in older forms of ACLs.
func appendRange(b []byte, r dataplane.PortRange) []byte {
	b = strconv.AppendUint(b, uint64(r.Min), 10)
	if r.Min == r.Max && r.Min != 0 {
		return b
	}
	return strconv.AppendUint(append(b, '-'), uint64(r.Max), 10)
}

// protocolTexts are lists of protocols: one each of those that can be meant one by one, as nobody is known to list them (H11), and one of
// all others but a few.
func protocolTexts(p flatten.Protocols) []string {
	if p.All() {
		return []string{""}
	}
	appendTo := func(b []byte, n uint8) []byte { return strconv.AppendUint(b, uint64(n), 10) }
	numbers := p.Numbers()
	if len(numbers) > maxSingles {
		return []string{joined(numbers, appendTo)}
	}
	out := make([]string, len(numbers))
	for i := range numbers {
		out[i] = joined(numbers[i:i+1], appendTo)
	}
	return out
}

func joined[T any](items []T, appendTo func([]byte, T) []byte) string {
	var b []byte
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTo(b, item)
	}
	return string(b)
}
