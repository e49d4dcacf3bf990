package kube

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// The secondary attributes of an allocation that say whose it is, as package ipam writes them.
const (
	attrPod       = "pod"
	attrNamespace = "namespace"
	attrNode      = "node"
	attrInterface = "interface"
	attrTimestamp = "timestamp"
)

// claim is an address that an IPAMBlock says was given to the first interface of a pod.
type claim struct {
	row     *row // of the pod, which may not be known yet
	address netip.Addr
	node    string // "" unknown
	uid     uint64 // of the pod, hashed; 0 unknown
	sandbox uint64 // the handle, hashed
	at      int64  // when it was given, seconds since 1970; 0 unknown
}

// blockClaims are the claims of a block, in order of the pods' names, then of the addresses.
type blockClaims struct{ claims []claim }

// of are the claims of one pod.
func (b *blockClaims) of(r *row) []claim {
	at, _ := slices.BinarySearchFunc(b.claims, r.name, func(c claim, name objectName) int { return compareNames(c.row.name, name) })
	end := at
	for end < len(b.claims) && b.claims[end].row == r {
		end++
	}
	return b.claims[at:end]
}

func compareNames(a, b objectName) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// podsOf are the pods that a block has claims of, in order.
func (b *blockClaims) pods() []*row {
	var rows []*row
	if b == nil {
		return nil
	}
	for i := range b.claims {
		if n := len(rows); n == 0 || rows[n-1] != b.claims[i].row {
			rows = append(rows, b.claims[i].row)
		}
	}
	return rows
}

// hashed is 0 for "" alone, and the same on every node.
func hashed(text string) uint64 {
	if text == "" {
		return 0
	}
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return max(hash.Sum64(), 1)
}

// allocation is a claim with the name of its pod.
type allocation struct {
	claim
	pod objectName
}

// allocations are those of a block that count: of pods' first interfaces, and not in their cooldown after a release. What can't be read is left
// out, and is reported by whoever owns the block.
func allocations(spec *v3.IPAMBlockSpec) []allocation {
	cidr, err := netip.ParsePrefix(spec.CIDR)
	if err != nil || cidr != cidr.Masked() {
		return nil
	}
	var out []allocation
	for ordinal, index := range spec.Allocations {
		if index == nil || *index < 0 || *index >= len(spec.Attributes) {
			continue
		}
		address, ok := addressAt(cidr, ordinal)
		if a := allocationOf(&spec.Attributes[*index]); ok && a.pod.name != "" && a.pod.namespace != "" {
			a.address = address
			out = append(out, a)
		}
	}
	return out
}

// addressAt is the address of an ordinal, if it is in the block.
func addressAt(cidr netip.Prefix, ordinal int) (netip.Addr, bool) {
	bytes := cidr.Addr().AsSlice()
	for i, n := len(bytes)-1, ordinal; i >= 0 && n > 0; i-- {
		n += int(bytes[i])
		bytes[i] = byte(n)
		n >>= 8
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address, cidr.Contains(address)
}

// allocationOf has no pod where the allocation counts for none.
func allocationOf(a *v3.AllocationAttribute) allocation {
	of := a.Secondary
	if iface := of[attrInterface]; a.ReleasedAt != nil || iface != "" && iface != kube.DefaultInterface {
		return allocation{}
	}
	out := allocation{
		claim: claim{node: of[attrNode], uid: hashed(of[v3.AttributePodUID]), at: instant(of[attrTimestamp])},
		pod:   objectName{of[attrNamespace], of[attrPod]},
	}
	if a.HandleID != nil {
		out.sandbox = hashed(*a.HandleID)
	}
	return out
}

// instant reads a timestamp: RFC 3339, "2006-01-02 15:04:05 -0700 MST" (written by older allocators), or seconds since 1970.
func instant(text string) int64 {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Unix()
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// chosen are the addresses of a pod: those that the blocks' records say its newest sandbox has, and, for a family of which they have none,
// those of its status. A record that names another node or another pod of the name is not of this pod. It uses up claims.
func chosen(p *pod, claims []claim) []netip.Addr {
	uid := hashed(string(p.uid))
	claims = slices.DeleteFunc(claims, func(c claim) bool {
		return c.node != "" && c.node != p.node || c.uid != 0 && c.uid != uid
	})
	if len(claims) == 0 {
		return p.addresses
	}
	newest := slices.MaxFunc(claims, func(a, b claim) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.sandbox, b.sandbox)) })
	var addresses []netip.Addr
	for _, c := range claims {
		if c.sandbox == newest.sandbox {
			addresses = append(addresses, c.address)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	recorded := len(addresses)
	for _, a := range p.addresses {
		if !slices.ContainsFunc(addresses[:recorded], func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
			addresses = append(addresses, a)
		}
	}
	return addresses
}
