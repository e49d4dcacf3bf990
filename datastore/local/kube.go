package local

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// converter makes views of a Kubernetes object, given as JSON; one that belongs into a namespace and names none is in the one given.
type converter func(text []byte, strict bool, namespace string) (origin metav1.Object, views []v3.Object, errs []v3.FieldError, err error)

// converters by "apiVersion kind".
var converters = map[string]converter{
	"v1 Namespace":      convert(func(o *corev1.Namespace) ([]v3.Object, []v3.FieldError) { return kube.Namespace(o), nil }),
	"v1 ServiceAccount": convert(func(o *corev1.ServiceAccount) ([]v3.Object, []v3.FieldError) { return kube.ServiceAccount(o), nil }),
	"v1 Pod":            convert(func(o *corev1.Pod) ([]v3.Object, []v3.FieldError) { return one(kube.Pod(o)), nil }),
	"v1 Node":           convert(func(o *corev1.Node) ([]v3.Object, []v3.FieldError) { return one(kube.Node(o)), nil }),
	"v1 Service":        convert(func(o *corev1.Service) ([]v3.Object, []v3.FieldError) { return one(kube.Service(o)), nil }),
	"discovery.k8s.io/v1 EndpointSlice": convert(func(o *discoveryv1.EndpointSlice) ([]v3.Object, []v3.FieldError) {
		return one(kube.EndpointSlice(o)), nil
	}),
	"networking.k8s.io/v1 NetworkPolicy":                 networkPolicy,
	policyGroup + "/v1alpha1 AdminNetworkPolicy":         convert(withoutView),
	policyGroup + "/v1alpha1 BaselineAdminNetworkPolicy": convert(withoutView),
	policyGroup + "/v1alpha2 ClusterNetworkPolicy":       clusterNetworkPolicy,
}

// policyGroup is the group of the cluster's own policies. Those of v1alpha1 are stored, and not enforced.
const policyGroup = "policy.networking.k8s.io"

func withoutView(*metav1.PartialObjectMetadata) ([]v3.Object, []v3.FieldError) { return nil, nil }

// namespacedOrigins are the Kubernetes kinds that live in a namespace.
var namespacedOrigins = map[string]bool{
	"ServiceAccount": true, "Pod": true, "Service": true, "EndpointSlice": true, "NetworkPolicy": true,
}

// one is a list of an object, empty where there is none.
func one[T any, P interface {
	*T
	v3.Object
}](o P) []v3.Object {
	if o == nil {
		return nil
	}
	return []v3.Object{o}
}

func convert[T any, P interface {
	*T
	metav1.Object
}](views func(P) ([]v3.Object, []v3.FieldError)) converter {
	return func(text []byte, strict bool, namespace string) (metav1.Object, []v3.Object, []v3.FieldError, error) {
		o := P(new(T))
		unknown, err := kjson.UnmarshalStrict(text, o)
		if err != nil {
			return nil, nil, nil, err
		}
		if o.GetNamespace() == "" {
			var meta metav1.TypeMeta
			if err := json.Unmarshal(text, &meta); err == nil && namespacedOrigins[meta.Kind] {
				o.SetNamespace(namespace)
			}
		}
		out, errs := views(o)
		if _, ok := any(o).(*networkingv1.NetworkPolicy); ok && strict {
			errs = append(errs, fieldErrors(o, unknown)...)
		}
		return o, out, errs, nil
	}
}

// networkPolicy keeps to what the Go type says only in strict reading, where what that loses is an error.
func networkPolicy(text []byte, strict bool, namespace string) (metav1.Object, []v3.Object, []v3.FieldError, error) {
	if strict {
		return convert(func(o *networkingv1.NetworkPolicy) ([]v3.Object, []v3.FieldError) {
			policy, errs := kube.NetworkPolicy(o)
			return one(policy), errs
		})(text, strict, namespace)
	}
	origin, policy, errs, err := kube.DecodeNetworkPolicy(text, namespace)
	if err != nil {
		return nil, nil, nil, err
	}
	return origin, one(policy), errs, nil
}

func clusterNetworkPolicy(text []byte, strict bool, _ string) (metav1.Object, []v3.Object, []v3.FieldError, error) {
	policy, errs, err := kube.DecodeClusterNetworkPolicy(text, strict)
	if err != nil {
		return nil, nil, nil, err
	}
	return policy, one(policy), errs, nil
}

// fieldErrors are the fields of a policy that do not exist, as the API server would refuse them. Those of other Kubernetes objects are
// none of felid's business.
func fieldErrors(o metav1.Object, unknown []error) []v3.FieldError {
	var errs []v3.FieldError
	for _, err := range unknown {
		e := v3.FieldError{Object: v3.Key{Kind: "NetworkPolicy", Namespace: o.GetNamespace(), Name: o.GetName()}.String(), Problem: err.Error()}
		if field, ok := err.(interface{ FieldPath() string }); ok {
			e.Field = field.FieldPath()
		}
		errs = append(errs, e)
	}
	return errs
}

func isKubernetes(meta metav1.TypeMeta) bool {
	_, ok := converters[meta.APIVersion+" "+meta.Kind]
	return ok
}

// kubernetes adds the views of a Kubernetes object. Fields that felid does not know are none of its business.
func (p *parser) kubernetes(it item, text []byte, meta metav1.TypeMeta) []v3.FieldError {
	origin, views, errs, err := converters[meta.APIVersion+" "+meta.Kind](text, p.strict, p.namespace)
	if err != nil {
		p.out.partial = true
		return []v3.FieldError{{Object: meta.Kind, Problem: err.Error()}}
	}
	it.origin = v3.Key{Kind: v3.Kind(meta.Kind), Namespace: origin.GetNamespace(), Name: origin.GetName()}.String()
	if origin.GetName() == "" {
		p.out.partial = true
		return []v3.FieldError{{Object: meta.Kind, Field: "metadata.name", Problem: "is missing", Valid: "a name"}}
	}
	if p.strict {
		p.out.raw = append(p.out.raw, rawObject{it.origin, p.inNamespace(text, meta.Kind), it.doc})
	}
	for _, o := range views {
		it.object, it.key, it.role = o, v3.KeyOf(o), view
		if meta.Kind == "Pod" {
			it.role = podOf
		}
		p.add(it)
	}
	return errs
}

// inNamespace is an object with the namespace that it does not name, where that is not what it would be taken for anyway.
func (p *parser) inNamespace(text []byte, kind string) []byte {
	if p.namespace == defaultNamespace || !namespacedOrigins[kind] {
		return text
	}
	var o map[string]any
	if json.Unmarshal(text, &o) != nil {
		return text
	}
	if meta, ok := o["metadata"].(map[string]any); ok && meta["namespace"] == nil {
		meta["namespace"] = p.namespace
		if named, err := json.Marshal(o); err == nil {
			return named
		}
	}
	return text
}
