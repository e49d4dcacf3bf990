package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// Block is a block as somebody beside its node looks at it. It never changes: what would change it returns a new object of the same revision, so
// that writing that object is a compare-and-swap against what was looked at.
type Block struct{ b *block }

// Allocation is an address that is given out.
type Allocation struct {
	Ordinal int
	Address netip.Addr
	Handle  string
	// Attrs are as stored: see the Attr constants. Shared: never change them.
	Attrs map[string]string
	// Sequence tells this allocation from a later one of the same address.
	Sequence uint64
	// Released: it has been given back, and waits until it may be given out again.
	Released bool
}

// ReadBlock checks a block; an error says what of it makes no sense.
func ReadBlock(o *v3.IPAMBlock) (Block, error) {
	b, err := readBlock(o)
	return Block{b}, err
}

// OwnerOf is the node that a block says it belongs to, "" for none, whether or not the rest of it makes sense.
func OwnerOf(o *v3.IPAMBlock) string { return owner(&o.Spec) }

// BlockName is the name of the block of a range, which need not be one.
func BlockName(cidr string) string { return nameOf(cidr) }

// CIDR is the range of the block.
func (b Block) CIDR() netip.Prefix { return b.b.cidr }

// Object is the block as it is stored.
func (b Block) Object() *v3.IPAMBlock { return b.b.object }

// Owner is the node that has the block, "" for none.
func (b Block) Owner() string { return b.b.owner() }

// Virtual says whether the block belongs to something that is no node, such as load balancers.
func (b Block) Virtual() bool { return b.b.virtual() }

// Usable is false for a block that is on its way out.
func (b Block) Usable() bool { return b.b.usable() }

// ClaimedAt is when its owner got the block; the zero time where that is not known.
func (b Block) ClaimedAt() time.Time {
	if at := b.b.object.Spec.AffinityClaimTime; at != nil {
		return at.Time
	}
	return b.b.object.CreationTimestamp.Time
}

// Taken is how many of its addresses are given out, or wait after that.
func (b Block) Taken() int {
	taken := 0
	for _, index := range b.b.object.Spec.Allocations {
		if index != nil {
			taken++
		}
	}
	return taken
}

// HasFree says whether there is an address to give out outside of the reserved ranges.
func (b Block) HasFree(reserved []netip.Prefix) bool {
	s := settings{reserved: reserved}
	return hasFree(&b.b.object.Spec, b.b.cidr, s.isReserved)
}

// Allocations are the addresses that are given out, in order.
func (b Block) Allocations() []Allocation {
	spec := &b.b.object.Spec
	out := make([]Allocation, 0, len(spec.Attributes))
	for ordinal, index := range spec.Allocations {
		if index == nil {
			continue
		}
		attribute := &spec.Attributes[*index]
		a := Allocation{
			Ordinal: ordinal, Address: addressAt(b.b.cidr, ordinal), Attrs: attribute.Secondary, Released: attribute.ReleasedAt != nil,
			Sequence: spec.SequenceNumberForAllocation[strconv.Itoa(ordinal)],
		}
		if attribute.HandleID != nil {
			a.Handle = *attribute.HandleID
		}
		out = append(out, a)
	}
	return out
}

// Without is the block with these allocations of it free.
func (b Block) Without(leaked []Allocation) *v3.IPAMBlock {
	ordinals := make([]int, len(leaked))
	for i := range leaked {
		ordinals[i] = leaked[i].Ordinal
	}
	out := *b.b.object
	out.Spec = free(out.Spec, ordinals)
	out.Spec.SequenceNumber++
	return &out
}

// HandedTo is the block, which must be empty, as another node's.
func (b Block) HandedTo(node string, now time.Time) *v3.IPAMBlock {
	if b.Taken() > 0 {
		panic(fmt.Sprintf("ipam: block %s is in use, and can't be handed over", b.b.cidr))
	}
	affinity, claimed := "host:"+node, metav1.NewTime(now.UTC().Truncate(time.Second))
	out := *b.b.object
	out.Spec.Affinity, out.Spec.AffinityClaimTime = &affinity, &claimed
	out.Spec.SequenceNumber++
	return &out
}

// What the controller writes into the status of a pool which lies over another that was there before: no addresses come from it then.
const (
	ConditionAllocatable = "Allocatable"
	ReasonOverlap        = "CIDROverlap"
)

// Pool is a pool as the allocator sees it.
type Pool struct{ p pool }

// ReadPool reads a pool; an error says why no address can come from it.
func ReadPool(o *v3.IPPool) (Pool, error) {
	p, err := readPool(o)
	return Pool{p}, err
}

// CIDR is the range of the pool.
func (p Pool) CIDR() netip.Prefix { return p.p.cidr }

// BlockBits is the length of its blocks' prefixes.
func (p Pool) BlockBits() int { return p.p.blockBits }

// Has says whether a block lies in the pool.
func (p Pool) Has(block netip.Prefix) bool { return inPools([]pool{p.p}, block) }

// Reserved are the ranges that a reservation takes out of use; what can't be read is left out.
func Reserved(r *v3.IPReservation) []netip.Prefix {
	var s settings
	for _, text := range r.Spec.ReservedCIDRs {
		_ = s.reserve(&v3.IPReservation{Spec: v3.IPReservationSpec{ReservedCIDRs: []string{text}}})
	}
	return slices.Clip(s.reserved)
}
