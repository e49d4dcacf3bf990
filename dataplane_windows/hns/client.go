package hns

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
)

// Client asks HNS in terms of objects. It keeps nothing: each answer is HNS's of now. Calls may run beside each other. What an operation costs
// in calls to the DLLs is said at Open.
type Client struct {
	calls Calls
}

// NewClient is a Client over these calls.
func NewClient(c Calls) *Client {
	return &Client{calls: c}
}

// Version of HNS. It is asked anew at each call, since what hcsshim knows of features is that of its first attempt, failed or not.
func (c *Client) Version() (Version, error) {
	v, err := c.calls.Version()
	return v, named(err, "version", "", "")
}

// AtLeast tells whether v is major.minor or later.
func (v Version) AtLeast(major, minor int) bool {
	return cmp.Or(cmp.Compare(v.Major, major), cmp.Compare(v.Minor, minor)) >= 0
}

// listTries is how often a list is asked for that fails because an object went while it was read.
const listTries = 5

func (c *Client) list(kind Kind, filter map[string]any) (raw []json.RawMessage, err error) {
	for range listTries {
		if raw, err = c.calls.List(kind, filter); err == nil {
			return raw, nil
		}
		if err = named(err, "list", kind, ""); !NotFound(err) {
			return nil, err
		}
	}
	return nil, err
}

func (c *Client) modify(kind Kind, id string, request json.RawMessage) error {
	return named(c.calls.Modify(kind, id, request), "modify", kind, id)
}

func parseAll[T any](raw []json.RawMessage, op string, kind Kind, parse func(json.RawMessage) (T, error)) ([]T, error) {
	out := make([]T, 0, len(raw))
	for _, r := range raw {
		t, err := parse(r)
		if err != nil {
			return nil, &Error{Op: op, Kind: kind, Text: err.Error()}
		}
		out = append(out, t)
	}
	return out, nil
}

func get[T any](c *Client, kind Kind, id string, parse func(json.RawMessage) (T, error)) (T, error) {
	var none T
	raw, err := c.calls.Get(kind, id)
	if err != nil {
		return none, named(err, "get", kind, id)
	}
	return parsed("get", kind, id, raw, parse)
}

func parsed[T any](op string, kind Kind, id string, raw json.RawMessage, parse func(json.RawMessage) (T, error)) (T, error) {
	t, err := parse(raw)
	if err != nil {
		return t, &Error{Op: op, Kind: kind, ID: id, Text: err.Error()}
	}
	return t, nil
}

// Networks are all of the host, whoever made them, in HNS's order.
func (c *Client) Networks() ([]Network, error) {
	raw, err := c.list(KindNetwork, nil)
	if err != nil {
		return nil, err
	}
	return parseAll(raw, "list", KindNetwork, ParseNetwork)
}

// Network with this ID.
func (c *Client) Network(id string) (Network, error) {
	return get(c, KindNetwork, id, ParseNetwork)
}

// Endpoints are those of this host that are attached, on any network, by ID. Schema 2 does not show the state of an endpoint, but HNS filters by it.
func (c *Client) Endpoints() ([]Endpoint, error) {
	var out []Endpoint
	seen := map[string]bool{}
	for _, state := range []State{StateAttached, StateAttachedSharing} {
		raw, err := c.list(KindEndpoint, map[string]any{"State": int(state)})
		if err != nil {
			return nil, err
		}
		list, err := parseAll(raw, "list", KindEndpoint, ParseEndpoint)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if e.Remote || seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			e.State = state
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Endpoint with this ID, attached or not; its State is unknown.
func (c *Client) Endpoint(id string) (Endpoint, error) {
	return get(c, KindEndpoint, id, ParseEndpoint)
}

// NamespaceEndpoints are the IDs of the endpoints that are attached to a namespace.
func (c *Client) NamespaceEndpoints(namespace string) ([]string, error) {
	n, err := get(c, KindNamespace, namespace, ParseNamespace)
	return n.Endpoints, err
}

// PutACLs makes these the endpoint's only ACLs, by one modify. Policies of other types stay. The list must not be empty: HNS would leave what is there.
func (c *Client) PutACLs(endpoint string, acls []json.RawMessage) error {
	if len(acls) == 0 {
		return &Error{Op: "modify", Kind: KindEndpoint, ID: endpoint, Code: codeInvalidParameter, Text: "an empty list of ACLs would change nothing"}
	}
	return c.modify(KindEndpoint, endpoint, policyRequest(requestUpdate, policyACL, acls))
}

// RemoveACLs takes these ACLs, settings for settings, off the endpoint. It is for taking felid off a host: NPM's authors found it unreliable.
func (c *Client) RemoveACLs(endpoint string, acls []json.RawMessage) error {
	return c.modify(KindEndpoint, endpoint, policyRequest(requestRemove, policyACL, acls))
}

// PutSets puts new sets on a network and gives changed ones their members, by one modify each. Other sets of the network stay.
func (c *Client) PutSets(network string, added, changed []Set) error {
	if len(added) > 0 {
		if err := c.modify(KindNetwork, network, setsRequest(requestAdd, added)); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return c.modify(KindNetwork, network, setsRequest(requestUpdate, changed))
}

// RemoveSets takes sets off a network. No ACL may name them any more.
func (c *Client) RemoveSets(network string, sets []Set) error {
	if len(sets) == 0 {
		return nil
	}
	return c.modify(KindNetwork, network, setsRequest(requestRemove, sets))
}

// CreateNetwork makes a network.
func (c *Client) CreateNetwork(n NewNetwork) (Network, error) {
	return create(c, KindNetwork, "", n.raw, ParseNetwork)
}

// CreateEndpoint makes an endpoint, which is not attached yet.
func (c *Client) CreateEndpoint(n NewEndpoint) (Endpoint, error) {
	return create(c, KindEndpoint, n.Network, n.raw, ParseEndpoint)
}

// CreateNamespace makes a namespace; id may be empty.
func (c *Client) CreateNamespace(id string) (Namespace, error) {
	raw := func() (json.RawMessage, error) {
		return json.Marshal(struct {
			ID            string `json:",omitempty"`
			SchemaVersion schemaJSON
		}{id, schemaJSON{Major: 2}})
	}
	return create(c, KindNamespace, "", raw, ParseNamespace)
}

func create[T any](c *Client, kind Kind, parent string, build func() (json.RawMessage, error), parse func(json.RawMessage) (T, error)) (T, error) {
	var none T
	settings, err := build()
	if err != nil {
		return none, err
	}
	raw, err := c.calls.Create(kind, parent, settings)
	if err != nil {
		return none, named(err, "create", kind, "")
	}
	return parsed("create", kind, "", raw, parse)
}

// Attach attaches an endpoint to a namespace.
func (c *Client) Attach(namespace, endpoint string) error {
	return c.modify(KindNamespace, namespace, attachRequest(requestAdd, endpoint))
}

// Detach takes an endpoint off its namespace.
func (c *Client) Detach(namespace, endpoint string) error {
	return c.modify(KindNamespace, namespace, attachRequest(requestRemove, endpoint))
}

// DeleteNetwork deletes a network, with its endpoints. What is not there needs no deleting.
func (c *Client) DeleteNetwork(id string) error { return c.delete(KindNetwork, id) }

// DeleteEndpoint deletes an endpoint.
func (c *Client) DeleteEndpoint(id string) error { return c.delete(KindEndpoint, id) }

// DeleteNamespace deletes a namespace.
func (c *Client) DeleteNamespace(id string) error { return c.delete(KindNamespace, id) }

func (c *Client) delete(kind Kind, id string) error {
	if id == "" {
		return errors.New("no ID")
	}
	if err := named(c.calls.Delete(kind, id), "delete", kind, id); !NotFound(err) {
		return err
	}
	return nil
}
