package v3

import "strings"

// KindInfo is what is known of a kind by its name alone.
// +kubebuilder:object:generate=false
type KindInfo struct {
	Kind       Kind
	Plural     string   // as in a URL: "networkpolicies"
	Short      []string // "np"
	Namespaced bool
	View       bool          // never stored as such: made from something else
	Enforced   bool          // false: stored, and reported NotEnforced
	New        func() Object // an empty one; nil for kinds known by name alone
}

var kindTable = []KindInfo{
	{KindNetworkPolicy, "networkpolicies", []string{"np", "cnp"}, true, false, true, func() Object { return &NetworkPolicy{} }},
	{KindGlobalNetworkPolicy, "globalnetworkpolicies", []string{"gnp"}, false, false, true, func() Object { return &GlobalNetworkPolicy{} }},
	{KindStagedNetworkPolicy, "stagednetworkpolicies", []string{"snp"}, true, false, true, func() Object { return &StagedNetworkPolicy{} }},
	{KindStagedGlobalNetworkPolicy, "stagedglobalnetworkpolicies", []string{"sgnp"}, false, false, true, func() Object { return &StagedGlobalNetworkPolicy{} }},
	{KindStagedKubernetesNetworkPolicy, "stagedkubernetesnetworkpolicies", []string{"sknp"}, true, false, true, func() Object { return &StagedKubernetesNetworkPolicy{} }},
	{KindTier, "tiers", nil, false, false, true, func() Object { return &Tier{} }},
	{KindNetworkSet, "networksets", []string{"netset", "netsets"}, true, false, true, func() Object { return &NetworkSet{} }},
	{KindGlobalNetworkSet, "globalnetworksets", []string{"gns"}, false, false, true, func() Object { return &GlobalNetworkSet{} }},
	{KindHostEndpoint, "hostendpoints", []string{"hep", "heps"}, false, false, true, func() Object { return &HostEndpoint{} }},
	{KindProfile, "profiles", nil, false, false, true, func() Object { return &Profile{} }},
	{KindIPPool, "ippools", []string{"pool", "pools"}, false, false, true, func() Object { return &IPPool{} }},
	{KindIPReservation, "ipreservations", nil, false, false, true, func() Object { return &IPReservation{} }},
	{KindIPAMBlock, "ipamblocks", nil, false, false, true, func() Object { return &IPAMBlock{} }},
	{KindBlockAffinity, "blockaffinities", nil, false, false, true, func() Object { return &BlockAffinity{} }},
	{KindIPAMHandle, "ipamhandles", nil, false, false, true, func() Object { return &IPAMHandle{} }},
	{KindIPAMConfiguration, "ipamconfigurations", []string{"ipamconfig", "ipamconfigs"}, false, false, true, func() Object { return &IPAMConfiguration{} }},
	{KindNode, "nodes", []string{"no"}, false, false, true, func() Object { return &Node{} }},
	{KindWorkloadEndpoint, "workloadendpoints", []string{"wep", "weps"}, true, false, true, func() Object { return &WorkloadEndpoint{} }},
	{KindKubernetesNetworkPolicy, "kubernetesnetworkpolicies", []string{"knp"}, true, true, true, func() Object {
		o := &NetworkPolicy{}
		o.Kind = string(KindKubernetesNetworkPolicy)
		return o
	}},
	{KindClusterNetworkPolicy, "clusternetworkpolicies", nil, false, true, true, func() Object {
		o := &GlobalNetworkPolicy{}
		o.Kind = string(KindClusterNetworkPolicy)
		return o
	}},
	{KindServiceEndpoints, "serviceendpoints", nil, true, true, true, func() Object { return &ServiceEndpoints{} }},

	{Kind: "BGPConfiguration", Plural: "bgpconfigurations", Short: []string{"bgpconfig", "bgpconfigs"}},
	{Kind: "BGPPeer", Plural: "bgppeers", Short: []string{"bgpp"}},
	{Kind: "BGPFilter", Plural: "bgpfilters"},
	{Kind: "FelixConfiguration", Plural: "felixconfigurations", Short: []string{"felixconfig", "felixconfigs"}},
	{Kind: "KubeControllersConfiguration", Plural: "kubecontrollersconfigurations", Short: []string{"kcconfig"}},
	{Kind: "ClusterInformation", Plural: "clusterinformations", Short: []string{"clusterinfo"}},
	{Kind: "CalicoNodeStatus", Plural: "caliconodestatuses"},
}

var kindIndex = indexKinds()

func indexKinds() map[string]*KindInfo {
	index := map[string]*KindInfo{}
	for i := range kindTable {
		info := &kindTable[i]
		for _, name := range append([]string{string(info.Kind), info.Plural}, info.Short...) {
			index[strings.ToLower(name)] = info
		}
	}
	return index
}

// Kinds is the table of kinds. Callers don't change it.
func Kinds() []KindInfo { return kindTable }

// InfoOf looks a kind up by its exact name.
func InfoOf(kind Kind) (KindInfo, bool) {
	info := kindIndex[strings.ToLower(string(kind))]
	if info == nil || info.Kind != kind {
		return KindInfo{}, false
	}
	return *info, true
}

// FindKind looks a kind up by what people type: singular, plural or short name, in any case.
func FindKind(name string) (KindInfo, bool) {
	info := kindIndex[strings.ToLower(name)]
	if info == nil {
		return KindInfo{}, false
	}
	return *info, true
}

// New is an empty object of a kind; false for kinds known by name alone, and unknown ones.
func New(kind Kind) (Object, bool) {
	info, ok := InfoOf(kind)
	if !ok || info.New == nil {
		return nil, false
	}
	return info.New(), true
}

// EffectiveTypes are the directions that the policy applies to: as written, else Ingress unless only egress rules exist, and Egress
// where egress rules exist.
func (s *PolicySpec) EffectiveTypes() []PolicyType {
	switch {
	case len(s.Types) > 0:
		return s.Types
	case len(s.Egress) == 0:
		return []PolicyType{PolicyTypeIngress}
	case len(s.Ingress) == 0:
		return []PolicyType{PolicyTypeEgress}
	}
	return []PolicyType{PolicyTypeIngress, PolicyTypeEgress}
}
