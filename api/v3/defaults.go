package v3

import "strings"

// The built-in tiers.
const (
	TierKubeAdmin    = "kube-admin"
	TierKubeBaseline = "kube-baseline"
)

// builtinTiers have values that can't be changed.
var builtinTiers = map[string]TierSpec{
	TierKubeAdmin:    {Order: new(float64(1000)), DefaultAction: Pass},
	DefaultTier:      {Order: new(float64(1_000_000)), DefaultAction: Deny},
	TierKubeBaseline: {Order: new(float64(10_000_000)), DefaultAction: Pass},
}

// SetDefaults fills what the API defaults, in place. Decoding leaves objects as written.
func SetDefaults(o Object) {
	switch o := o.(type) {
	case *NetworkPolicy:
		o.Spec.setDefaults()
	case *GlobalNetworkPolicy:
		o.Spec.setDefaults()
	case *StagedNetworkPolicy:
		setDefault(&o.Spec.StagedAction, StagedActionSet)
		o.Spec.stagedDefaults(o.Spec.StagedAction)
	case *StagedGlobalNetworkPolicy:
		setDefault(&o.Spec.StagedAction, StagedActionSet)
		o.Spec.stagedDefaults(o.Spec.StagedAction)
	case *StagedKubernetesNetworkPolicy:
		setDefault(&o.Spec.StagedAction, StagedActionSet)
	case *Tier:
		o.setDefaults()
	case *IPPool:
		o.Spec.setDefaults()
	case *IPAMConfiguration:
		o.Spec.setDefaults()
	case *BlockAffinity:
		setDefault(&o.Spec.Type, "host")
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s *PolicySpec) setDefaults() {
	setDefault(&s.Tier, DefaultTier)
	s.Types = s.EffectiveTypes()
}

// stagedDefaults leaves types alone in a deletion, which says nothing but what it deletes.
func (s *PolicySpec) stagedDefaults(action StagedAction) {
	setDefault(&s.Tier, DefaultTier)
	if action != StagedActionDelete {
		s.Types = s.EffectiveTypes()
	}
}

func (t *Tier) setDefaults() {
	builtin, ok := builtinTiers[t.Name]
	if ok && t.Spec.Order == nil {
		t.Spec.Order = new(*builtin.Order)
	}
	if ok {
		setDefault(&t.Spec.DefaultAction, builtin.DefaultAction)
	}
	setDefault(&t.Spec.DefaultAction, Deny)
}

func (s *IPPoolSpec) setDefaults() {
	setDefault(&s.VXLANMode, EncapNever)
	setDefault(&s.IPIPMode, EncapNever)
	setDefault(&s.NodeSelector, "all()")
	setDefault(&s.AssignmentMode, "Automatic")
	size := 26
	if strings.Contains(s.CIDR, ":") {
		size = 122
	}
	setDefault(&s.BlockSize, size)
	if len(s.AllowedUses) == 0 {
		s.AllowedUses = []string{"Workload", "Tunnel"}
	}
}

func (s *IPAMConfigurationSpec) setDefaults() {
	setDefault(&s.MaxBlocksPerHost, 20)
	setDefault(&s.KubeVirtVMAddressPersistence, "Enabled")
	if s.AutoAllocateBlocks == nil {
		s.AutoAllocateBlocks = new(true)
	}
}
