package emulator

import (
	"slices"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// modify does a request {"ResourceType", "RequestType", "Settings"}. Load balancers and routes are replaced as a whole, as hcsshim asks.
func (s *Server) modify(o *object, text string) *failure {
	f, err := parse(text)
	if err != nil {
		return err
	}
	if o.kind == kindLoadBalancer || o.kind == kindRoute {
		f["ID"] = o.id
		o.fields = f
		o.changed()
		return nil
	}
	what, how, settings := str(f, "ResourceType"), str(f, "RequestType"), child(f, "Settings")
	switch {
	case what == "Policy" && o.kind != hns.KindNamespace:
		return s.modifyPolicies(o, how, items(settings, "Policies"))
	case what == "Endpoint" && o.kind == hns.KindNamespace:
		return s.modifyNamespace(o, how, upper(str(settings, "EndpointId")))
	}
	return fail(codeRequestUnsupported, "ResourceType %q of a %s", what, o.kind)
}

// modifyPolicies is all or nothing: what is wrong with one policy refuses the request.
func (s *Server) modifyPolicies(o *object, how string, list []fields) *failure {
	for _, p := range list {
		if err := s.checkPolicy(o.kind, p); err != nil {
			return err
		}
	}
	var err *failure
	var next []fields
	switch how {
	case "Add":
		next, err = added(o.policies(), list)
	case "Remove":
		next, err = removed(o.policies(), list)
	case "Update", "":
		next, err = s.updated(o.policies(), list)
	default:
		err = fail(codeRequestUnsupported, "RequestType %q", how)
	}
	if err == nil {
		err = s.enforce(o, how, list, next)
	}
	if err != nil {
		return err
	}
	if s.model.False[dptest.H28] {
		next = withoutIDs(next)
	}
	o.setPolicies(next)
	return nil
}

func added(have, list []fields) ([]fields, *failure) {
	next := slices.Clone(have)
	for _, p := range list {
		if setID(p) != "" && setIndex(next, setID(p)) >= 0 {
			return nil, fail(codePolicyExists, "A policy with this ID already exists: %s.", setID(p))
		}
		next = append(next, p)
	}
	return next, nil
}

// removed takes sets away by their IDs, and other policies where they are equal.
func removed(have, list []fields) ([]fields, *failure) {
	next := slices.Clone(have)
	for _, p := range list {
		i := slices.IndexFunc(next, func(q fields) bool { return equal(p, q) })
		if id := setID(p); id != "" {
			i = setIndex(next, id)
			if i < 0 {
				return nil, fail(codePolicyNotFound, "The policy was not found: %s.", id)
			}
		}
		if i >= 0 {
			next = slices.Delete(next, i, i+1)
		}
	}
	return next, nil
}

// updated replaces, of a network's sets, those that are named; of all else, every policy of the types that the request has (H23), and no other
// (H24).
func (s *Server) updated(have, list []fields) ([]fields, *failure) {
	types := map[string]bool{}
	for _, p := range list {
		types[str(p, "Type")] = setID(p) == ""
	}
	next := slices.DeleteFunc(slices.Clone(have), func(p fields) bool {
		switch t := str(p, "Type"); {
		case types["ACL"] && t == "ACL":
			return !s.model.False[dptest.H23]
		case types["ACL"]:
			return types[t] || s.model.False[dptest.H24]
		default:
			return types[t]
		}
	})
	for _, p := range list {
		id := setID(p)
		if id == "" {
			next = append(next, p)
			continue
		}
		i := setIndex(next, id)
		if i < 0 {
			return nil, fail(codePolicyNotFound, "The policy was not found: %s.", id)
		}
		next[i] = p
	}
	return next, nil
}

func (s *Server) modifyNamespace(ns *object, how, id string) *failure {
	e, err := s.find(hns.KindEndpoint, id)
	if err != nil {
		return err
	}
	in := upper(e.str("HostComputeNamespace"))
	switch how {
	case "Add":
		if in != "" && in != ns.id {
			return fail(codeEndpointAttached, "The endpoint is already attached.")
		}
		s.attach(ns, e)
	case "Remove":
		if in == ns.id {
			s.detach(e, hns.StateDetached)
		}
	default:
		return fail(codeRequestUnsupported, "RequestType %q of a namespace's endpoint", how)
	}
	return nil
}

func (s *Server) attach(ns, e *object) {
	s.detach(e, e.state)
	ns.fields["Resources"] = append(anys(items(ns.fields, "Resources")), fields{"Type": "Endpoint", "Data": fields{"ID": e.id}})
	ns.changed()
	e.fields["HostComputeNamespace"] = ns.id
	if !e.stuck {
		e.state = hns.StateAttachedSharing
	}
	e.changed()
}

// detach takes an endpoint out of its namespace, if it is in one.
func (s *Server) detach(e *object, state hns.State) {
	in := upper(e.str("HostComputeNamespace"))
	if ns := s.shelves[hns.KindNamespace].byID[in]; ns != nil {
		keep := slices.DeleteFunc(items(ns.fields, "Resources"), func(r fields) bool {
			return str(r, "Type") == "Endpoint" && upper(str(child(r, "Data"), "ID")) == e.id
		})
		ns.fields["Resources"] = anys(keep)
		ns.changed()
	}
	if in != "" {
		delete(e.fields, "HostComputeNamespace")
		e.state = state
		e.changed()
	}
}
