package kube

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/felid-net/felid/datastore"
)

// LoadConfig finds an API server and credentials for it as kubectl does: in the file that is named, else those of KUBECONFIG, else
// ~/.kube/config, else what a pod is given. The namespace is that of the context, "default" where it names none. ErrInvalid where there is
// nothing to be found.
//
// In a HostProcess container of Windows, where no file is named, what its pod is given is all that counts: the rest of its environment is the node's,
// and a KUBECONFIG there is the kubelet's.
func LoadConfig(file, context string) (config *rest.Config, namespace string, err error) {
	if mount, inside := os.LookupEnv(hostProcessMount); inside && file == "" {
		return podConfig(mount, "/")
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	lazy := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	config, err = lazy.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, "", fmt.Errorf("no API server is known: %w; valid: --kubeconfig, KUBECONFIG, ~/.kube/config, or a pod with a service account", datastore.ErrInvalid)
	case err != nil:
		return nil, "", fmt.Errorf("kubeconfig: %w: %w", datastore.ErrInvalid, err)
	}
	namespace, _, err = lazy.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w: %w", datastore.ErrInvalid, err)
	}
	return config, namespace, nil
}
