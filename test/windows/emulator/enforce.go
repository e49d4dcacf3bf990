package emulator

import (
	"encoding/json"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// furnish gives a new object its part of the model.
func (s *Server) furnish(o *object) *failure {
	switch o.kind {
	case hns.KindNetwork:
		o.sets = s.model.NewNetwork()
		return o.putSets(o.policies())
	case hns.KindEndpoint:
		o.port = s.shelves[hns.KindNetwork].byID[o.network()].sets.NewPort()
		return s.setACLs(o, o.policies())
	}
	return nil
}

// enforce makes the model do what a request says, or says why HNS would refuse that. next are all policies that the object will have.
func (s *Server) enforce(o *object, how string, list, next []fields) *failure {
	if o.kind == hns.KindEndpoint {
		s.pause(o, next)
		return s.setACLs(o, next)
	}
	if how != "Remove" {
		return o.putSets(list)
	}
	for _, p := range list {
		id := setID(p)
		if id == "" {
			continue
		}
		if err := o.sets.RemoveSet(id); err != nil {
			_ = o.putSets(o.policies()) // as it was, which was right
			return fail(codeHasReferences, "%v", err)
		}
	}
	return nil
}

// pause is the moment in the middle of a Modify in which an endpoint has no list, where H25 is false.
func (s *Server) pause(e *object, next []fields) {
	if s.model.False[dptest.H25] && s.middle != nil && e.port.Check(aclText(next)) == nil {
		s.mustSet(e, nil)
		s.mu.Unlock()
		s.middle(s, e.id)
		s.mu.Lock()
	}
}

func (o *object) putSets(list []fields) *failure {
	for _, p := range list {
		if setID(p) == "" {
			continue
		}
		if err := put(o.sets, child(p, "Settings")); err != nil {
			return fail(codeInvalidPolicy, "%v", err)
		}
	}
	return nil
}

// setACLs makes those among an endpoint's policies be in force.
func (s *Server) setACLs(e *object, policies []fields) *failure {
	list := aclText(policies)
	if err := e.port.Check(list); err != nil {
		if s.model.False[dptest.H27] {
			e.forget("ACL")
			s.mustSet(e, nil)
		}
		return fail(codeInvalidPolicy, "%v", err)
	}
	if s.model.False[dptest.H26] {
		s.pending = append(s.pending, func() { s.mustSet(e, list) })
		return nil
	}
	s.mustSet(e, list)
	return nil
}

// mustSet gives the model a list that it has found right.
func (s *Server) mustSet(e *object, list []byte) {
	if list == nil {
		list = []byte("[]")
	}
	if err := e.port.SetACLs(list); err != nil {
		panic(err)
	}
}

// Settle makes all that has been asked be in force: where H26 is false, a Modify returns before.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

func (s *Server) settle() {
	for _, f := range s.pending {
		f()
	}
	s.pending = nil
}

// aclText are the settings of the ACLs, as a list.
func aclText(policies []fields) []byte {
	list := []any{}
	for _, p := range policies {
		if str(p, "Type") == "ACL" {
			list = append(list, p["Settings"])
		}
	}
	text, _ := json.Marshal(list) // decoded from JSON
	return text
}

// withoutIDs is the policies without the Ids of ACLs, where HNS does not keep them (H28).
func withoutIDs(policies []fields) []fields {
	for _, p := range policies {
		if str(p, "Type") == "ACL" {
			delete(child(p, "Settings"), "Id")
		}
	}
	return policies
}

// forget drops the policies of a type, without a word to the model.
func (o *object) forget(policy string) {
	var keep []fields
	for _, p := range o.policies() {
		if str(p, "Type") != policy {
			keep = append(keep, p)
		}
	}
	o.setPolicies(keep)
}
