package policy

import (
	"slices"
	"strings"
	"unique"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
)

// Labels and profiles that the resolver itself gives to a workload.
const (
	labelOrchestrator     = "projectcalico.org/orchestrator"
	namespaceProfile      = "kns."
	serviceAccountProfile = "ksa."
)

// label is one label, compared and hashed by two pointers.
type label struct{ key, value unique.Handle[string] }

func makeLabel(key, value string) label {
	return label{unique.Make(key), unique.Make(value)}
}

// labelSet are labels of one object, few and in no order, each key once.
type labelSet []label

func (s labelSet) Get(key string) (string, bool) {
	for _, l := range s {
		if l.key.Value() == key {
			return l.value.Value(), true
		}
	}
	return "", false
}

func (s labelSet) has(key unique.Handle[string]) bool {
	for _, l := range s {
		if l.key == key {
			return true
		}
	}
	return false
}

func makeLabelSet(m map[string]string) labelSet {
	s := make(labelSet, 0, len(m))
	for k, v := range m {
		s = append(s, makeLabel(k, v))
	}
	return s
}

// ownLabels are those that an object carries itself. It can't speak for its namespace or service account, whoever wrote the labels:
// own labels win over inherited ones.
func ownLabels(written map[string]string, given ...label) labelSet {
	own := make(labelSet, 0, len(written)+len(given))
	for k, v := range written {
		if !reserved(k) {
			own = append(own, makeLabel(k, v))
		}
	}
	for _, l := range given {
		if l.value != noText {
			own = append(own, l)
		}
	}
	return own
}

// The keys of labels that are given, and the value of those that are not.
var (
	keyNamespace      = unique.Make(selector.LabelNamespace)
	keyServiceAccount = unique.Make(selector.LabelServiceAccount)
	keyOrchestrator   = unique.Make(labelOrchestrator)
	noText            = unique.Make("")
)

func reserved(key string) bool {
	switch key {
	case selector.LabelNamespace, selector.LabelServiceAccount, labelOrchestrator:
		return true
	}
	return strings.HasPrefix(key, selector.NamespacePrefix) || strings.HasPrefix(key, selector.ServiceAccountPrefix)
}

// profile lends its labels to the peers that name it. One that is named but does not exist has no object and no labels.
type profile struct {
	name   string
	object *v3.Profile
	labels labelSet
	// children are the peers that it lends to; only Resolver keeps them.
	children map[*livePeer]struct{}
}

func (p *profile) set(o *v3.Profile) {
	p.object, p.labels = o, nil
	if o != nil {
		p.labels = makeLabelSet(o.Spec.LabelsToApply)
	}
}

var allowAll = []v3.Rule{{Action: v3.Allow}}

func (p *profile) rules() (ingress, egress []v3.Rule) {
	switch {
	case p.object != nil:
		return p.object.Spec.Ingress, p.object.Spec.Egress
	case p.name == v3.DefaultAllowProfile:
		return allowAll, allowAll
	}
	return nil, nil
}

// profileSet finds profiles by name.
type profileSet map[string]*profile

// named is the profile of that name; one that does not exist yet is made, empty.
func (s profileSet) named(name string) *profile {
	p := s[name]
	if p == nil {
		p = &profile{name: name}
		s[name] = p
	}
	return p
}

// allNamed are the profiles of these names, each once.
func (s profileSet) allNamed(names []string) []*profile {
	var all []*profile
	for _, name := range names {
		if p := s.named(name); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}
