package v3

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GetKind tells a NetworkPolicy of this API from the view of a Kubernetes one.
func (o *NetworkPolicy) GetKind() Kind {
	if o.Kind == string(KindKubernetesNetworkPolicy) {
		return KindKubernetesNetworkPolicy
	}
	return KindNetworkPolicy
}

// GetKind tells a GlobalNetworkPolicy of this API from the view of a ClusterNetworkPolicy.
func (o *GlobalNetworkPolicy) GetKind() Kind {
	if o.Kind == string(KindClusterNetworkPolicy) {
		return KindClusterNetworkPolicy
	}
	return KindGlobalNetworkPolicy
}

// GetKind is KindStagedNetworkPolicy.
func (o *StagedNetworkPolicy) GetKind() Kind { return KindStagedNetworkPolicy }

// GetKind is KindStagedGlobalNetworkPolicy.
func (o *StagedGlobalNetworkPolicy) GetKind() Kind { return KindStagedGlobalNetworkPolicy }

// GetKind is KindStagedKubernetesNetworkPolicy.
func (o *StagedKubernetesNetworkPolicy) GetKind() Kind { return KindStagedKubernetesNetworkPolicy }

// GetKind is KindTier.
func (o *Tier) GetKind() Kind { return KindTier }

// GetKind is KindNetworkSet.
func (o *NetworkSet) GetKind() Kind { return KindNetworkSet }

// GetKind is KindGlobalNetworkSet.
func (o *GlobalNetworkSet) GetKind() Kind { return KindGlobalNetworkSet }

// GetKind is KindHostEndpoint.
func (o *HostEndpoint) GetKind() Kind { return KindHostEndpoint }

// GetKind is KindProfile.
func (o *Profile) GetKind() Kind { return KindProfile }

// GetKind is KindIPPool.
func (o *IPPool) GetKind() Kind { return KindIPPool }

// GetKind is KindIPReservation.
func (o *IPReservation) GetKind() Kind { return KindIPReservation }

// GetKind is KindIPAMBlock.
func (o *IPAMBlock) GetKind() Kind { return KindIPAMBlock }

// GetKind is KindBlockAffinity.
func (o *BlockAffinity) GetKind() Kind { return KindBlockAffinity }

// GetKind is KindIPAMHandle.
func (o *IPAMHandle) GetKind() Kind { return KindIPAMHandle }

// GetKind is KindIPAMConfiguration.
func (o *IPAMConfiguration) GetKind() Kind { return KindIPAMConfiguration }

// GetKind is KindNode.
func (o *Node) GetKind() Kind { return KindNode }

// GetKind is KindWorkloadEndpoint.
func (o *WorkloadEndpoint) GetKind() Kind { return KindWorkloadEndpoint }

// GetKind is KindServiceEndpoints.
func (o *ServiceEndpoints) GetKind() Kind { return KindServiceEndpoints }

// Copy is a deep copy.
func (o *NetworkPolicy) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *GlobalNetworkPolicy) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *StagedNetworkPolicy) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *StagedGlobalNetworkPolicy) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *StagedKubernetesNetworkPolicy) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *Tier) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *NetworkSet) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *GlobalNetworkSet) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *HostEndpoint) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *Profile) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *IPPool) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *IPReservation) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *IPAMBlock) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *BlockAffinity) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *IPAMHandle) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *IPAMConfiguration) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *Node) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *WorkloadEndpoint) Copy() Object { return o.DeepCopy() }

// Copy is a deep copy.
func (o *ServiceEndpoints) Copy() Object { return o.DeepCopy() }

func (o *NetworkPolicy) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *GlobalNetworkPolicy) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *StagedNetworkPolicy) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *StagedGlobalNetworkPolicy) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *StagedKubernetesNetworkPolicy) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *Tier) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *NetworkSet) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *GlobalNetworkSet) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *HostEndpoint) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *Profile) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *IPPool) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *IPReservation) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *IPAMBlock) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *BlockAffinity) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *IPAMHandle) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *IPAMConfiguration) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *Node) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *WorkloadEndpoint) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

func (o *ServiceEndpoints) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }
