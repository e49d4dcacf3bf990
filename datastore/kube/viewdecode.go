package kube

import (
	"encoding/base64"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy/kube"
)

// The resources that views are made of. NetworkPolicies are read in JSON: a field that this version does not know makes a rule narrower, and is lost
// without a trace in protobuf.
var (
	podResource            = &resource{version: "v1", plural: "pods", kind: "Pod", namespaced: true, protobuf: true}
	namespaceResource      = &resource{version: "v1", plural: "namespaces", kind: "Namespace", protobuf: true}
	serviceAccountResource = &resource{version: "v1", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true, protobuf: true}
	nodeResource           = &resource{version: "v1", plural: "nodes", kind: "Node", protobuf: true}
	serviceResource        = &resource{version: "v1", plural: "services", kind: "Service", namespaced: true, protobuf: true}
	sliceResource          = &resource{group: "discovery.k8s.io", version: "v1", plural: "endpointslices", kind: "EndpointSlice", namespaced: true, protobuf: true}
	policyResource         = &resource{group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy", namespaced: true}
	clusterPolicyResource  = &resource{group: "policy.networking.k8s.io", version: "v1alpha2", plural: "clusternetworkpolicies", kind: "ClusterNetworkPolicy"}
)

// message is a Kubernetes object in protobuf.
type message[T any] interface {
	*T
	metav1.Object
	Unmarshal([]byte) error
}

// decodeCore makes the view of an object that is read in protobuf; nil: it is none.
func decodeCore[T any, P message[T]](view func(P) v3.Object) func(raw []byte) decoded {
	return func(raw []byte) decoded {
		o := P(new(T))
		err := o.Unmarshal(raw)
		d := decoded{name: objectName{o.GetNamespace(), o.GetName()}}
		if err != nil {
			d.err = err
			return d
		}
		if d.object = view(o); d.object != nil {
			d.object = shorn(d.object)
		}
		return d
	}
}

// shorn is an object whose revision is a hash of its content, without what changes when that does not.
func shorn(o v3.Object) v3.Object {
	o.SetResourceVersion("")
	o.SetGeneration(0)
	data, err := v3.Encode(o)
	if err != nil {
		panic("felid: encoding a view: " + err.Error())
	}
	d := digest{data: data}
	hash := d.sum()
	o.SetResourceVersion(base64.RawURLEncoding.EncodeToString(hash[:]))
	return o
}

func namespaceView(o *corev1.Namespace) v3.Object           { return kube.Namespace(o)[0] }
func serviceAccountView(o *corev1.ServiceAccount) v3.Object { return kube.ServiceAccount(o)[0] }
func nodeView(o *corev1.Node) v3.Object                     { return kube.Node(o) }
func serviceView(o *corev1.Service) v3.Object               { return kube.Service(o) }

func sliceView(o *discoveryv1.EndpointSlice) v3.Object {
	if view := kube.EndpointSlice(o); view != nil {
		return view
	}
	return nil
}

// decodePod leaves the revision to endpoints.
func decodePod(raw []byte) decoded {
	scratch := podScratch.Get().(*[]byte)
	defer podScratch.Put(scratch)
	if kept, ok := keep((*scratch)[:0], raw, wantedOfPod); ok {
		*scratch, raw = kept, kept
	}
	var o corev1.Pod
	err := o.Unmarshal(raw)
	d := decoded{name: objectName{o.Namespace, o.Name}, err: err}
	if err != nil {
		return d
	}
	if view := kube.Pod(&o); view != nil {
		d.object = view
	}
	return d
}

var podScratch = sync.Pool{New: func() any { return new([]byte) }}

// decodePolicy makes the view of a NetworkPolicy.
func decodePolicy(raw []byte) decoded {
	_, view, errs, err := kube.DecodeNetworkPolicy(raw, metav1.NamespaceDefault)
	if err != nil {
		return decoded{name: nameOf(raw), err: err}
	}
	return policyView(view, errs)
}

// decodeClusterPolicy makes the view of a ClusterNetworkPolicy.
func decodeClusterPolicy(raw []byte) decoded {
	view, errs, err := kube.DecodeClusterNetworkPolicy(raw, false)
	if err != nil {
		return decoded{name: nameOf(raw), err: err}
	}
	view.Status.Conditions = conditionsOf(raw)
	return policyView(view, errs)
}

// policyView leaves a policy the revision and generation of the original: by these nodes report how far they are with a kind of policy.
func policyView(view v3.Object, errs []v3.FieldError) decoded {
	d := decoded{name: objectName{view.GetNamespace(), view.GetName()}, object: view}
	for _, e := range errs {
		if datastore.LostFromPolicy(view.GetKind(), &e) {
			e.Object, e.Problem = "", e.Problem+": the policy is in force without it"
			d.faults = append(d.faults, datastore.Fault{Key: v3.KeyOf(view), Err: e})
		}
	}
	return d
}

// storedDecoder reads objects of a kind of ours.
func storedDecoder(kind v3.Kind) func(raw []byte) decoded {
	return func(raw []byte) decoded {
		key, o, faults, lossy := readStored(kind, raw)
		d := decoded{name: objectName{key.Namespace, key.Name}, object: o, faults: faults, lossy: lossy}
		if o == nil {
			d.err = faults[0].Err
		}
		return d
	}
}

// nameOf reads the name of an object in JSON of which more than that may be unreadable.
func nameOf(raw []byte) objectName {
	namespace, name, _ := metaOf(raw)
	return objectName{namespace, name}
}
