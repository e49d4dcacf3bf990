package crds

import (
	"regexp"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
)

// Difference is something that felid refuses in an object and the API server can't: its CRDs' schemas and rules in CEL have no way of saying it, or
// none within the cost that an API server of version 1.31 allows. Felid judges it on reading: the rule or the object is left out, closed, and the object's condition Accepted is False.
type Difference struct {
	Name  string
	Kinds []v3.Kind // nil for all
	Why   string
	Field *regexp.Regexp // of the errors that it explains
	Says  *regexp.Regexp // their text
}

// Beyond is all of them. The first that covers an error explains it.
var Beyond = []Difference{
	{
		Name:  "kubernetes-policy",
		Kinds: []v3.Kind{v3.KindStagedKubernetesNetworkPolicy},
		Why:   "the fields of a StagedKubernetesNetworkPolicy are of Kubernetes' own types, whose lists have no bounds",
		Field: regexp.MustCompile(`^spec\.(podSelector|ingress|egress)`),
		Says:  regexp.MustCompile(`.`),
	},
	{
		Name:  "selector-grammar",
		Why:   "the grammar of selectors is recursive; regular expressions, which CEL has, are not",
		Field: regexp.MustCompile(`[sS]elector$`),
		Says:  regexp.MustCompile(`.`),
	},
	{
		Name:  "port-range",
		Why:   "a port is a number or a text, whose length the API server does not know in time: taking the range \"a:b\" apart costs too much. That both are numbers up to 65535 is in the schema",
		Field: regexp.MustCompile(`^spec\.(ingress|egress)\[\d+\]\.(source|destination)\.(ports|notPorts)\[\d+\]$`),
		Says:  regexp.MustCompile(`with a no greater than b`),
	},
	{
		Name:  "maps",
		Kinds: []v3.Kind{v3.KindProfile, v3.KindIPAMHandle},
		Why:   "a CRD bounds neither the number nor the length of a map's keys, so that no rule over them is within the cost",
		Field: regexp.MustCompile(`^spec\.(labelsToApply|block)\.`),
		Says:  regexp.MustCompile(`.`),
	},
	{
		Name:  "block-contents",
		Kinds: []v3.Kind{v3.KindIPAMBlock},
		Why:   "blocks are written at every pod's start, by felid alone: rules over each of their addresses would slow the API server down",
		Field: regexp.MustCompile(`^spec\.(allocations|unallocated)\[\d+\]$`),
		Says:  regexp.MustCompile(`.`),
	},
}

func (d *Difference) covers(kind v3.Kind) bool {
	return d.Kinds == nil || slices.Contains(d.Kinds, kind)
}
