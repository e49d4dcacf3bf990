package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The API groups that resources of felid's kinds may be in.
const (
	group       = "projectcalico.org"     // the API itself, felid's own resources
	storedGroup = "crd.projectcalico.org" // what Calico keeps behind its aggregated API server
)

// ManagedBy is the label of felid's own CustomResourceDefinitions, and its value.
const (
	ManagedBy = "app.kubernetes.io/managed-by"
	Felid     = "felid"
)

// CRD is a CustomResourceDefinition.
type CRD struct {
	Name   string // PLURAL.GROUP
	Labels map[string]string
}

// Cluster is what the API server said.
type Cluster struct {
	// Aggregated is the Service ("NAMESPACE/NAME") that serves projectcalico.org/v3 in the place of the API server; "" for none.
	Aggregated string
	CRDs       []CRD
}

// Host is what one host has.
type Host struct {
	Node   string
	Chains []string // of iptables, of all tables, families and variants
	// ACLs are those of other policy engines on a Windows host's endpoints: their ids, by the engine's name.
	ACLs map[string][]string
}

// Finding is one thing that stands in the way, or that a person should know.
type Finding struct {
	Refuse bool   `json:"refuse"` // felid must not be installed or start
	Where  string `json:"where"`  // "cluster", "node NAME"
	What   string `json:"what"`
	Do     string `json:"do"`
}

// String is a finding in one line.
func (f *Finding) String() string {
	level := "note"
	if f.Refuse {
		level = "refused"
	}
	return fmt.Sprintf("%s: %s: %s; %s", level, f.Where, f.What, f.Do)
}

// Refused tells whether any of the findings forbids to go on.
func Refused(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Refuse })
}

// owners are who has the kinds of the API.
type owners struct {
	native, stored, ours []string // names of CRDs: another's in projectcalico.org, another's behind an aggregated API, felid's
}

func ownersOf(crds []CRD) owners {
	var o owners
	for _, c := range crds {
		_, in, _ := strings.Cut(c.Name, ".")
		switch {
		case in == storedGroup:
			o.stored = append(o.stored, c.Name)
		case in != group:
		case c.Labels[ManagedBy] == Felid:
			o.ours = append(o.ours, c.Name)
		default:
			o.native = append(o.native, c.Name)
		}
	}
	return o
}

// JudgeCluster says what of a cluster is in the way. Guest: felid enforces policy beside another network, and installs no definitions.
func JudgeCluster(c *Cluster, guest bool) []Finding {
	const where = "cluster"
	o := ownersOf(c.CRDs)
	var out []Finding
	add := func(refuse bool, what, do string) { out = append(out, Finding{refuse, where, what, do}) }
	switch {
	case c.Aggregated != "" && len(o.ours) > 0:
		add(true, fmt.Sprintf("the APIService v3.%s hands that API to the Service %s, which hides felid's own definitions (%s)", group, c.Aggregated, some(o.ours)),
			"delete the APIService if that server is gone; otherwise delete felid's definitions, after felid datastore export, and run felid as a guest")
	case len(o.native) > 0 && len(o.ours) > 0:
		add(true, fmt.Sprintf("definitions of %s are partly felid's and partly another's (%s)", group, some(o.native)),
			"keep one: let whoever installed the others remove or complete theirs, or delete felid's after felid datastore export")
	case c.Aggregated != "":
		add(!guest, fmt.Sprintf("the Service %s serves %s/v3 (APIService v3.%s): Calico with its API server", c.Aggregated, group, group), doAbout(guest))
	case len(o.native) > 0:
		add(!guest, fmt.Sprintf("definitions of %s are another's (%s): Calico with native resources", group, some(o.native)), doAbout(guest))
	case len(o.stored) > 0:
		add(!guest && len(o.ours) == 0, fmt.Sprintf("there are definitions of %s (%s), and no API server of Calico's: Calico without it, or what is left of it", storedGroup, some(o.stored)),
			"install Calico's API server if felid is to read its resources as a guest, or remove what is left; felid reads none of them as they are")
	case guest && len(o.ours) == 0:
		add(false, fmt.Sprintf("nothing serves %s/v3", group), "install felid's definitions (deploy/crds), for which agents wait: there is no other owner of them")
	}
	return out
}

func doAbout(guest bool) string {
	if guest {
		return "felid reads these resources and installs no definitions"
	}
	return "run felid as a guest (--network guest) beside it, without deploy/crds, or move away from it first: felid datastore export, then remove it"
}

// some names up to three of many.
func some(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if n := len(names); n > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

// engine is a policy engine that is known by the chains it makes.
type engine struct{ prefix, name string }

var engines = []engine{
	{"cali-", "Calico"},
	{"AZURE-NPM", "Azure Network Policy Manager"},
	{"KUBE-NWPLCY-", "kube-router"},
	{"KUBE-ROUTER-", "kube-router"},
	{"WEAVE-NPC", "Weave Net"},
	{"CILIUM_", "Cilium"},
	{"ANTREA-", "Antrea"},
}

// JudgeHost says which other policy engines have rules on a host. Two that police the same pods both have their say: a packet passes that
// both allow, which as a guest is what was asked for. As the owner felid would accept what the other denies, or be undone by it.
func JudgeHost(h *Host, guest bool) []Finding {
	found := map[string][]string{}
	var order []string
	for _, chain := range h.Chains {
		i := slices.IndexFunc(engines, func(e engine) bool { return strings.HasPrefix(chain, e.prefix) })
		if i < 0 {
			continue
		}
		name := engines[i].name
		if found[name] == nil {
			order = append(order, name)
		}
		if !slices.Contains(found[name], chain) {
			found[name] = append(found[name], chain)
		}
	}
	slices.Sort(order)
	var out []Finding
	for _, name := range order {
		do := "remove it first, with its rules: they stay until the node starts anew, or until somebody deletes them; or run felid as a guest (--network guest)"
		if guest {
			do = "both police the same pods: a packet passes that both allow"
		}
		out = append(out, Finding{!guest, "node " + h.Node, fmt.Sprintf("there are rules of %s (chains %s)", name, some(found[name])), do})
	}
	return append(out, judgeACLs(h)...)
}

// judgeACLs: an endpoint of HNS has one list, and two engines would take turns in writing it. The agent stays away from such endpoints and says so of
// each; the others it polices.
func judgeACLs(h *Host) []Finding {
	var out []Finding
	for _, name := range slices.Sorted(maps.Keys(h.ACLs)) {
		out = append(out, Finding{false, "node " + h.Node, fmt.Sprintf("there are ACLs of %s on endpoints of pods (%s)", name, some(h.ACLs[name])),
			"felid leaves those endpoints alone, and reports their pods as not covered: remove " + name + " first, then make the pods anew, whose ACLs go with them"})
	}
	return out
}
