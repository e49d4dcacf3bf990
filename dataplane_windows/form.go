package windows

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Form is how lists are written for one node: what its HNS takes. The zero value is what every build that felid knows takes: plain IPv4
// addresses in one list.
type Form struct {
	// IPv6: ACLs may name IPv6 addresses (H12). Without it an endpoint's IPv6 is denied where it can be, and reported.
	IPv6 bool
	// Sets: an ACL may name a set of addresses that stands on its network (H34 to H40), so that a change of members changes the set and no
	// list. To be used only where a probe on that very node has found it right.
	Sets bool
	// Closed: the probe has found that HNS does not do what lists of ours rely on. Every endpoint is denied everything.
	Closed bool
}

// FormOf is the widest form that a version of HNS is said to take (H41). Whether sets work there is for a probe to say.
func FormOf(v hns.Version) Form {
	since := func(major, minor int) bool { return v.Major > major || v.Major == major && v.Minor >= minor }
	return Form{IPv6: since(11, 10), Sets: since(13, 0)}
}

// Plain is the form without sets: the default of a node that has not proven more.
func (f Form) Plain() Form {
	f.Sets = false
	return f
}

// Within tells whether all that f writes, o may write.
func (f Form) Within(o Form) bool {
	return (o.IPv6 || !f.IPv6) && (o.Sets || !f.Sets)
}

// String is "plain addresses", "plain addresses, IPv6", "sets, IPv6", "closed" …
func (f Form) String() string {
	text := "plain addresses"
	switch {
	case f.Closed:
		return "closed"
	case f.Sets:
		text = "sets"
	}
	if f.IPv6 {
		text += ", IPv6"
	}
	return text
}

// builds are the versions of HNS on the releases of Windows that felid knows.
var builds = map[int]hns.Version{
	20348: {Major: 13, Minor: 2}, // Server 2022
	26100: {Major: 15, Minor: 4}, // Server 2025
}

// Builds that FormOfBuild takes, in order.
func Builds() []int { return slices.Sorted(maps.Keys(builds)) }

// features are the names of what a Form may have.
var features = map[string]func(*Form){
	"ipv6": func(f *Form) { f.IPv6 = true },
	"sets": func(f *Form) { f.Sets = true },
}

// Features that FormOfBuild takes, in order.
func Features() []string { return slices.Sorted(maps.Keys(features)) }

// FormOfBuild is the form with these features; an error where there is no such build or feature, or the build does not have it.
func FormOfBuild(build int, names []string) (Form, error) {
	version, ok := builds[build]
	if !ok {
		return Form{}, fmt.Errorf("build %d of Windows is not known; valid: %s", build, strings.ReplaceAll(strings.Trim(fmt.Sprint(Builds()), "[]"), " ", ", "))
	}
	var f Form
	for _, name := range names {
		add, ok := features[name]
		if !ok {
			return Form{}, fmt.Errorf("feature %q of HNS is not known; valid: %s", name, strings.Join(Features(), ", "))
		}
		add(&f)
	}
	if has := FormOf(version); !f.Within(has) {
		return Form{}, fmt.Errorf("build %d of Windows does not have all of %s", build, strings.Join(names, ", "))
	}
	return f, nil
}

// Options say how a node's lists are written.
type Options struct {
	Form Form
	// HostAddresses are those found on the node itself, besides those that the State's Node has. hostToWorkload and workloadToHost are about both.
	HostAddresses []netip.Addr
}
