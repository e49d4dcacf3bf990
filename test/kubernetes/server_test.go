package kubernetes

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// get is the status and answer of a GET by the administrator.
func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	status, answer, err := s.call(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(answer)
}

func TestApplyAndKubectl(t *testing.T) {
	s := Shared(t)
	file := filepath.Join(t.TempDir(), "map.yaml")
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: applied, name: a}\ndata: {k: v}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Namespace(t, "applied")
	s.Namespace(t, "applied")
	s.Apply(t, file)
	if got := s.Kubectl(t, "get", "configmap", "-n", "applied", "a", "-o", "jsonpath={.data.k}"); got != "v" {
		t.Errorf("kubectl reads %q, want v", got)
	}
}

func TestAs(t *testing.T) {
	s := Shared(t)
	client := &Server{Config: s.As("system:serviceaccount:ns:a", map[string][]string{"authentication.kubernetes.io/node-name": {"node-1"}})}
	var err error
	if client.client, err = rest.HTTPClientFor(client.Config); err != nil {
		t.Fatal(err)
	}
	if status, answer := get(t, client, "/api/v1/secrets"); status != http.StatusForbidden || !strings.Contains(answer, "system:serviceaccount:ns:a") {
		t.Errorf("got %d %s, want a refusal that names the account", status, answer)
	}
	review := `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	_, answer, err := client.call(t.Context(), http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", []byte(review))
	if err != nil || !strings.Contains(string(answer), "node-1") || !strings.Contains(string(answer), "system:serviceaccounts:ns") {
		t.Errorf("got %s, %v; want the node's name and the account's groups", answer, err)
	}
}

func TestRestart(t *testing.T) {
	s := Start(t, Options{Flags: []string{"--v=1"}})
	s.Namespace(t, "kept")
	s.Kill()
	if _, _, err := s.call(t.Context(), http.MethodGet, "/readyz", nil); err == nil {
		t.Error("the server answers after Kill")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if status, answer := get(t, s, "/api/v1/namespaces/kept"); status != http.StatusOK {
		t.Errorf("after Restart: %d %s", status, answer)
	}
	if err := s.RestartEmpty(); err != nil {
		t.Fatal(err)
	}
	if status, answer := get(t, s, "/api/v1/namespaces/kept"); status != http.StatusNotFound {
		t.Errorf("after RestartEmpty: %d %s", status, answer)
	}
}
