package emulator

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// checkPolicy refuses what HNS refuses. It lets TierAcl through at any version: hcsshim asks for 14.0, but its own test wants it without asking,
// and Microsoft's pages have it on Server 2022.
func (s *Server) checkPolicy(kind hns.Kind, p fields) *failure {
	settings := child(p, "Settings")
	switch t := str(p, "Type"); {
	case t == "":
		return fail(codeInvalidPolicyType, "A policy without a type.")
	case t == "ACL" && kind == hns.KindEndpoint:
		return checkACL(settings)
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

func checkACL(settings fields) *failure {
	for _, field := range []string{"LocalAddresses", "RemoteAddresses"} {
		for _, a := range split(str(settings, field)) {
			if !address(a) && !setName(a) {
				return fail(codeInvalidPolicy, "Invalid %s %q.", field, a)
			}
		}
	}
	for _, p := range split(str(settings, "Protocols")) {
		if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 256 {
			return fail(codeInvalidPolicy, "Invalid Protocols %q.", p)
		}
	}
	if !slices.Contains([]string{"Allow", "Block", "Pass"}, str(settings, "Action")) {
		return fail(codeInvalidPolicy, "Invalid Action %q.", str(settings, "Action"))
	}
	if !slices.Contains([]string{"In", "Out"}, str(settings, "Direction")) {
		return fail(codeInvalidPolicy, "Invalid Direction %q.", str(settings, "Direction"))
	}
	return nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// address is one, or a prefix without host bits.
func address(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	p, err := netip.ParsePrefix(text)
	return err == nil && p == p.Masked()
}

// setName may be a set's ID. "Any" is none: HNS has no word for it.
func setName(text string) bool {
	return text != "" && !strings.EqualFold(text, "Any") && !strings.ContainsAny(text, "./: ")
}

func (s *Server) checkSet(settings fields) *failure {
	if !s.atLeast(13, 0) {
		return fail(codeInvalidPolicyType, "Policy type SetPolicy needs HNS 13.0.")
	}
	if str(settings, "Id") == "" || str(settings, "Name") == "" {
		return fail(codeInvalidPolicy, "A set needs an Id and a Name.")
	}
	switch str(settings, "PolicyType") {
	case "IPSET":
		for _, v := range split(str(settings, "Values")) {
			if !address(v) {
				return fail(codeInvalidPolicy, "Invalid value %q of set %s.", v, str(settings, "Id"))
			}
		}
	case "NESTEDIPSET":
	default:
		return fail(codeInvalidPolicy, "Invalid PolicyType %q.", str(settings, "PolicyType"))
	}
	return nil
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

// setsOf an ACL are the Ids that its address fields name.
func setsOf(p fields) []string {
	if str(p, "Type") != "ACL" {
		return nil
	}
	settings := child(p, "Settings")
	named := append(split(str(settings, "LocalAddresses")), split(str(settings, "RemoteAddresses"))...)
	return slices.DeleteFunc(named, address)
}

// userOf is an endpoint of the network that has an ACL which names the set, nil if there is none.
func (s *Server) userOf(network, set string) *object {
	for _, e := range s.shelves[hns.KindEndpoint].all() {
		if e.network() == network && slices.ContainsFunc(e.policies(), func(p fields) bool { return slices.Contains(setsOf(p), set) }) {
			return e
		}
	}
	return nil
}

// checkSets refuses an endpoint's ACLs that name sets which its network does not have.
func (s *Server) checkSets(o *object, next []fields) *failure {
	if o.kind != hns.KindEndpoint {
		return nil
	}
	network := s.shelves[hns.KindNetwork].byID[o.network()]
	if network == nil {
		return fail(codeNetworkNotFound, "The network was not found.")
	}
	known := map[string]bool{}
	for _, p := range network.policies() {
		known[setID(p)] = true
	}
	for _, p := range next {
		for _, id := range setsOf(p) {
			if !known[id] {
				return fail(codeInvalidPolicy, "ACL names %q, which is no address and no set of the network.", id)
			}
		}
	}
	return nil
}
