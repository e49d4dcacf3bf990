package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ClusterPolicyCRD is as much of that of policy.networking.k8s.io as is needed to have such policies. It takes whatever it is given, as agents of another
// version may find.
const ClusterPolicyCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusternetworkpolicies.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {plural: clusternetworkpolicies, singular: clusternetworkpolicy, kind: ClusterNetworkPolicy}
  versions:
  - name: v1alpha2
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// call makes one HTTP call as the administrator.
func (s *Server) call(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, s.Config.Host+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// Namespace makes a namespace where there is none of that name. Nothing empties it: no controller runs.
func (s *Server) Namespace(t testing.TB, name string) {
	t.Helper()
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, name)
	status, answer, err := s.call(t.Context(), http.MethodPost, "/api/v1/namespaces", []byte(body))
	if err != nil || status != http.StatusCreated && status != http.StatusConflict {
		t.Fatalf("namespace %s: %d %s %v", name, status, answer, err)
	}
}

// Kubectl runs kubectl as the administrator and returns its output; the test fails if it fails.
func (s *Server) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *Server) kubectl(ctx context.Context, args ...string) (string, error) {
	bin, err := programs()
	if err != nil {
		return "", err
	}
	all := append([]string{"--kubeconfig", s.Kubeconfig, "--cache-dir", s.file("kubectl")}, args...)
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "kubectl"), all...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// Apply applies YAML files, or the files of folders, server-side.
func (s *Server) Apply(t testing.TB, paths ...string) {
	t.Helper()
	if err := s.apply(t.Context(), paths...); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) apply(ctx context.Context, paths ...string) error {
	args := []string{"apply", "--server-side", "--force-conflicts"}
	for _, path := range paths {
		args = append(args, "-f", path)
	}
	_, err := s.kubectl(ctx, args...)
	return err
}

// InstallCRDs applies deploy/crds, once a server, and returns when all of them are served.
func (s *Server) InstallCRDs(t testing.TB) {
	t.Helper()
	s.crds.Do(func() { s.crdsErr = s.installCRDs(t.Context()) })
	if s.crdsErr != nil {
		t.Fatal(s.crdsErr)
	}
}

func (s *Server) installCRDs(ctx context.Context) error {
	root, err := repository()
	if err != nil {
		return err
	}
	if err := s.apply(ctx, filepath.Join(root, "deploy", "crds")); err != nil {
		return err
	}
	return s.awaitCRDs(ctx)
}

// AwaitCRDs returns when every CRD that there is is served in all its versions.
func (s *Server) AwaitCRDs(t testing.TB) {
	t.Helper()
	if err := s.awaitCRDs(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) awaitCRDs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	_, answer, err := s.call(ctx, http.MethodGet, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", nil)
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Spec struct {
				Group    string
				Names    struct{ Plural string }
				Versions []struct {
					Name   string
					Served bool
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("the list of CRDs: %w", err)
	}
	for _, crd := range list.Items {
		for _, version := range crd.Spec.Versions {
			path := "/apis/" + crd.Spec.Group + "/" + version.Name + "/" + crd.Spec.Names.Plural
			if err := s.awaitPath(ctx, path); version.Served && err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) awaitPath(ctx context.Context, path string) error {
	var status int
	var answer []byte
	err := poll(ctx, func() (bool, error) {
		var err error
		status, answer, err = s.call(ctx, http.MethodGet, path+"?limit=1", nil)
		return status == http.StatusOK, err
	})
	if err != nil {
		return fmt.Errorf("%s is not served: %w: %d %s", path, err, status, answer)
	}
	return nil
}

// repository is the folder of go.mod, from a test's working directory upwards.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod in the working directory nor above it: run by go test")
		}
		dir = up
	}
}
