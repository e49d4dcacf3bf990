package kube

import (
	"maps"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// LabelOrchestrator is on every pod, with the value OrchestratorKubernetes, and on nothing else.
	LabelOrchestrator      = "projectcalico.org/orchestrator"
	OrchestratorKubernetes = "k8s"
	// labelName is lent to the endpoints of a namespace or service account under the prefix of either.
	labelName = "projectcalico.org/name"
	// labelMetadataName is what the API server adds to every namespace.
	labelMetadataName = "kubernetes.io/metadata.name"

	defaultServiceAccount = "default"
)

func typeMeta(kind v3.Kind) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(kind)}
}

// objectMeta keeps what says which object this is, and of when. Labels are for the caller to decide.
func objectMeta(from *metav1.ObjectMeta, namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:         namespace,
		Name:              name,
		UID:               from.UID,
		ResourceVersion:   from.ResourceVersion,
		Generation:        from.Generation,
		CreationTimestamp: from.CreationTimestamp,
		DeletionTimestamp: from.DeletionTimestamp,
	}
}

// prefixed are labels as an endpoint inherits them.
func prefixed(prefix string, labels map[string]string, name string) map[string]string {
	out := make(map[string]string, len(labels)+2)
	for k, v := range labels {
		out[prefix+k] = v
	}
	out[prefix+labelName] = name
	return out
}

// podLabels are a pod's own and those that say where it belongs. Labels that would speak for its namespace or service account
// are left out, whoever wrote them: an endpoint's own labels win over inherited ones.
func podLabels(own map[string]string, namespace, serviceAccount string) map[string]string {
	out := make(map[string]string, len(own)+3)
	maps.Copy(out, own)
	maps.DeleteFunc(out, func(k, _ string) bool {
		return strings.HasPrefix(k, selector.NamespacePrefix) || strings.HasPrefix(k, selector.ServiceAccountPrefix)
	})
	out[selector.LabelNamespace] = namespace
	out[selector.LabelServiceAccount] = serviceAccount
	out[LabelOrchestrator] = OrchestratorKubernetes
	return out
}
