package emulator

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// checkPolicy refuses what HNS refuses; of ACLs, the model does that (see enforce). It lets TierAcl through at any version: hcsshim asks for 14.0, but its own test wants it without asking,
// and Microsoft's pages have it on Server 2022.
func (s *Server) checkPolicy(kind hns.Kind, p fields) *failure {
	settings := child(p, "Settings")
	switch t := str(p, "Type"); {
	case t == "":
		return fail(codeInvalidPolicyType, "A policy without a type.")
	case t == "SetPolicy" && kind == hns.KindNetwork:
		return s.checkSet(settings)
	case t == "OutBoundNAT":
		return checkExceptions(settings)
	}
	return nil
}

// checkExceptions: since Windows Server 2022, prefixes with host bits are refused (hcsshim issue 1951).
func checkExceptions(settings fields) *failure {
	list, _ := settings["Exceptions"].([]any)
	for _, x := range list {
		text, _ := x.(string)
		if p, err := netip.ParsePrefix(text); err == nil && p != p.Masked() {
			return fail(codeInvalidPolicy, "Invalid exception %q: host bits.", text)
		}
	}
	return nil
}

// checkSet finds out about a set's members by itself: they are all addresses, or names.
func (s *Server) checkSet(settings fields) *failure {
	switch {
	case s.model.False[dptest.H41]:
		return fail(codeRequestUnsupported, "SetPolicy")
	case s.version.Major < 13:
		return fail(codeInvalidPolicyType, "Policy type SetPolicy needs HNS 13.0.")
	case str(settings, "Name") == "":
		return fail(codeInvalidPolicy, "A set needs a Name.")
	case str(settings, "PolicyType") == "NESTEDIPSET":
		return nil
	}
	if err := put(s.model.NewNetwork(), settings); err != nil {
		return fail(codeInvalidPolicy, "%v", err)
	}
	return nil
}

func put(n *dptest.HNSNetwork, settings fields) error {
	return n.PutSet(str(settings, "Id"), str(settings, "PolicyType"), str(settings, "Values"))
}

// setID is the Id of a policy that is a set, otherwise "".
func setID(p fields) string {
	if str(p, "Type") != "SetPolicy" {
		return ""
	}
	return str(child(p, "Settings"), "Id")
}

// setIndex finds a set by its Id.
func setIndex(list []fields, id string) int {
	return slices.IndexFunc(list, func(p fields) bool { return setID(p) == id })
}
