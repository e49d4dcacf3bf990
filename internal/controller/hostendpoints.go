package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy/kube"
)

// kindControllers is the kind that configures Calico's controllers, of which felid honours a part.
const kindControllers v3.Kind = "KubeControllersConfiguration"

// controllersSpec is that part.
type controllersSpec struct {
	Controllers struct {
		Node *struct {
			HostEndpoint *struct {
				AutoCreate                string `json:"autoCreate"`
				CreateDefaultHostEndpoint string `json:"createDefaultHostEndpoint"`
			} `json:"hostEndpoint"`
			LeakGracePeriod string `json:"leakGracePeriod"`
		} `json:"node"`
	} `json:"controllers"`
}

// readControllers reads it; what is not there is empty.
func readControllers(o v3.Object) (controllersSpec, error) {
	var spec controllersSpec
	if o == nil {
		return spec, nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		return spec, err
	}
	var whole struct {
		Spec *controllersSpec `json:"spec"`
	}
	whole.Spec = &spec
	return spec, json.Unmarshal(data, &whole)
}

// autoCreate says whether there are to be automatic host endpoints.
func (s *controllersSpec) autoCreate() bool {
	node := s.Controllers.Node
	return node != nil && node.HostEndpoint != nil && node.HostEndpoint.AutoCreate == "Enabled" && node.HostEndpoint.CreateDefaultHostEndpoint != "Disabled"
}

// hostEndpoints makes the automatic host endpoint of each node, or, where there are to be none, deletes those that there are. It touches none
// that a controller did not make.
type hostEndpoints struct {
	setting   string // Enabled, Disabled, or Config: as configured says
	configure controllersSpec
	problem   string // why the configuration can't be read: what was known stays
	nodes     map[string]*v3.Node
	endpoints map[string]*v3.HostEndpoint // those with the name of an automatic one
	items     map[string]struct{}         // nodes that are there, or whose endpoint is
}

func newHostEndpoints(s Settings) *hostEndpoints {
	return &hostEndpoints{setting: s.AutoHostEndpoints, nodes: map[string]*v3.Node{}, endpoints: map[string]*v3.HostEndpoint{}, items: map[string]struct{}{}}
}

// Name implements Reconciler.
func (h *hostEndpoints) Name() string { return "host endpoints" }

// Kinds implements Reconciler.
func (h *hostEndpoints) Kinds() []v3.Kind {
	kinds := []v3.Kind{v3.KindNode, v3.KindHostEndpoint}
	if h.setting == "Config" {
		kinds = append(kinds, kindControllers)
	}
	return kinds
}

func nodeKey(name string) v3.Key { return v3.Key{Kind: v3.KindNode, Name: name} }

// Update implements Reconciler.
func (h *hostEndpoints) Update(key v3.Key, o v3.Object) []v3.Key {
	switch key.Kind {
	case v3.KindNode:
		delete(h.nodes, key.Name)
		if o != nil {
			h.nodes[key.Name] = o.(*v3.Node)
		}
		return h.touch(key.Name)
	case v3.KindHostEndpoint:
		node, auto := strings.CutSuffix(key.Name, kube.AutoHostEndpointName(""))
		if !auto {
			return nil
		}
		delete(h.endpoints, key.Name)
		if o != nil {
			h.endpoints[key.Name] = o.(*v3.HostEndpoint)
		}
		return h.touch(node)
	case kindControllers:
		if key.Name == "default" {
			return h.reconfigure(o)
		}
	}
	return nil
}

func (h *hostEndpoints) touch(node string) []v3.Key {
	h.items[node] = struct{}{}
	return []v3.Key{nodeKey(node)}
}

// reconfigure takes the configuration.
func (h *hostEndpoints) reconfigure(o v3.Object) []v3.Key {
	spec, err := readControllers(o)
	h.problem = ""
	if err != nil {
		h.problem = fmt.Sprintf("%s default can't be read, what it said before counts: %v", kindControllers, err)
	} else {
		h.configure = spec
	}
	items := make([]v3.Key, 0, len(h.items))
	for node := range h.items {
		items = append(items, nodeKey(node))
	}
	return items
}

func (h *hostEndpoints) enabled() bool {
	return h.setting == "Enabled" || h.setting == "Config" && h.configure.autoCreate()
}

// Plan implements Reconciler.
func (h *hostEndpoints) Plan(item v3.Key, _ time.Time) Step {
	node, there := h.nodes[item.Name], h.endpoints[kube.AutoHostEndpointName(item.Name)]
	if node == nil && there == nil {
		delete(h.items, item.Name)
		return Step{}
	}
	ours := there != nil && kube.IsAutoHostEndpoint(there)
	switch wanted := node != nil && h.enabled(); {
	case wanted && there == nil:
		return Step{Writes: []Write{{Verb: Create, Object: kube.AutoHostEndpoint(node)}}, Problem: h.problem}
	case wanted && !ours:
		return Step{Problem: fmt.Sprintf("HostEndpoint %s was not made by a controller, and stays as it is: node %s has no automatic one", there.Name, node.Name)}
	case wanted:
		return Step{Writes: refresh(there, kube.AutoHostEndpoint(node)), Problem: h.problem}
	case ours && there.Spec.Node == item.Name && there.DeletionTimestamp == nil:
		return Step{Writes: []Write{{Verb: Delete, Object: there, Verify: verifyGone(item, node)}}, Problem: h.problem}
	}
	return Step{Problem: h.problem}
}

// verifyGone proves that a node is gone whose endpoint is deleted for that; nil where it is deleted for another reason.
func verifyGone(key v3.Key, node *v3.Node) func(context.Context, Reader) error {
	if node != nil {
		return nil
	}
	return func(ctx context.Context, read Reader) error { return proveGone(ctx, read, key) }
}

// proveGone reads that an object is not there.
func proveGone(ctx context.Context, read Reader, key v3.Key) error {
	_, err := read.Get(ctx, key)
	switch {
	case errors.Is(err, datastore.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("whether %s is gone is unknown: %w", key, err)
	}
	return fmt.Errorf("%s is there: %w", key, errNotProven)
}

// refresh makes an endpoint be as it should, and leaves to it what others gave it besides.
func refresh(there, want *v3.HostEndpoint) []Write {
	if maps.Equal(there.Labels, want.Labels) && reflect.DeepEqual(there.Spec, want.Spec) {
		return nil
	}
	changed := there.DeepCopy()
	changed.Labels, changed.Spec = want.Labels, want.Spec
	return []Write{{Verb: Update, Object: changed}}
}

// Measure implements Measurer.
func (h *hostEndpoints) Measure(m *Metrics) {
	n := 0
	for _, e := range h.endpoints {
		if kube.IsAutoHostEndpoint(e) {
			n++
		}
	}
	m.hostEndpoints.Set(float64(n))
}
