package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/felid-net/felid/datastore"
)

var _ datastore.RawStore = (*Store)(nil)

// fieldManager is as whom objects of Kubernetes are applied.
const fieldManager = "felid"

// rawResources are the resources of Kubernetes' own objects that felid has a use for, by "apiVersion kind".
var rawResources = indexRaw(
	podResource, namespaceResource, serviceAccountResource, nodeResource, serviceResource, sliceResource, policyResource, clusterPolicyResource,
	&resource{group: "policy.networking.k8s.io", version: "v1alpha1", plural: "adminnetworkpolicies", kind: "AdminNetworkPolicy"},
	&resource{group: "policy.networking.k8s.io", version: "v1alpha1", plural: "baselineadminnetworkpolicies", kind: "BaselineAdminNetworkPolicy"},
)

func indexRaw(resources ...*resource) map[string]*resource {
	index := map[string]*resource{}
	for _, r := range resources {
		inJSON := *r
		inJSON.protobuf = false
		index[strings.TrimPrefix(r.group+"/"+r.version, "/")+" "+r.kind] = &inJSON
	}
	return index
}

// rawObject is a Kubernetes object as it is to be sent, and where.
type rawObject struct {
	*call
	content map[string]any
}

func newRawObject(raw datastore.Raw) (*rawObject, error) {
	o := &rawObject{call: &call{}}
	if err := json.Unmarshal(raw.JSON, &o.content); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", raw.Origin, datastore.ErrInvalid, err)
	}
	what := fmt.Sprint(o.content["apiVersion"], " ", o.content["kind"])
	meta, ok := o.content["metadata"].(map[string]any)
	if o.resource = rawResources[what]; o.resource == nil || !ok {
		return nil, fmt.Errorf("%s: %w: %s is no kind that felid writes", raw.Origin, datastore.ErrUnsupported, what)
	}
	_, name, _ := strings.Cut(raw.Origin, " ")
	if o.name = name; o.resource.namespaced {
		o.namespace, o.name, _ = strings.Cut(name, "/")
		meta["namespace"] = o.namespace
	}
	for _, of := range []string{"managedFields", "uid", "creationTimestamp", "generation", "selfLink"} { // what a server wrote, perhaps another one
		delete(meta, of)
	}
	delete(o.content, "status")
	return o, nil
}

// send makes a call about the object.
func (s *Store) send(ctx context.Context, o *rawObject, verb string) error {
	c := *o.call
	c.verb = verb
	switch verb {
	case "patch":
		// The list of who set which field stays true, and kubectl's own apply goes on to work. What others have set and this does not name stays.
		c.contentType, c.query = "application/apply-patch+yaml", url.Values{"fieldManager": {fieldManager}, "force": {"true"}}
	case "create", "update":
		c.query = url.Values{"fieldManager": {fieldManager}}
	}
	if verb != "get" && verb != "delete" {
		body, err := json.Marshal(o.content)
		if err != nil {
			return fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
		}
		c.body = body
	}
	_, err := s.client.do(ctx, &c)
	return err
}

// there tells whether the object is, and its revision.
func (s *Store) there(ctx context.Context, o *rawObject) (bool, string, error) {
	data, err := s.client.get(ctx, o.resource, o.namespace, o.name)
	if errors.Is(err, datastore.ErrNotFound) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	var head struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err = json.Unmarshal(data, &head)
	return true, head.Metadata.ResourceVersion, err
}

// CheckRaw implements datastore.RawStore. Whether the server takes the object is not asked: its namespace may be one of those that are
// written before it.
func (s *Store) CheckRaw(ctx context.Context, raw datastore.Raw, mode datastore.PutMode) error {
	o, err := newRawObject(raw)
	if err != nil {
		return err
	}
	there, _, err := s.there(ctx, o)
	if err == nil {
		_, err = mode.Outcome(there)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", raw.Origin, err)
	}
	return nil
}

// PutRaw implements datastore.RawStore: an apply is a server-side apply.
func (s *Store) PutRaw(ctx context.Context, raw datastore.Raw, mode datastore.PutMode) (string, error) {
	o, err := newRawObject(raw)
	if err != nil {
		return "", err
	}
	there, revision, err := s.there(ctx, o)
	what := ""
	if err == nil {
		what, err = mode.Outcome(there)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", raw.Origin, err)
	}
	verb := map[datastore.PutMode]string{datastore.PutApply: "patch", datastore.PutCreate: "create", datastore.PutReplace: "update", datastore.PutDelete: "delete"}[mode]
	meta := o.content["metadata"].(map[string]any)
	if _, given := meta["resourceVersion"]; mode == datastore.PutReplace && !given {
		meta["resourceVersion"] = revision
	} else if mode == datastore.PutCreate || !there {
		delete(meta, "resourceVersion")
	}
	if err := s.send(ctx, o, verb); err != nil {
		return "", fmt.Errorf("%s: %w", raw.Origin, err)
	}
	return what, nil
}
