package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// The functions of this file are the arithmetic of a block: they return new values and never change the one they are given.

// newBlock is an empty block that belongs to a node.
func newBlock(cidr netip.Prefix, node string, now time.Time) v3.IPAMBlockSpec {
	size := blockSize(cidr)
	affinity, claimed := "host:"+node, metav1.NewTime(now.UTC().Truncate(time.Second))
	s := v3.IPAMBlockSpec{
		CIDR:              cidr.String(),
		Affinity:          &affinity,
		AffinityClaimTime: &claimed,
		Allocations:       make([]*int, size),
		Unallocated:       make([]int, size),
		Attributes:        []v3.AllocationAttribute{},
	}
	for i := range s.Unallocated {
		s.Unallocated[i] = i
	}
	return s
}

// blockSize is the number of addresses of a block.
func blockSize(cidr netip.Prefix) int {
	return 1 << (cidr.Addr().BitLen() - cidr.Bits())
}

// blockCIDR reads a block's CIDR and checks that the block makes sense, so that the rest of this file need not.
func blockCIDR(s *v3.IPAMBlockSpec) (netip.Prefix, error) {
	cidr, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return cidr, fmt.Errorf("spec.cidr: %w", err)
	}
	if host := cidr.Addr().BitLen() - cidr.Bits(); host > 16 || cidr != cidr.Masked() {
		return cidr, fmt.Errorf("spec.cidr: %s is not a block; valid: a masked prefix of at most 65536 addresses", cidr)
	}
	if len(s.Allocations) != blockSize(cidr) {
		return cidr, fmt.Errorf("spec.allocations: %d entries; valid: %d, one for each address of %s", len(s.Allocations), blockSize(cidr), cidr)
	}
	for ordinal, index := range s.Allocations {
		if index != nil && (*index < 0 || *index >= len(s.Attributes)) {
			return cidr, fmt.Errorf("spec.allocations[%d]: %d is not an index into spec.attributes; valid: null, or 0 to %d", ordinal, *index, len(s.Attributes)-1)
		}
	}
	for i, ordinal := range s.Unallocated {
		if ordinal < 0 || ordinal >= len(s.Allocations) {
			return cidr, fmt.Errorf("spec.unallocated[%d]: %d is not an ordinal; valid: 0 to %d", i, ordinal, len(s.Allocations)-1)
		}
	}
	return cidr, nil
}

// owner is the node that a block is affine to, "" for none.
func owner(s *v3.IPAMBlockSpec) string {
	if s.Affinity == nil {
		return ""
	}
	node, _ := strings.CutPrefix(*s.Affinity, "host:")
	if node == *s.Affinity { // virtual:NAME
		return ""
	}
	return node
}

// addressAt is the address of an ordinal. A block is aligned and has at most 65536 addresses: only the last two bytes change.
func addressAt(cidr netip.Prefix, ordinal int) netip.Addr {
	bytes := cidr.Addr().AsSlice()
	n := len(bytes)
	last := int(bytes[n-2])<<8 + int(bytes[n-1]) + ordinal
	bytes[n-2], bytes[n-1] = byte(last>>8), byte(last)
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// heldBy says whether an ordinal is held under a handle: given out and not in its cooldown.
func heldBy(s *v3.IPAMBlockSpec, ordinal int, handle string) bool {
	index := s.Allocations[ordinal]
	if index == nil {
		return false
	}
	attribute := &s.Attributes[*index]
	return attribute.HandleID != nil && *attribute.HandleID == handle && attribute.ReleasedAt == nil
}

// addressesOf are the addresses that a handle holds.
func addressesOf(s *v3.IPAMBlockSpec, cidr netip.Prefix, handle string) []netip.Addr {
	var held []netip.Addr
	for ordinal := range s.Allocations {
		if heldBy(s, ordinal, handle) {
			held = append(held, addressAt(cidr, ordinal))
		}
	}
	return held
}

// assign gives the address that has been free longest, and is not reserved, to a handle, and returns the block with it. ok is false
// if there is none.
func assign(s v3.IPAMBlockSpec, cidr netip.Prefix, reserved func(netip.Addr) bool, attribute v3.AllocationAttribute) (after v3.IPAMBlockSpec, address netip.Addr, ok bool) {
	for i, ordinal := range s.Unallocated {
		address = addressAt(cidr, ordinal)
		if s.Allocations[ordinal] != nil || reserved(address) {
			continue
		}
		index := len(s.Attributes)
		s.Allocations = slices.Clone(s.Allocations)
		s.Allocations[ordinal] = &index
		s.Attributes = append(slices.Clip(s.Attributes), attribute)
		s.Unallocated = slices.Delete(slices.Clone(s.Unallocated), i, i+1)
		s.SequenceNumberForAllocation = maps.Clone(s.SequenceNumberForAllocation)
		if s.SequenceNumberForAllocation == nil {
			s.SequenceNumberForAllocation = map[string]uint64{}
		}
		s.SequenceNumberForAllocation[fmt.Sprint(ordinal)] = s.SequenceNumber
		return s, address, true
	}
	return s, netip.Addr{}, false
}

// release frees what a handle holds among the addresses that which accepts, and returns the block without it and the addresses freed.
func release(s v3.IPAMBlockSpec, cidr netip.Prefix, handle string, which func(netip.Addr) bool) (after v3.IPAMBlockSpec, freed []netip.Addr) {
	var ordinals []int
	for ordinal := range s.Allocations {
		if address := addressAt(cidr, ordinal); heldBy(&s, ordinal, handle) && which(address) {
			ordinals, freed = append(ordinals, ordinal), append(freed, address)
		}
	}
	return free(s, ordinals), freed
}

// free makes ordinals that are given out free, in this order.
func free(s v3.IPAMBlockSpec, ordinals []int) v3.IPAMBlockSpec {
	if len(ordinals) == 0 {
		return s
	}
	s.Allocations = slices.Clone(s.Allocations)
	s.Unallocated = append(slices.Clone(s.Unallocated), ordinals...)
	s.SequenceNumberForAllocation = maps.Clone(s.SequenceNumberForAllocation)
	for _, ordinal := range ordinals {
		s.Allocations[ordinal] = nil
		delete(s.SequenceNumberForAllocation, fmt.Sprint(ordinal))
	}
	return dropUnusedAttributes(s)
}

// dropUnusedAttributes removes the attributes that no allocation names, and renumbers the rest.
func dropUnusedAttributes(s v3.IPAMBlockSpec) v3.IPAMBlockSpec {
	renumbered := make(map[int]*int, len(s.Attributes))
	attributes := make([]v3.AllocationAttribute, 0, len(s.Attributes))
	allocations := make([]*int, len(s.Allocations))
	for ordinal, index := range s.Allocations {
		if index == nil {
			continue
		}
		if renumbered[*index] == nil {
			now := len(attributes)
			renumbered[*index] = &now
			attributes = append(attributes, s.Attributes[*index])
		}
		allocations[ordinal] = renumbered[*index]
	}
	s.Allocations, s.Attributes = allocations, attributes
	return s
}

// hasFree says whether assign would find an address.
func hasFree(s *v3.IPAMBlockSpec, cidr netip.Prefix, reserved func(netip.Addr) bool) bool {
	return slices.ContainsFunc(s.Unallocated, func(ordinal int) bool {
		return s.Allocations[ordinal] == nil && !reserved(addressAt(cidr, ordinal))
	})
}

// blockName is the name of a block's object.
func blockName(cidr netip.Prefix) string { return nameOf(cidr.String()) }

func nameOf(cidr string) string {
	return strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(cidr)
}
