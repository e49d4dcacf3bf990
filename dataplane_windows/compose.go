package windows

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Composition is the whole list of an endpoint: what others put there, and ours.
type Composition struct {
	// ACLs are the settings of each: those of others first, as HNS gave them, then ours.
	ACLs []json.RawMessage
	// Own are ours among them, in the same order, and Kept is how many are others'.
	Own  []hns.ACL
	Kept int
	// Engine is another policy engine that polices the endpoint ("Calico", "Azure NPM"): felid must not write there, and there are no ACLs then.
	Engine string
	// Conflicts say, one by one, which ACL of others does not do what it did, and why.
	Conflicts []string
}

// engines write ACLs whose IDs begin with these.
var engines = []struct{ prefix, name string }{
	{"azure-acl-", "Azure NPM"},
	{"allow-host-to-endpoint", "Calico"},
	{"policy-", "Calico"},
	{"profile-", "Calico"},
	{"CNIDefaultDenyAllPolicy", "Calico"},
}

// EngineOf is the policy engine that wrote an ACL, as far as its ID tells; "" for ours, for those of a cloud or a network plugin, and for
// those without an ID.
func EngineOf(a hns.ACL) string {
	for _, e := range engines {
		if strings.HasPrefix(a.ID, e.prefix) {
			return e.name
		}
	}
	return ""
}

// Split parts an endpoint's ACLs into ours and the settings of those of others.
func Split(ep *hns.Endpoint) (own []hns.ACL, foreign []json.RawMessage) {
	for i, a := range ep.ACLs {
		if Own(a) {
			own = append(own, a)
		} else {
			foreign = append(foreign, ep.Raw[i])
		}
	}
	return own, foreign
}

// Compose puts our list of an endpoint among the ACLs of others there, which keep their settings and their priorities. Ours have the last
// word on what they allow; what a cloud or a plugin blocks stays blocked:
//
//   - Blocks come before all of ours.
//   - Allows come behind all of ours, which end with rules for everything: they decide nothing any more. So does what ends their list:
//     Blocks of everything at priorities that only defaults have.
//   - Between the two is room for ours, mostly where they are already. If not, ours move there, in their order. A Block that stands behind an
//     Allow there is repeated in front of ours. An Allow that leaves no room is left out.
//   - Rules of type Host are a layer of their own, where the other's Allow of everything serves as well as ours.
//
// So no ACL of ours has the priority of another's in its direction and layer, but for two that allow.
func Compose(own []hns.ACL, foreign []json.RawMessage) Composition {
	var c composition
	for _, raw := range foreign {
		f := parseForeign(raw)
		if engine := EngineOf(f.ACL); engine != "" {
			return Composition{Engine: engine}
		}
		c.foreign = append(c.foreign, f)
	}
	var acls []hns.ACL
	for _, dir := range []hns.Direction{hns.In, hns.Out} {
		acls = append(acls, c.hostLayer(dir, of(own, dir, hns.Host))...)
	}
	for _, dir := range []hns.Direction{hns.In, hns.Out} {
		acls = append(acls, c.switchLayer(dir, of(own, dir, hns.Switch))...)
	}
	all := c.settings(acls)
	return Composition{ACLs: all, Own: acls, Kept: len(all) - len(acls), Conflicts: c.conflicts}
}

func of(acls []hns.ACL, dir hns.Direction, layer hns.RuleType) []hns.ACL {
	var out []hns.ACL
	for _, a := range acls {
		if a.Direction == dir && a.RuleType == layer {
			out = append(out, a)
		}
	}
	return out
}

// foreignACL is one of others. What can't be read of it is the zero value.
type foreignACL struct {
	hns.ACL
	raw     json.RawMessage
	dropped bool
}

func parseForeign(raw json.RawMessage) *foreignACL {
	f := &foreignACL{raw: raw}
	if err := json.Unmarshal(raw, &f.ACL); err != nil {
		f.ACL = hns.ACL{}
	}
	return f
}

// concerns tells whether it may decide in a direction and layer; what can't be read may in all.
func (f *foreignACL) concerns(dir hns.Direction, layer hns.RuleType) bool {
	inDirection := f.Direction == dir || f.Direction != hns.In && f.Direction != hns.Out
	onSwitch := f.RuleType != hns.Host
	return !f.dropped && inDirection && (layer == hns.Switch) == onSwitch
}

// blocks tells whether all that it may do is to block.
func (f *foreignACL) blocks() bool { return f.Action == hns.Block }

func (f *foreignACL) everything() bool {
	anyAddress := func(text string) bool { return text == "" || text == "0.0.0.0/0" || text == "0.0.0.0/0,::/0" }
	return (f.Protocols == "" || f.Protocols == "256") && anyAddress(f.LocalAddresses) && anyAddress(f.RemoteAddresses) && f.LocalPorts == "" && f.RemotePorts == ""
}

func (f *foreignACL) String() string {
	id := f.ID
	if id == "" {
		id = "without an Id"
	}
	return fmt.Sprintf("the ACL %s of others (%s %s, priority %d)", id, f.Action, f.Direction, f.Priority)
}

// composition is the work on one endpoint.
type composition struct {
	foreign   []*foreignACL
	conflicts []string
}

func (c *composition) conflict(f *foreignACL, what string) {
	c.conflicts = append(c.conflicts, f.String()+" "+what)
}

// settings are those of others that stay, then ours.
func (c *composition) settings(own []hns.ACL) []json.RawMessage {
	var out []json.RawMessage
	for _, f := range c.foreign {
		if !f.dropped {
			out = append(out, f.raw)
		}
	}
	for _, a := range own {
		out = append(out, a.Raw())
	}
	return out
}

// hostLayer leaves ours out beside one of others that does the same, and beside a Block, with which it might share its priority.
func (c *composition) hostLayer(dir hns.Direction, own []hns.ACL) []hns.ACL {
	var block *foreignACL
	for _, f := range c.foreign {
		switch {
		case !f.concerns(dir, hns.Host):
		case f.Action == hns.Allow && f.everything():
			return nil
		case f.blocks():
			block = f
		}
	}
	if block == nil {
		return own
	}
	c.conflict(block, "is in the layer of the host's compartment: what else passes there is left to HNS")
	return nil
}

// firstDefault is the lowest priority at which what others write is a default and no wish of theirs: the plugins' are at 65500.
const firstDefault = lastPriority + 1

// switchLayer finds room for ours.
func (c *composition) switchLayer(dir hns.Direction, own []hns.ACL) []hns.ACL {
	for {
		before := len(c.conflicts)
		copies := c.overtaken(dir)
		low, high := c.room(dir)
		if placed, ok := place(append(copies[:len(copies):len(copies)], own...), low, high, len(copies)); ok {
			return placed
		}
		c.conflicts = c.conflicts[:before]
		first := c.firstBehind(dir)
		if first == nil {
			c.conflicts = append(c.conflicts, "ACLs of others leave no room for policy "+string(dir)+": everything is denied")
			return []hns.ACL{closed(dir, uint16(low))}
		}
		c.conflict(first, "leaves no room for policy before it: it is left out")
		first.dropped = true
	}
}

// behind tells whether ours must come before f.
func (f *foreignACL) behind() bool { return !f.blocks() || f.Priority >= firstDefault }

// room are the priorities between what comes before ours and what comes behind.
func (c *composition) room(dir hns.Direction) (low, high int) {
	low, high = minPriority, maxPriority
	for _, f := range c.foreign {
		if f.concerns(dir, hns.Switch) && f.behind() {
			high = min(high, int(f.Priority)-1)
		}
	}
	for _, f := range c.foreign {
		if f.concerns(dir, hns.Switch) && !f.behind() && int(f.Priority) <= high {
			low = max(low, int(f.Priority)+1)
		}
	}
	return low, high
}

// firstBehind is the one with the lowest priority of those that ours must come before.
func (c *composition) firstBehind(dir hns.Direction) *foreignACL {
	var first *foreignACL
	for _, f := range c.foreign {
		if f.concerns(dir, hns.Switch) && f.behind() && (first == nil || f.Priority < first.Priority) {
			first = f
		}
	}
	return first
}

// overtaken are Blocks, of part of the packets, that ours come before: repeated as ours, so that they go on to hold.
func (c *composition) overtaken(dir hns.Direction) []hns.ACL {
	var out []hns.ACL
	_, high := c.room(dir)
	for _, f := range c.foreign {
		if !f.concerns(dir, hns.Switch) || !f.blocks() || int(f.Priority) <= high || f.everything() && f.behind() || c.unreached(dir, f) {
			continue
		}
		if first := c.firstBehind(dir); first.Action != hns.Block && first.Priority < f.Priority {
			c.conflict(f, "stands behind one that allows: it is repeated before policy, and blocks what that one allows")
		}
		again := f.ACL
		again.ID = aclMark + "repeated/" + strings.ToLower(string(dir)) + "/" + strconv.Itoa(len(out))
		again.Direction, again.RuleType = dir, hns.Switch
		out = append(out, again)
	}
	return out
}

// unreached tells whether another of others decides about everything before f.
func (c *composition) unreached(dir hns.Direction, f *foreignACL) bool {
	for _, o := range c.foreign {
		if o.concerns(dir, hns.Switch) && o.everything() && o.Action != "" && o.Priority < f.Priority {
			return true
		}
	}
	return false
}

// place gives a list of one direction priorities from low to high, in its order; false where there are too few. Where the list has such
// already, they stay, but for the first few that have none. Neighbours that do the same share one where there is no room for one each.
func place(acls []hns.ACL, low, high, without int) ([]hns.ACL, bool) {
	if len(acls) == 0 {
		return nil, true
	}
	if without == 0 && int(acls[0].Priority) >= low && int(acls[len(acls)-1].Priority) <= high {
		return acls, true
	}
	room := high - low + 1
	shared := len(acls) > room
	need := len(acls)
	if shared {
		need = runs(acls)
	}
	if need > room {
		return nil, false
	}
	next := max(low, min(firstPriority, high-need+1))
	out := make([]hns.ACL, len(acls))
	for i, a := range acls {
		if i > 0 && (!shared || a.Action != acls[i-1].Action) {
			next++
		}
		a.Priority = uint16(next)
		out[i] = a
	}
	return out, true
}

// runs is how often the action changes in a list, and one.
func runs(acls []hns.ACL) int {
	n := 1
	for i := 1; i < len(acls); i++ {
		if acls[i].Action != acls[i-1].Action {
			n++
		}
	}
	return n
}
