package kube

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/felid-net/felid/datastore"
)

// account writes the credentials that a kubelet mounts, below a root.
func account(t *testing.T, root, token string) {
	t.Helper()
	folder := filepath.Join(root, filepath.FromSlash(accountFolder))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"token": token, "ca.crt": "", "namespace": "felid-system\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostProcess: what the pod is given counts, wherever the runtime has put it, and not the kubeconfig of the node.
func TestHostProcess(t *testing.T) {
	mount, root := t.TempDir(), t.TempDir()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "the kubelet's"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	t.Setenv(hostProcessMount, mount)
	account(t, root, "at the path itself")
	c, namespace, err := podConfig(mount, root)
	if err != nil || c.Host != "https://[2001:db8::1]:443" || c.BearerToken != "at the path itself" || namespace != "felid-system" {
		t.Errorf("%+v, %q, %v", c, namespace, err)
	}
	account(t, mount, "below the mount point")
	c, namespace, err = LoadConfig("", "")
	if err != nil || c.BearerToken != "below the mount point" || namespace != "felid-system" {
		t.Errorf("%+v, %q, %v", c, namespace, err)
	}
	if c.BearerTokenFile != filepath.Join(mount, filepath.FromSlash(accountFolder), "token") || c.CAFile == "" {
		t.Errorf("%+v", c)
	}
	if _, _, err := LoadConfig(filepath.Join(root, "named"), ""); err == nil {
		t.Error("a file that is named counts, and is not there")
	}
}

func TestHostProcessWithoutAccount(t *testing.T) {
	t.Setenv(hostProcessMount, t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, _, err := LoadConfig("", ""); !errors.Is(err, datastore.ErrInvalid) {
		t.Errorf("without the server's address: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if _, _, err := podConfig(t.TempDir(), t.TempDir()); !errors.Is(err, datastore.ErrInvalid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a service account: %v", err)
	}
}
