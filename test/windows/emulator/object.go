package emulator

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Kinds that only hcsshim's own tests and kube-proxy use.
const (
	kindLoadBalancer hns.Kind = "LoadBalancer"
	kindRoute        hns.Kind = "SdnRoute"
)

var kinds = []hns.Kind{hns.KindNetwork, hns.KindEndpoint, hns.KindNamespace, kindLoadBalancer, kindRoute}

// fields are those of an object in JSON. What the emulator does not know is kept as it came.
type fields = map[string]any

// object of HNS, as schema 2 shows it.
type object struct {
	kind   hns.Kind
	id     string // GUID, upper case, no braces
	fields fields
	state  hns.State          // of an endpoint: schema 2 does not show it, but filters by it
	stuck  bool               // attaching it leaves its state as it is
	text   []byte             // fields as JSON; nil since they changed
	sets   *dptest.HNSNetwork // of a network
	port   *dptest.HNSPort    // of an endpoint
}

func (o *object) changed() { o.text = nil }

func (o *object) json() []byte {
	if o.text == nil {
		o.text, _ = json.Marshal(o.fields) // decoded from JSON
	}
	return o.text
}

func (o *object) str(field string) string { return str(o.fields, field) }

func (o *object) network() string { return upper(o.str("HostComputeNetwork")) }

// policies are those of a network or an endpoint: objects with Type and Settings.
func (o *object) policies() []fields { return items(o.fields, "Policies") }

func (o *object) setPolicies(list []fields) {
	o.fields["Policies"] = anys(list)
	o.changed()
}

// shelf holds the objects of a kind in the order of their making.
type shelf struct {
	byID  map[string]*object
	order []string
}

func (sh *shelf) put(o *object) {
	if sh.byID[o.id] == nil {
		sh.order = append(sh.order, o.id)
	}
	sh.byID[o.id] = o
}

func (sh *shelf) drop(id string) {
	delete(sh.byID, id)
	sh.order = slices.DeleteFunc(sh.order, func(x string) bool { return x == id })
}

// all lists the objects; the list is the caller's, so that it may delete while it goes through it.
func (sh *shelf) all() []*object {
	list := make([]*object, len(sh.order))
	for i, id := range sh.order {
		list[i] = sh.byID[id]
	}
	return list
}

func (s *Server) find(kind hns.Kind, id string) (*object, *failure) {
	if o := s.shelves[kind].byID[upper(id)]; o != nil {
		return o, nil
	}
	switch kind {
	case hns.KindNetwork:
		return nil, fail(codeNetworkNotFound, "The network was not found.")
	case hns.KindEndpoint:
		return nil, fail(codeEndpointNotFound, "The endpoint was not found.")
	}
	return nil, fail(codeNotFound, "Element not found.")
}

// enumerate gives the GUIDs of the objects that a query's filter lets through. The filter is JSON in a string; its values may be of any type.
func (s *Server) enumerate(kind hns.Kind, text string) (string, *failure) {
	var query struct{ Filter string }
	if text != "" && json.Unmarshal([]byte(text), &query) != nil {
		return "", fail(codeInvalidJSON, "Invalid JSON document string.")
	}
	var filter fields
	if query.Filter != "" && json.Unmarshal([]byte(query.Filter), &filter) != nil {
		return "", fail(codeInvalidJSON, "Invalid JSON document string.")
	}
	ids := []string{}
	for _, o := range s.shelves[kind].all() {
		if _, state := filter["State"]; state && s.model.False[dptest.H31] {
			break
		}
		if o.passes(filter) {
			ids = append(ids, o.id)
		}
	}
	list, _ := json.Marshal(ids)
	return string(list), nil
}

func (o *object) passes(filter fields) bool {
	for field, want := range filter {
		var have any
		switch {
		case field == "VirtualNetwork":
			have = o.str("HostComputeNetwork")
		case field == "State" && o.kind == hns.KindEndpoint:
			have = int(o.state)
		default:
			have = o.fields[field]
		}
		if have == nil {
			have = ""
		}
		if !strings.EqualFold(fmt.Sprint(have), fmt.Sprint(want)) {
			return false
		}
	}
	return true
}

func upper(guid string) string { return strings.ToUpper(strings.Trim(guid, "{}")) }

func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func str(f fields, name string) string {
	text, _ := f[name].(string)
	return text
}

// number is a field's number, 0 where it is none.
func number(f fields, name string) int {
	n, _ := f[name].(float64)
	return int(n)
}

func child(f fields, name string) fields {
	c, _ := f[name].(fields)
	return c
}

// items are the objects of a list.
func items(f fields, name string) []fields {
	list, _ := f[name].([]any)
	var out []fields
	for _, item := range list {
		if m, ok := item.(fields); ok {
			out = append(out, m)
		}
	}
	return out
}

func anys(list []fields) []any {
	out := make([]any, len(list))
	for i, f := range list {
		out[i] = f
	}
	return out
}

// parse decodes a document of the caller.
func parse(text string) (fields, *failure) {
	var f fields
	if json.Unmarshal([]byte(text), &f) != nil || f == nil {
		return nil, fail(codeInvalidJSON, "Invalid JSON document string.")
	}
	return f, nil
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
