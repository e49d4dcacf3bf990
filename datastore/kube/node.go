package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/felid-net/felid/datastore"
)

// taintedNodes are Nodes in JSON: what is not looked at of a taint is written back as it was.
var taintedNodes = &resource{version: "v1", plural: "nodes", kind: "Node"}

// untaintTurns is how often a Node may be changed by others between its reading and its writing.
const untaintTurns = 10

// Untaint takes the taints with a key off a Node, and no others. A Node that has none is left alone.
func (s *Store) Untaint(ctx context.Context, node, key string) error {
	if err := s.client.untaint(ctx, node, key); err != nil {
		return fmt.Errorf("taking taint %s off Node %s: %w", key, node, err)
	}
	return nil
}

func (c *client) untaint(ctx context.Context, node, key string) error {
	var err error
	for range untaintTurns {
		var raw, patch []byte
		if raw, err = c.get(ctx, taintedNodes, "", node); err != nil {
			return err
		}
		if patch, err = untainted(raw, key); err != nil || patch == nil {
			return err
		}
		_, err = c.do(ctx, &call{verb: "patch", resource: taintedNodes, name: node, body: patch})
		if !errors.Is(err, datastore.ErrConflict) {
			return err
		}
	}
	return err
}

// untainted is the merge patch (RFC 7386) that takes the taints with a key off a Node; nil where there are none. It names the Node's
// revision: taints are one value, and somebody else's must not be lost.
func untainted(node []byte, key string) (patch []byte, err error) {
	var n struct {
		Metadata struct {
			Name            string `json:"name"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Spec struct {
			Taints []json.RawMessage `json:"taints"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(node, &n); err != nil {
		return nil, fmt.Errorf("reading the Node: %w", err)
	}
	left := []json.RawMessage{}
	for i, text := range n.Spec.Taints {
		var taint struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(text, &taint); err != nil {
			return nil, fmt.Errorf("reading Node %s: spec.taints[%d]: %w", n.Metadata.Name, i, err)
		}
		if taint.Key != key {
			left = append(left, text)
		}
	}
	if len(left) == len(n.Spec.Taints) {
		return nil, nil
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": n.Metadata.ResourceVersion},
		"spec":     map[string]any{"taints": left},
	})
}
