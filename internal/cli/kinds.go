package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// findKind looks up what people type.
func findKind(name string) (v3.KindInfo, error) {
	if info, ok := v3.FindKind(name); ok {
		return info, nil
	}
	var known []string
	for _, info := range v3.Kinds() {
		known = append(known, strings.ToLower(string(info.Kind)))
	}
	slices.Sort(known)
	return v3.KindInfo{}, usage(fmt.Errorf("unknown kind %q; valid: %s, or their plurals and short names", name, strings.Join(known, ", ")))
}

// keyArg is the key of an object of a kind, by name; "NS/NAME" is taken too.
func keyArg(info v3.KindInfo, namespace, name string) v3.Key {
	key := v3.Key{Kind: info.Kind, Name: name}
	if info.Namespaced {
		key.Namespace = cmp.Or(namespace, "default")
		if ns, rest, ok := strings.Cut(name, "/"); ok {
			key.Namespace, key.Name = ns, rest // "/NAME" is an endpoint without a pod
		}
	}
	return key
}
