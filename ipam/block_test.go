package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func anything(netip.Addr) bool { return true }
func nothing(netip.Addr) bool  { return false }

// TestBlockAgainstAModel compares a block with a queue of free addresses and a map of owners, and proves that no operation changes the
// block it is given.
func TestBlockAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cidr := netip.MustParsePrefix(rapid.SampledFrom([]string{"10.0.1.240/28", "10.0.0.252/30", "fd00::ff00/124", "10.0.0.1/32"}).Draw(t, "block"))
		block := newBlock(cidr, "n", start)
		var free []netip.Addr
		for i := range blockSize(cidr) {
			free = append(free, addressAt(cidr, i))
		}
		owners := map[string][]netip.Addr{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before, _ := (&v3.IPAMBlock{Spec: block}).Copy().(*v3.IPAMBlock)
			given := block
			block.SequenceNumber++
			handle := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "handle"))
			if rapid.Bool().Draw(t, "assign") {
				after, address, ok := assign(block, cidr, nothing, v3.AllocationAttribute{HandleID: &handle})
				if ok != (len(free) > 0) || ok && address != free[0] {
					t.Fatalf("assigned %s, %v; free are %v", address, ok, free)
				}
				if block = after; ok {
					owners[handle], free = append(owners[handle], address), free[1:]
				}
			} else {
				after, freed := release(block, cidr, handle, anything)
				want := owners[handle]
				slices.SortFunc(want, netip.Addr.Compare)
				if !slices.Equal(freed, want) {
					t.Fatalf("released %v, want %v", freed, want)
				}
				block, free = after, append(free, freed...)
				delete(owners, handle)
			}
			if diff := cmp.Diff(before.Spec, given); diff != "" {
				t.Fatalf("the block given was changed:\n%s", diff)
			}
			checkBlock(t, &block, cidr, map[netip.Addr]string{})
			if _, err := blockCIDR(&block); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestReservedAddressesStayFree(t *testing.T) {
	cidr := netip.MustParsePrefix("10.0.0.0/30")
	block := newBlock(cidr, "n", start)
	reserved := func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.0") }
	handle := "h"
	after, address, ok := assign(block, cidr, reserved, v3.AllocationAttribute{HandleID: &handle})
	if !ok || address != netip.MustParseAddr("10.0.0.1") || !slices.Equal(after.Unallocated, []int{0, 2, 3}) {
		t.Errorf("got %s, %v, free %v", address, ok, after.Unallocated)
	}
}

func TestBadBlocksAreRefused(t *testing.T) {
	bad := map[string]func(*v3.IPAMBlockSpec){
		"cidr":              func(s *v3.IPAMBlockSpec) { s.CIDR = "x" },
		"unmasked":          func(s *v3.IPAMBlockSpec) { s.CIDR = "10.0.0.1/30" },
		"too large":         func(s *v3.IPAMBlockSpec) { s.CIDR = "10.0.0.0/8" },
		"missing entries":   func(s *v3.IPAMBlockSpec) { s.Allocations = s.Allocations[1:] },
		"no such attribute": func(s *v3.IPAMBlockSpec) { i := 0; s.Allocations[0] = &i },
		"no such ordinal":   func(s *v3.IPAMBlockSpec) { s.Unallocated[0] = 4 },
	}
	for name, spoil := range bad {
		s := newBlock(netip.MustParsePrefix("10.0.0.0/30"), "n", start)
		spoil(&s)
		if _, err := blockCIDR(&s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPoolBlocks(t *testing.T) {
	tests := []struct {
		pool   pool
		number uint64
		want   string
	}{
		{pool{cidr: netip.MustParsePrefix("10.64.0.0/12"), blockBits: 26}, 5, "10.64.1.64/26"},
		{pool{cidr: netip.MustParsePrefix("fd00::/48"), blockBits: 122}, 1 << 61, "fd00:0:0:8::/122"},
		{pool{cidr: netip.MustParsePrefix("10.0.0.0/26"), blockBits: 26}, 0, "10.0.0.0/26"},
	}
	for _, test := range tests {
		if got := test.pool.block(test.number).String(); got != test.want {
			t.Errorf("block %d of %s is %s, want %s", test.number, test.pool.cidr, got, test.want)
		}
	}
	seen := map[netip.Prefix]bool{}
	p := pool{cidr: netip.MustParsePrefix("10.0.0.0/24"), blockBits: 28}
	for block := range p.candidates("node-7") {
		if seen[block] || !p.cidr.Overlaps(block) {
			t.Errorf("%s twice, or not in the pool", block)
		}
		seen[block] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d blocks, want 16", len(seen))
	}
}
