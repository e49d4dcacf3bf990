package emulator

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// The builds of Windows that have a preset.
const (
	Server2022 = 20348
	Server2025 = 26100
)

// The versions of HNS on them. Minor versions of patched builds are guesses: tests run both neighbours too.
var presets = map[int]hns.Version{
	Server2022: {Major: 13, Minor: 2},
	Server2025: {Major: 15, Minor: 4},
}

// Versions are those that HNS may have on a build: the preset, and the minor versions beside it.
func Versions(build int) []hns.Version {
	v := presets[build]
	return []hns.Version{v, {Major: v.Major, Minor: v.Minor - 1}, {Major: v.Major, Minor: v.Minor + 1}}
}

// Options of one simulated node.
type Options struct {
	// Build of Windows, Server2022 where there is neither this nor Version. It chooses what HNS's packet path does.
	Build int
	// Version of HNS, instead of the build's preset.
	Version hns.Version
	// NoIPv6: networks have no IPv6, and ACLs with such addresses are refused.
	NoIPv6 bool
	// False are the assumptions in docs/windows.md that do not hold.
	False []dptest.Assumption
	// Middle is called in the middle of a Modify of an endpoint's ACLs where H25 is false: the endpoint has none then.
	Middle func(s *Server, endpoint string)
}

// Server is the HNS of one node. Its methods may be called from several goroutines.
type Server struct {
	version hns.Version
	model   dptest.HNS
	middle  func(s *Server, endpoint string)

	mu       sync.Mutex
	shelves  map[hns.Kind]*shelf
	number   int // of the last network compartment
	accelnet json.RawMessage
	faults   []*armed
	stopped  bool
	log      []Call
	pending  []func() // what Modify calls leave to be done later, where H26 is false
}

// New is a node without networks. It panics on a build that has no preset: that is a fault of the test.
func New(o Options) *Server {
	if o.Build == 0 {
		o.Build = Server2022
	}
	version, ok := presets[o.Build]
	if !ok {
		panic(fmt.Sprintf("no preset for build %d", o.Build))
	}
	if o.Version != (hns.Version{}) {
		version = o.Version
	}
	model := dptest.HNSOf(o.Build).Without(o.False...)
	model.Major, model.Minor, model.IPv6 = version.Major, version.Minor, !o.NoIPv6
	s := &Server{version: version, model: model, middle: o.Middle, number: 2, shelves: map[hns.Kind]*shelf{}}
	for _, kind := range kinds {
		s.shelves[kind] = &shelf{byID: map[string]*object{}}
	}
	return s
}

// Version of HNS that the node has.
func (s *Server) Version() hns.Version { return s.version }

// Op is what a call of the DLLs does.
type Op string

// The operations. Those of schema 2 have an object's kind; OpV1 is HNSCall of schema 1.
const (
	OpEnumerate Op = "Enumerate"
	OpOpen      Op = "Open"
	OpQuery     Op = "Query"
	OpCreate    Op = "Create"
	OpModify    Op = "Modify"
	OpDelete    Op = "Delete"
	OpV1        Op = "HNSCall"
)

// request is one call of a DLL. id is a GUID, "" for none; parent is the network of an endpoint to be created. For OpV1 method and path are
// HNSCall's and text its object.
type request struct {
	op           Op
	kind         hns.Kind
	id, parent   string
	text         string
	method, path string
}

// answer to a request: the GUID of the object, and text.
type answer struct {
	id, text string
}

// call does one request: faults first, then the thing itself.
func (s *Server) call(r request) (answer, *failure) {
	r.id = upper(r.id)
	start := now()
	a, err := s.serve(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(r, a, err, now().Sub(start))
	return a, err
}

func (s *Server) serve(r request) (answer, *failure) {
	hit := s.strike(r)
	for _, f := range hit {
		f.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return answer{}, fail(codeUnavailable, "The RPC server is unavailable.")
	}
	if err := refusal(hit, false); err != nil {
		return answer{}, err
	}
	a, err := s.do(r)
	if late := refusal(hit, true); late != nil {
		return answer{}, late
	}
	return a, err
}

// do is one request without faults, under the lock.
func (s *Server) do(r request) (answer, *failure) {
	if r.op != OpQuery { // which hcsshim adds to a Modify
		s.settle()
	}
	if r.op == OpV1 {
		return answer{text: s.schema1(r.method, r.path, r.text)}, nil
	}
	shelf := s.shelves[r.kind]
	if shelf == nil {
		return answer{}, fail(codeInvalidArg, "no such kind: %s", r.kind)
	}
	switch r.op {
	case OpEnumerate:
		text, err := s.enumerate(r.kind, r.text)
		return answer{text: text}, err
	case OpCreate:
		return s.create(r.kind, r.id, r.parent, r.text)
	}
	o, err := s.find(r.kind, r.id)
	if err != nil {
		return answer{}, err
	}
	switch r.op {
	case OpOpen:
		return answer{id: o.id}, nil
	case OpQuery:
		return answer{id: o.id, text: string(o.json())}, nil
	case OpModify:
		return answer{}, s.modify(o, r.text)
	case OpDelete:
		s.remove(o)
		return answer{}, nil
	}
	return answer{}, fail(codeInvalidArg, "no such operation: %s", r.op)
}
