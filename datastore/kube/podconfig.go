package kube

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/datastore"
)

// hostProcessMount is the variable that tells a process in a HostProcess container of Windows where the volumes of its pod are, below a folder of
// its own. Containerd sets it in every version; since 1.7 the volumes are where the pod asked for them, too.
const hostProcessMount = "CONTAINER_SANDBOX_MOUNT_POINT"

// accountFolder is where a pod has the credentials of its service account, below the root of its volumes.
const accountFolder = "var/run/secrets/kubernetes.io/serviceaccount"

// podConfig is what a pod is given, below the first of these roots that has it. The token is read again while it is used, as the kubelet renews it.
func podConfig(roots ...string) (config *rest.Config, namespace string, err error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, "", fmt.Errorf("no API server is known: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set: %w; valid: those, or --kubeconfig", datastore.ErrInvalid)
	}
	var faults []error
	for _, root := range roots {
		folder := filepath.Join(root, filepath.FromSlash(accountFolder))
		token, err := os.ReadFile(filepath.Join(folder, "token"))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		config := &rest.Config{
			Host: "https://" + net.JoinHostPort(host, port), BearerToken: string(token), BearerTokenFile: filepath.Join(folder, "token"),
			TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(folder, "ca.crt")},
		}
		namespace, err := os.ReadFile(filepath.Join(folder, "namespace"))
		if err != nil {
			namespace = []byte("default")
		}
		return config, strings.TrimSpace(string(namespace)), nil
	}
	return nil, "", fmt.Errorf("no service account is mounted in this pod: %w: %w", datastore.ErrInvalid, errors.Join(faults...))
}
