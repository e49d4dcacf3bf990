package v3

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

// BuiltInTier is the object of a built-in tier; nil for any other name.
func BuiltInTier(name string) *Tier {
	spec, ok := builtinTiers[name]
	if !ok {
		return nil
	}
	t := &Tier{TypeMeta: metav1.TypeMeta{APIVersion: APIVersion, Kind: string(KindTier)}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	spec.DeepCopyInto(&t.Spec)
	return t
}

// SetDefaults fills what the API defaults, in place. Decoding leaves objects as written. What the API server defaults in its schemas is
// part of it; the rest (types, the size of a pool's blocks, the order of built-in tiers) it leaves absent, and readers fill in.
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
	if builtin, ok := builtinTiers[t.Name]; ok && t.Spec.Order == nil {
		t.Spec.Order = new(*builtin.Order)
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
