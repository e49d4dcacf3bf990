package v3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group and version of the stored resources.
const (
	Group      = "projectcalico.org"
	Version    = "v3"
	APIVersion = Group + "/" + Version
)

// Kind names a kind of resource, as written in YAML.
type Kind string

// The kinds that felid understands.
const (
	KindNetworkPolicy       Kind = "NetworkPolicy"
	KindGlobalNetworkPolicy Kind = "GlobalNetworkPolicy"
	KindTier                Kind = "Tier"

	KindStagedNetworkPolicy           Kind = "StagedNetworkPolicy"
	KindStagedGlobalNetworkPolicy     Kind = "StagedGlobalNetworkPolicy"
	KindStagedKubernetesNetworkPolicy Kind = "StagedKubernetesNetworkPolicy"

	KindNetworkSet        Kind = "NetworkSet"
	KindGlobalNetworkSet  Kind = "GlobalNetworkSet"
	KindHostEndpoint      Kind = "HostEndpoint"
	KindProfile           Kind = "Profile"
	KindIPPool            Kind = "IPPool"
	KindIPReservation     Kind = "IPReservation"
	KindIPAMBlock         Kind = "IPAMBlock"
	KindBlockAffinity     Kind = "BlockAffinity"
	KindIPAMHandle        Kind = "IPAMHandle"
	KindIPAMConfiguration Kind = "IPAMConfiguration"
	KindNode              Kind = "Node"
	KindWorkloadEndpoint  Kind = "WorkloadEndpoint"

	// KindKubernetesNetworkPolicy is the view of a networking.k8s.io NetworkPolicy: a NetworkPolicy of this package whose key has
	// this kind, so that the two kinds of policy never share a name. It is never stored.
	KindKubernetesNetworkPolicy Kind = "KubernetesNetworkPolicy"
	// KindClusterNetworkPolicy is the view of a policy.networking.k8s.io ClusterNetworkPolicy: a GlobalNetworkPolicy of this package whose
	// key has this kind. It is never stored.
	KindClusterNetworkPolicy Kind = "ClusterNetworkPolicy"
	// KindServiceEndpoints is the view of a Service or of one of its EndpointSlices. It is never stored.
	KindServiceEndpoints Kind = "ServiceEndpoints"
)

// Object is a resource: a pointer to one of the structs of this package. Objects are shared between goroutines once they have
// left the decoder: nobody changes one in place (Copy it first).
//
// +kubebuilder:object:generate=false
type Object interface {
	metav1.Object
	// GetKind is the kind of the struct, but for views of Kubernetes' own policies, which say so in their TypeMeta.
	GetKind() Kind
	// Copy is a deep copy that shares nothing with the receiver.
	Copy() Object
}

// Key identifies a resource. Namespace is empty for cluster-scoped kinds.
type Key struct {
	Kind      Kind
	Namespace string
	Name      string
}

// KeyOf is the key of o.
func KeyOf(o Object) Key {
	return Key{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// String is the form used in errors: "NetworkPolicy web-ns/allow-db", "Tier application".
func (k Key) String() string {
	if k.Namespace == "" {
		return string(k.Kind) + " " + k.Name
	}
	return string(k.Kind) + " " + k.Namespace + "/" + k.Name
}
