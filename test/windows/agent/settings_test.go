package agent

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// environment are the variables that a DaemonSet gives its one container, without those that say something of the pod.
func environment(t *testing.T, manifest []byte) []string {
	t.Helper()
	var d appsv1.DaemonSet
	if err := yaml.UnmarshalStrict(manifest, &d); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		if e.ValueFrom == nil {
			out = append(out, e.Name+"="+e.Value)
		}
	}
	return out
}
