package etcd

import (
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Root is what the keys of all objects begin with.
const Root = "/felid/v1/"

// kindPrefix is what the keys of a kind's objects begin with.
func kindPrefix(kind v3.Kind) string {
	if prefix := prefixes[kind]; prefix != "" {
		return prefix
	}
	return Root + v3.APIVersion + "/" + string(kind) + "/"
}

// prefixes are those of the kinds that are known: each change that is read needs one.
var prefixes = func() map[v3.Kind]string {
	all := map[v3.Kind]string{}
	for _, info := range v3.Kinds() {
		all[info.Kind] = Root + v3.APIVersion + "/" + string(info.Kind) + "/"
	}
	return all
}()

// pathOf is the key in etcd of an object that can be stored.
func pathOf(key v3.Key) (string, error) {
	if err := datastore.Storable(key); err != nil {
		return "", err
	}
	if strings.Contains(key.Namespace, "/") {
		return "", fmt.Errorf("%s: metadata.namespace holds a slash: %w", key, datastore.ErrInvalid)
	}
	return kindPrefix(key.Kind) + joined(key), nil
}

func joined(key v3.Key) string {
	if info, _ := v3.InfoOf(key.Kind); info.Namespaced {
		return key.Namespace + "/" + key.Name
	}
	return key.Name
}

// keyOf is the object's key of a path of the kind. Where it is none that pathOf would make, the key has the kind alone.
func keyOf(kind v3.Kind, path string) (v3.Key, error) {
	key := v3.Key{Kind: kind}
	name, ok := strings.CutPrefix(path, kindPrefix(kind))
	if info, _ := v3.InfoOf(kind); ok && info.Namespaced {
		key.Namespace, key.Name, ok = strings.Cut(name, "/")
	} else if ok {
		key.Name = name
	}
	if made, err := pathOf(key); !ok || err != nil || made != path {
		return v3.Key{Kind: kind}, fmt.Errorf("%q is no key of a %s", path, kind)
	}
	return key, nil
}
