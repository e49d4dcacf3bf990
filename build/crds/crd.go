package main

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// notStored are kinds with a type in api/v3 that the API server does not keep: felid makes them from Kubernetes' own objects.
var notStored = []v3.Kind{v3.KindNode, v3.KindWorkloadEndpoint, v3.KindServiceEndpoints, "Unenforced"}

// header stands at the top of each file.
const header = "# Generated from the types in api by build/crds (make generate). Do not edit.\n"

// tree is a CRD, or a part of one.
type tree = map[string]any

// complete adds to a CRD what controller-gen has no marker for. The answer is empty for a kind that is not stored.
func complete(data []byte) ([]byte, error) {
	var crd tree
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return nil, err
	}
	kind, _ := dig(crd, "spec", "names")["kind"].(string)
	if slices.Contains(notStored, v3.Kind(kind)) {
		return nil, nil
	}
	if v3.Kind(kind) == v3.KindIPAMBlock {
		if err := allowFree(crd); err != nil {
			return nil, err
		}
	}
	bound(crd)
	return text(crd)
}

// dig follows keys down; nil where one is missing.
func dig(at tree, keys ...string) tree {
	for _, key := range keys {
		at, _ = at[key].(tree)
	}
	return at
}

// allowFree lets elements of a block's allocations be null, which is a free address.
func allowFree(crd tree) error {
	versions, _ := dig(crd, "spec")["versions"].([]any)
	if len(versions) != 1 {
		return fmt.Errorf("%d versions instead of one", len(versions))
	}
	version, _ := versions[0].(tree)
	items := dig(version, "schema", "openAPIV3Schema", "properties", "spec", "properties", "allocations", "items")
	if items == nil {
		return fmt.Errorf("spec.allocations has no schema")
	}
	items["nullable"] = true
	return nil
}

// notNet finds what the formats of OpenAPI accept and felid refuses: addresses of IPv4 written as IPv6, and leading zeros in decimal numbers.
const notNet = `^(0{1,4}:){5}[fF]{4}:|^[0:]*::[0:]*[fF]{4}:([0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}|[0-9]+[.][0-9.]+)(/|$)|/0[0-9]|[.]0[0-9]|(^|:)0[0-9]+[.]`

// sayNets says of a list that its elements are nets, all of one family, in a form that costs nothing: rules in CEL over each of 256 nets of
// 1024 rules would be over the API server's budget.
func sayNets(list, items tree) {
	items["anyOf"] = []any{tree{"format": "cidr"}, tree{"format": "ipv4"}, tree{"format": "ipv6"}}
	items["not"] = tree{"pattern": notNet}
	list["anyOf"] = []any{tree{"items": tree{"pattern": "^[^:]*$"}}, tree{"items": tree{"pattern": ":"}}}
}

// bound completes the nets of rules, and the bounds of what is a number or a text.
func bound(at any) {
	switch at := at.(type) {
	case []any:
		for _, below := range at {
			bound(below)
		}
	case tree:
		for name, below := range at {
			bound(below)
			schema, _ := below.(tree)
			items, _ := schema["items"].(tree)
			switch {
			case (name == "nets" || name == "notNets") && at["notNets"] != nil:
				sayNets(schema, items)
			case (name == "protocol" || name == "notProtocol") && schema["pattern"] != nil:
				schema["minimum"], schema["maximum"] = 1, 255
			case (name == "ports" || name == "notPorts") && items["pattern"] != nil:
				items["minimum"], items["maximum"] = 0, 65535
			}
		}
	}
}

// text is the file of a CRD.
func text(crd tree) ([]byte, error) {
	metadata := dig(crd, "metadata")
	metadata["labels"] = tree{"app.kubernetes.io/managed-by": "felid"}
	data, err := yaml.Marshal(crd)
	return append([]byte(header), data...), err
}

// addNamed adds the CRDs of kinds that are known by name alone.
func addNamed(files map[string][]byte) error {
	for _, info := range v3.Kinds() {
		if info.New != nil {
			continue
		}
		data, err := text(named(info))
		if err != nil {
			return err
		}
		files[v3.Group+"_"+info.Plural+".yaml"] = data
	}
	return nil
}

// named is the CRD of a kind that is accepted as written.
func named(info v3.KindInfo) tree {
	scope := "Cluster"
	if info.Namespaced {
		scope = "Namespaced"
	}
	free := tree{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	names := tree{
		"categories": []string{"felid"}, "kind": info.Kind, "listKind": string(info.Kind) + "List",
		"plural": info.Plural, "singular": strings.ToLower(string(info.Kind)),
	}
	if len(info.Short) > 0 {
		names["shortNames"] = info.Short
	}
	schema := tree{
		"description": "Accepted as written; see docs/kubernetes-kinds.md for what of it felid honours.",
		"type":        "object", "x-kubernetes-preserve-unknown-fields": true,
		"properties": tree{"apiVersion": tree{"type": "string"}, "kind": tree{"type": "string"}, "metadata": tree{"type": "object"}, "spec": free, "status": free},
	}
	version := tree{
		"name": v3.Version, "served": true, "storage": true, "schema": tree{"openAPIV3Schema": schema},
		"additionalPrinterColumns": []tree{{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}},
	}
	return tree{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": tree{"name": info.Plural + "." + v3.Group},
		"spec":     tree{"group": v3.Group, "names": names, "scope": scope, "versions": []tree{version}},
	}
}
