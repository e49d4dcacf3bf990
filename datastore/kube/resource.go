package kube

import (
	"net/url"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// resource names one resource of the API server.
type resource struct {
	group, version, plural, kind string
	namespaced                   bool
	// protobuf: it is read in Kubernetes' protobuf encoding, which custom resources don't have; else in JSON.
	protobuf bool
}

// String is the name as an RBAC rule or a CRD has it: "tiers.projectcalico.org", "pods".
func (r *resource) String() string {
	if r.group == "" {
		return r.plural
	}
	return r.plural + "." + r.group
}

// path is that of the resource, of one object, or of a subresource of it; namespace, name and sub may be empty.
func (r *resource) path(namespace, name, sub string) string {
	parts := []string{"/apis", r.group, r.version}
	if r.group == "" {
		parts = []string{"/api", r.version}
	}
	if namespace != "" {
		parts = append(parts, "namespaces", url.PathEscape(namespace))
	}
	parts = append(parts, r.plural)
	for _, part := range []string{name, sub} {
		if part != "" {
			parts = append(parts, url.PathEscape(part))
		}
	}
	return strings.Join(parts, "/")
}

// storedResource is that of a kind of ours.
func storedResource(info v3.KindInfo) *resource {
	return &resource{group: v3.Group, version: v3.Version, plural: info.Plural, kind: string(info.Kind), namespaced: info.Namespaced}
}
