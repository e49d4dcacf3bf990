package v3

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

var linkLocal = []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")}

// maskedCIDR judges one that must be written exactly: it names a resource, or blocks are cut from it.
func (v *validator) maskedCIDR(field, text string) (netip.Prefix, bool) {
	prefix, warning, err := ParseCIDR(text)
	if err != nil || !strings.Contains(text, "/") {
		v.expect(false, field, "such as 10.0.0.0/16 or fd00::/48", "%q is not a CIDR", text)
		return prefix, false
	}
	return prefix, v.expect(warning == "", field, prefix.String(), "%s has host bits", text)
}

func (v *validator) pool(s *IPPoolSpec) {
	pool := *s
	pool.setDefaults()
	prefix, ok := v.maskedCIDR("spec.cidr", pool.CIDR)
	if ok {
		v.poolRange(prefix, pool.BlockSize)
		v.expect(pool.IPIPMode == EncapNever || family(prefix.Addr()) == 4, "spec.ipipMode", "Never", "IPIP carries IPv4 only")
	}
	v.oneOf("spec.vxlanMode", string(pool.VXLANMode), string(EncapNever), string(EncapAlways), string(EncapCrossSubnet))
	v.oneOf("spec.ipipMode", string(pool.IPIPMode), string(EncapNever), string(EncapAlways), string(EncapCrossSubnet))
	v.expect(pool.VXLANMode == EncapNever || pool.IPIPMode == EncapNever, "spec.vxlanMode", "Never in one of vxlanMode and ipipMode", "can't go with ipipMode %s", pool.IPIPMode)
	v.policySelector("spec.nodeSelector", pool.NodeSelector)
	v.policySelector("spec.namespaceSelector", pool.NamespaceSelector)
	v.oneOf("spec.assignmentMode", pool.AssignmentMode, "Automatic", "Manual")
	v.allowedUses(&pool)
}

func (v *validator) poolRange(prefix netip.Prefix, blockSize int) {
	low, high := 20, 32
	if family(prefix.Addr()) == 6 {
		low, high = 116, 128
	}
	v.expect(blockSize >= low && blockSize <= high, "spec.blockSize", fmt.Sprintf("%d to %d", low, high), "is %d", blockSize)
	v.expect(prefix.Bits() <= blockSize, "spec.cidr", fmt.Sprintf("a prefix of at most /%d, the block size", blockSize), "%s is smaller than one block", prefix)
	for _, local := range linkLocal {
		v.expect(!local.Overlaps(prefix), "spec.cidr", "addresses that are routed", "%s overlaps the link-local %s", prefix, local)
	}
}

func (v *validator) allowedUses(s *IPPoolSpec) {
	v.expect(len(s.AllowedUses) <= maxUses, "spec.allowedUses", "each use once", "has %d elements", len(s.AllowedUses))
	for i, use := range s.AllowedUses {
		v.oneOf(fmt.Sprintf("spec.allowedUses[%d]", i), use, "Workload", "Tunnel", "LoadBalancer")
	}
	if !slices.Contains(s.AllowedUses, "LoadBalancer") {
		return
	}
	v.expect(len(s.AllowedUses) == 1, "spec.allowedUses", "LoadBalancer alone", "LoadBalancer excludes other uses")
	v.expect(s.VXLANMode == EncapNever, "spec.vxlanMode", "Never", "can't go with LoadBalancer")
	v.expect(s.IPIPMode == EncapNever, "spec.ipipMode", "Never", "can't go with LoadBalancer")
	v.expect(s.NodeSelector == "all()", "spec.nodeSelector", "all()", "can't go with LoadBalancer")
	v.expect(!s.DisableBGPExport, "spec.disableBGPExport", "false", "can't go with LoadBalancer")
}

func (v *validator) ipamConfiguration(o *IPAMConfiguration) {
	s := &o.Spec
	v.expect(o.Name == "default" || o.Name == "", "metadata.name", "default", "is %q", o.Name)
	v.expect(s.MaxBlocksPerHost >= 0, "spec.maxBlocksPerHost", "0 (20) or more", "is %d", s.MaxBlocksPerHost)
	v.expect(s.IPCooldownSeconds >= 0 && s.IPCooldownSeconds <= 1200, "spec.ipCooldownSeconds", "0 to 1200", "is %d", s.IPCooldownSeconds)
	if s.KubeVirtVMAddressPersistence != "" {
		v.oneOf("spec.kubeVirtVMAddressPersistence", s.KubeVirtVMAddressPersistence, "Enabled", "Disabled")
	}
}

func (v *validator) affinity(s *BlockAffinitySpec) {
	v.oneOf("spec.state", s.State, "pending", "confirmed", "pendingDeletion", "wanted")
	v.expect(s.Node != "", "spec.node", "the name of a node", "is missing")
	if s.Type != "" {
		v.oneOf("spec.type", s.Type, "host", "virtual")
	}
	v.maskedCIDR("spec.cidr", s.CIDR)
}

func (v *validator) handle(s *IPAMHandleSpec) {
	v.expect(s.HandleID != "", "spec.handleID", "the id of a handle", "is missing")
	for _, cidr := range sortedKeys(s.Block) {
		v.maskedCIDR("spec.block."+cidr, cidr)
		v.expect(s.Block[cidr] >= 0, "spec.block."+cidr, "a number of addresses", "is %d", s.Block[cidr])
	}
}

func (v *validator) block(s *IPAMBlockSpec) {
	prefix, ok := v.maskedCIDR("spec.cidr", s.CIDR)
	if !ok {
		return
	}
	hostBits := prefix.Addr().BitLen() - prefix.Bits()
	if !v.expect(hostBits <= 12, "spec.cidr", "at most 4096 addresses", "%s is too large for a block", prefix) {
		return
	}
	size := 1 << hostBits
	v.expect(len(s.Allocations) == size, "spec.allocations", fmt.Sprintf("%d, one an address", size), "has %d elements", len(s.Allocations))
	for i, index := range s.Allocations {
		v.expect(index == nil || *index >= 0 && *index < len(s.Attributes), fmt.Sprintf("spec.allocations[%d]", i), "null, or an index into attributes", "is out of range")
	}
	v.unallocated(s)
	if s.Affinity != nil {
		v.expect(strings.HasPrefix(*s.Affinity, "host:") || strings.HasPrefix(*s.Affinity, "virtual:"), "spec.affinity", "host:NODE or virtual:NAME", "is %q", *s.Affinity)
	}
}

func (v *validator) unallocated(s *IPAMBlockSpec) {
	seen := map[int]bool{}
	for i, ordinal := range s.Unallocated {
		at := fmt.Sprintf("spec.unallocated[%d]", i)
		if !v.expect(ordinal >= 0 && ordinal < len(s.Allocations), at, "an ordinal of the block", "%d is out of range", ordinal) {
			continue
		}
		v.expect(s.Allocations[ordinal] == nil, at, "free ordinals", "%d is allocated", ordinal)
		v.expect(!seen[ordinal], at, "each ordinal once", "%d is given twice", ordinal)
		seen[ordinal] = true
	}
}
