package ipam

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// pool is what the allocator needs of an IPPool.
type pool struct {
	name      string
	cidr      netip.Prefix
	blockBits int // prefix length of its blocks
}

// settings are what is configured, as of one batch of requests.
type settings struct {
	pools     []*v3.IPPool
	reserved  []netip.Prefix
	strict    bool
	noClaims  bool
	maxBlocks int // of one family
}

// defaultMaxBlocks is the limit of blocks of one family on a node where none is configured.
const defaultMaxBlocks = 20

func (s *settings) isReserved(a netip.Addr) bool {
	return slices.ContainsFunc(s.reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reservesAll says whether one reservation covers a whole block.
func (s *settings) reservesAll(block netip.Prefix) bool {
	return slices.ContainsFunc(s.reserved, func(p netip.Prefix) bool { return p.Bits() <= block.Bits() && p.Contains(block.Addr()) })
}

// configure takes an IPAMConfiguration.
func (s *settings) configure(c *v3.IPAMConfigurationSpec) {
	s.strict = c.StrictAffinity
	s.noClaims = c.AutoAllocateBlocks != nil && !*c.AutoAllocateBlocks
	if c.MaxBlocksPerHost > 0 {
		s.maxBlocks = c.MaxBlocksPerHost
	}
}

// readPool is a pool as the allocator sees it; an error says why it can't be used at all.
func readPool(p *v3.IPPool) (pool, error) {
	cidr, err := netip.ParsePrefix(p.Spec.CIDR)
	if err != nil {
		return pool{}, fmt.Errorf("IPPool %s: spec.cidr: %w", p.Name, err)
	}
	cidr = cidr.Masked()
	blockBits := p.Spec.BlockSize
	if blockBits == 0 {
		blockBits = map[bool]int{true: 26, false: 122}[cidr.Addr().Is4()]
	}
	if host := cidr.Addr().BitLen() - blockBits; host < 0 || host > 16 || blockBits < cidr.Bits() {
		return pool{}, fmt.Errorf("IPPool %s: spec.blockSize: %d does not fit %s; valid: at least %d, and at most 65536 addresses a block",
			p.Name, blockBits, cidr, cidr.Bits())
	}
	return pool{p.Name, cidr, blockBits}, nil
}

// poolsFor are the pools that may be used for a request in one family, in order of preference; reasons says why others may not.
func (a *Allocator) poolsFor(s *settings, r *Request, ipv4 bool) (pools []pool, reasons []string) {
	ordered := s.pools
	if len(r.Pools) > 0 {
		ordered, reasons = namedPools(s.pools, r.Pools)
	}
	for _, p := range ordered {
		read, err := readPool(p)
		switch {
		case err != nil:
			reasons = append(reasons, err.Error())
		case read.cidr.Addr().Is4() != ipv4:
		default:
			if reason := a.refuses(p, r); reason != "" {
				reasons = append(reasons, "IPPool "+p.Name+" "+reason)
				continue
			}
			pools = append(pools, read)
		}
	}
	return pools, reasons
}

// namedPools finds pools by name or CIDR, in the order asked for.
func namedPools(all []*v3.IPPool, names []string) (pools []*v3.IPPool, reasons []string) {
	for _, name := range names {
		i := slices.IndexFunc(all, func(p *v3.IPPool) bool { return p.Name == name || p.Spec.CIDR == name })
		if i < 0 {
			reasons = append(reasons, "IPPool "+name+" does not exist")
			continue
		}
		pools = append(pools, all[i])
	}
	return pools, reasons
}

// refuses says why a pool may not be used for a request, "" if it may.
func (a *Allocator) refuses(p *v3.IPPool, r *Request) string {
	byName := len(r.Pools) > 0
	switch {
	case p.Spec.Disabled || p.DeletionTimestamp != nil:
		return "is disabled"
	case overlapped(p):
		return "overlaps another pool that was there before"
	case len(p.Spec.AllowedUses) > 0 && !slices.Contains(p.Spec.AllowedUses, "Workload"):
		return "is not for workloads (allowedUses: " + strings.Join(p.Spec.AllowedUses, ", ") + ")"
	case !byName && p.Spec.AssignmentMode == "Manual":
		return "is Manual"
	case !byName && !a.nodeSelected(p.Spec.NodeSelector):
		return "does not select this node (nodeSelector: " + p.Spec.NodeSelector + ")"
	case !a.namespaceSelected(p.Spec.NamespaceSelector, r.Namespace):
		return "does not admit the namespace (namespaceSelector: " + p.Spec.NamespaceSelector + ")"
	}
	return ""
}

// overlapped says whether the controller has found that another pool has the same addresses.
func overlapped(p *v3.IPPool) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == ConditionAllocatable && c.Status == metav1.ConditionFalse && c.Reason == ReasonOverlap
	})
}

func (a *Allocator) nodeSelected(selector string) bool {
	return selectsAll(selector) || a.o.NodeSelected != nil && a.o.NodeSelected(selector)
}

func (a *Allocator) namespaceSelected(selector, namespace string) bool {
	return selectsAll(selector) || a.o.NamespaceSelected != nil && a.o.NamespaceSelected(selector, namespace)
}

func selectsAll(selector string) bool {
	selector = strings.TrimSpace(selector)
	return selector == "" || selector == "all()"
}

// candidates are the blocks of a pool in the order in which a node tries them: from a place that its name decides, so that nodes seldom
// want the same one.
func (p pool) candidates(node string) iter.Seq[netip.Prefix] {
	width := min(p.blockBits-p.cidr.Bits(), 62)
	count := uint64(1) << width
	hash := fnv.New64a()
	hash.Write([]byte(node))
	start := hash.Sum64() % count
	return func(yield func(netip.Prefix) bool) {
		for i := range count {
			if !yield(p.block((start + i) % count)) {
				return
			}
		}
	}
}

// block is the block of a pool with this number.
func (p pool) block(number uint64) netip.Prefix {
	shift := p.cidr.Addr().BitLen() - p.blockBits // at most 16
	bytes := p.cidr.Addr().AsSlice()
	high, low := bits.Mul64(number, 1<<shift)
	for i := len(bytes) - 1; i >= 0 && (high|low) != 0; i-- {
		bytes[i] |= byte(low)
		low = low>>8 | high<<56
		high >>= 8
	}
	address, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(address, p.blockBits)
}
