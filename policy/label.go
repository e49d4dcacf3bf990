package policy

import (
	"hash/maphash"
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

// labelKey is the key of a label, compared and hashed by one pointer. There are few.
type labelKey = unique.Handle[string]

// label is one label.
type label struct {
	key   labelKey
	value string
}

func makeLabel(key, value string) label { return label{unique.Make(key), value} }

// labelSet are labels of one object, few and in no order, each key once.
type labelSet []label

func (s labelSet) Get(key string) (string, bool) {
	for _, l := range s {
		if l.key.Value() == key {
			return l.value, true
		}
	}
	return "", false
}

func (s labelSet) has(key labelKey) bool {
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
func (r *reader) ownLabels(written map[string]string, given ...label) labelSet {
	own := make(labelSet, 0, len(written)+len(given))
	for k, v := range written {
		if !reserved(k) {
			own = append(own, makeLabel(k, r.texts.share(v)))
		}
	}
	for _, l := range given {
		if l.value != "" {
			own = append(own, label{l.key, r.texts.share(l.value)})
		}
	}
	return own
}

// The keys of labels that are given.
var (
	keyNamespace      = unique.Make(selector.LabelNamespace)
	keyServiceAccount = unique.Make(selector.LabelServiceAccount)
	keyOrchestrator   = unique.Make(labelOrchestrator)
)

// texts are values of labels that were met lately. Every object brings its own copy of what thousands have; of what only one has nothing
// is gained by looking for another.
type texts [2048]string

var textSeed = maphash.MakeSeed()

// share is a string that is equal to s: the same one as lately. A nil receiver knows none.
func (t *texts) share(s string) string {
	if t == nil || len(s) > 63 {
		return s
	}
	place := &t[maphash.String(textSeed, s)%uint64(len(t))]
	if *place != s {
		*place = s
	}
	return *place
}

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
