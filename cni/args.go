package cni

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// PodArgs is what Kubernetes runtimes say of the pod in CNI_ARGS. All empty: a container without a pod.
type PodArgs struct {
	Namespace string // K8S_POD_NAMESPACE
	Name      string // K8S_POD_NAME
	UID       string // K8S_POD_UID
}

// ParseArgs reads CNI_ARGS, "KEY=VALUE;KEY=VALUE". Keys that felid has no use for are left alone, as the conventions ask:
// the variable is shared by all plugins of a chain.
func ParseArgs(s string) (PodArgs, *Error) {
	var p PodArgs
	if s == "" {
		return p, nil
	}
	for _, pair := range strings.Split(s, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return PodArgs{}, invalidArgs(fmt.Sprintf("%q is not KEY=VALUE", pair))
		}
		switch key {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		case "K8S_POD_UID":
			p.UID = value
		}
	}
	if (p.Namespace == "") != (p.Name == "") {
		return PodArgs{}, invalidArgs("K8S_POD_NAMESPACE and K8S_POD_NAME must be given together")
	}
	for _, name := range []string{p.Namespace, p.Name} {
		if name != "" && !isDNSName(name) {
			return PodArgs{}, invalidArgs(fmt.Sprintf("%q is not the name of a pod or namespace; valid: lower-case letters, digits, '-' and '.'", name))
		}
	}
	return p, nil
}

func invalidArgs(problem string) *Error {
	return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS: "+problem, "")
}

// isDNSName tells whether s may name a pod (RFC 1123 subdomain). Names become parts of keys and paths: nothing else may pass.
func isDNSName(s string) bool {
	if len(s) > 253 || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		alnum := s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9'
		inside := (s[i] == '-' || s[i] == '.') && i > 0 && i < len(s)-1
		if !alnum && !inside {
			return false
		}
	}
	return true
}
