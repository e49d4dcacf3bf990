package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/internal/agent"
)

// TestKustomizationIsComplete: kubectl apply -k installs every manifest there is, but for the definitions, which kubectl delete -k must not take.
func TestKustomizationIsComplete(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "deploy", "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(data, &k); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, pattern := range []string{"*.yaml", "policies/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(top, "deploy", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			rel, err := filepath.Rel(filepath.Join(top, "deploy"), path)
			if err != nil {
				t.Fatal(err)
			}
			if rel != "kustomization.yaml" {
				files = append(files, filepath.ToSlash(rel))
			}
		}
	}
	slices.Sort(files)
	listed := slices.Sorted(slices.Values(k.Resources))
	if !slices.Equal(files, listed) {
		t.Errorf("kustomization.yaml lists\n%s\nthere are\n%s", strings.Join(listed, "\n"), strings.Join(files, "\n"))
	}
}

// TestAgentsMayReadWhatTheyWatch: a kind that is stored, and that agents watch, is in their role.
func TestAgentsMayReadWhatTheyWatch(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "deploy", "rbac-node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	may := map[string]bool{}
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					if slices.Contains(rule.Verbs, "list") && slices.Contains(rule.Verbs, "watch") && slices.Contains(rule.Verbs, "get") {
						may[resource+"."+group] = true
					}
				}
			}
		}
	}
	for _, kind := range append(slices.Clone(agent.Kinds), v3.KindBlockAffinity, v3.KindIPReservation, v3.KindIPAMConfiguration) {
		info, ok := v3.InfoOf(kind)
		if !ok {
			t.Fatalf("no kind %s", kind)
		}
		if info.View || kind == v3.KindWorkloadEndpoint || kind == v3.KindNode {
			continue // Kubernetes' own objects stand for these
		}
		if name := info.Plural + "." + v3.Group; !may[name] {
			t.Errorf("the agents' role does not let them get, list and watch %s", name)
		}
	}
}

// TestManifestsAreAccepted: the API server takes everything that kubectl apply -k sends.
func TestManifestsAreAccepted(t *testing.T) {
	s := server(t)
	out := s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--validate=strict", "-k", filepath.Join(top, "deploy"))
	for _, want := range []string{"daemonset.apps/felid-node", "deployment.apps/felid-controller", "validatingadmissionpolicy.admissionregistration.k8s.io/felid-node-blocks"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Warning") {
		t.Errorf("the API server warns:\n%s", out)
	}
}
