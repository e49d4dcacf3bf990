package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// plan is what a rule of lint would write instead, before anybody has looked at what that does.
type plan struct {
	title   string
	objects []v3.Object // replace those of the same name, or are new
	deletes []v3.Key
	// proven: it is known already that no verdict changes.
	proven bool
}

// maxEffects is how many plans are compared: each is a comparison of the whole cluster.
const maxEffects = 500

// planner makes fixes of plans, by what they open and close.
type planner struct {
	*cluster
	byKey    map[v3.Key]v3.Object
	resolver *policy.Resolver // of the cluster as it is; nil until it is needed
	compared int
}

func newPlanner(c *cluster) *planner {
	p := &planner{cluster: c, byKey: make(map[v3.Key]v3.Object, len(c.objects))}
	for _, o := range c.objects {
		p.byKey[v3.KeyOf(o)] = o
	}
	return p
}

// add turns the plans of a finding into fixes: those that keep every verdict first.
func (p *planner) add(f *finding) {
	for _, plan := range f.plans {
		f.Fixes = append(f.Fixes, p.fix(&plan))
	}
	slices.SortStableFunc(f.Fixes, func(a, b fix) int { return cmp.Compare(a.rank(), b.rank()) })
}

func (f *fix) rank() int {
	if f.Keeps {
		return 0
	}
	return 1
}

func (p *planner) fix(plan *plan) fix {
	f := fix{Title: plan.title, objects: plan.objects}
	for _, key := range plan.deletes {
		f.Deletes = append(f.Deletes, key.String())
	}
	switch {
	case plan.proven:
		f.Keeps = true
	case len(p.state.Endpoints) == 0:
		f.Unknown = "without endpoints it can't be said what it opens and closes"
	case p.compared == maxEffects:
		f.Unknown = fmt.Sprintf("not compared, as %d others were: see felid diff", maxEffects)
	default:
		p.compared++
		delta := p.effect(plan)
		effect := newDiffAnswer(delta)
		switch {
		case effect.differs():
			f.Effect = effect
		case len(delta.Hosts) > 0:
			f.Unknown = "what host endpoints decide may change, which is not compared"
		default:
			f.Keeps = true
		}
	}
	return f
}

// effect is what a plan opens and closes.
func (p *planner) effect(plan *plan) flatten.Delta {
	if p.resolver == nil {
		p.resolver = newResolver(p.objects)
	}
	keys := slices.Clone(plan.deletes)
	for _, o := range plan.objects {
		p.resolver.Update(v3.KeyOf(o), o)
		keys = append(keys, v3.KeyOf(o))
	}
	for _, key := range plan.deletes {
		p.resolver.Update(key, nil)
	}
	now, _ := p.resolver.Flush()
	delta := flatten.Diff(p.state, now)
	for _, key := range keys {
		p.resolver.Update(key, p.byKey[key])
	}
	return delta
}

// changed is a copy of a policy, changed, with the directions that it has now.
func changed(o v3.Object, change func(*v3.PolicySpec)) v3.Object {
	o = o.Copy()
	spec := policySpec(o)
	spec.Types = slices.Clone(spec.EffectiveTypes())
	change(spec)
	return o
}

// ours tells whether a policy is written as a resource of this API, so that its rules are those that it was written with.
func ours(o v3.Object) bool {
	return o.GetKind() == v3.KindNetworkPolicy || o.GetKind() == v3.KindGlobalNetworkPolicy
}

// rulesAt are the rules of a direction.
func rulesAt(spec *v3.PolicySpec, dir dataplane.Direction) *[]v3.Rule {
	if dir == dataplane.Egress {
		return &spec.Egress
	}
	return &spec.Ingress
}

// withoutRule is a policy less one rule; nil where that can't be written.
func withoutRule(o v3.Object, dir dataplane.Direction, index int) v3.Object {
	if o == nil || !ours(o) || index >= len(*rulesAt(policySpec(o), dir)) {
		return nil
	}
	return changed(o, func(spec *v3.PolicySpec) {
		rules := rulesAt(spec, dir)
		*rules = slices.Delete(*rules, index, index+1)
	})
}

// ending is a policy with one more rule at the end of each of its directions.
func ending(o v3.Object, action v3.Action) v3.Object {
	return changed(o, func(spec *v3.PolicySpec) {
		for _, t := range spec.Types {
			dir := dataplane.Ingress
			if t == v3.PolicyTypeEgress {
				dir = dataplane.Egress
			}
			rules := rulesAt(spec, dir)
			*rules = append(*rules, v3.Rule{Action: action})
		}
	})
}

// object is the one of a key; nil where there is none.
func (c *cluster) object(key v3.Key) v3.Object {
	i := slices.IndexFunc(c.objects, func(o v3.Object) bool { return v3.KeyOf(o) == key })
	if i < 0 {
		return nil
	}
	return c.objects[i]
}

// effectText says what a fix does to connections, a line each.
func (f *fix) effectText() string {
	var text strings.Builder
	switch {
	case f.Keeps:
		text.WriteString("nothing opens or closes\n")
	case f.Effect != nil:
		printDiff(&text, f.Effect)
	case f.Unknown != "":
		fmt.Fprintln(&text, f.Unknown)
	}
	return text.String()
}

// printPlans says for each fix of a finding what it would do.
func printPlans(w io.Writer, fixes []fix) {
	for _, f := range fixes {
		fmt.Fprintf(w, "  fix: %s\n", f.Title)
		for line := range strings.Lines(f.effectText()) {
			fmt.Fprintf(w, "    %s", line)
		}
	}
}
