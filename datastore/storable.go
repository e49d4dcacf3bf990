package datastore

import (
	"fmt"

	v3 "github.com/felid-net/felid/api/v3"
)

// Storable says why an object of this key can't be stored by any back end, if it can't.
func Storable(key v3.Key) error {
	info, ok := v3.InfoOf(key.Kind)
	switch {
	case !ok:
		return fmt.Errorf("%s: unknown kind: %w", key, ErrInvalid)
	case info.View:
		return fmt.Errorf("%s: a view of Kubernetes objects, never stored: %w", key, ErrUnsupported)
	case key.Name == "":
		return fmt.Errorf("%s: metadata.name is empty: %w", key.Kind, ErrInvalid)
	case !info.Namespaced && key.Namespace != "":
		return fmt.Errorf("%s: metadata.namespace is given, but the kind has none: %w", key, ErrInvalid)
	case info.Namespaced && key.Namespace == "" && key.Kind != v3.KindWorkloadEndpoint:
		return fmt.Errorf("%s: metadata.namespace is empty: %w", key, ErrInvalid)
	}
	return nil
}
