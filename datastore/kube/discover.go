package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Survey is what a cluster has of the API that felid's resources are in, whoever owns it.
type Survey struct {
	// Aggregated is the Service ("NAMESPACE/NAME") that serves projectcalico.org/v3 in the place of the API server; "" for none.
	Aggregated string
	// Definitions are the CustomResourceDefinitions whose group is projectcalico.org or ends so.
	Definitions []Definition
}

// Definition is a CustomResourceDefinition.
type Definition struct {
	Name   string // PLURAL.GROUP
	Labels map[string]string
}

var (
	apiServices = &resource{group: "apiregistration.k8s.io", version: "v1", plural: "apiservices", kind: "APIService"}
	definitions = &resource{group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", kind: "CustomResourceDefinition"}
)

// metadataOnly asks for the metadata of the objects of a list alone: definitions have up to a megabyte of schema each.
const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// Discover looks at a cluster; it needs get of apiservices.apiregistration.k8s.io and list of customresourcedefinitions.apiextensions.k8s.io.
func Discover(ctx context.Context, config *rest.Config) (*Survey, error) {
	c, err := newClient(config, slog.New(slog.DiscardHandler), usualTiming)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := &Survey{}
	if s.Aggregated, err = c.aggregated(ctx); err != nil {
		return nil, err
	}
	s.Definitions, err = c.definitions(ctx)
	return s, err
}

func (c *client) aggregated(ctx context.Context) (string, error) {
	raw, err := c.get(ctx, apiServices, "", v3.Version+"."+v3.Group)
	if errors.Is(err, datastore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var service struct {
		Spec struct {
			Service *struct{ Namespace, Name string }
		}
	}
	if err := json.Unmarshal(raw, &service); err != nil {
		return "", fmt.Errorf("apiservice: %w: %w", datastore.ErrUnreachable, err)
	}
	if at := service.Spec.Service; at != nil {
		return at.Namespace + "/" + at.Name, nil
	}
	return "", nil // the server makes one for its own definitions
}

func (c *client) definitions(ctx context.Context) ([]Definition, error) {
	var out []Definition
	for next := ""; ; {
		raw, err := c.do(ctx, &call{verb: "list", resource: definitions, accept: metadataOnly, query: url.Values{"limit": {"500"}, "continue": {next}}})
		if err != nil {
			return nil, err
		}
		var page metav1.PartialObjectMetadataList
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("customresourcedefinitions: %w: %w", datastore.ErrUnreachable, err)
		}
		for _, item := range page.Items {
			if _, group, _ := strings.Cut(item.Name, "."); group == v3.Group || strings.HasSuffix(group, "."+v3.Group) {
				out = append(out, Definition{item.Name, item.Labels})
			}
		}
		if next = page.Continue; next == "" {
			return out, nil
		}
	}
}
