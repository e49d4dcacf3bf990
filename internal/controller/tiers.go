package controller

import (
	"cmp"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// tierFinalizer holds a tier that has policies.
const tierFinalizer = "projectcalico.org/tier-controller"

// countEvery is how often the number of a tier's policies is written at most. The first and the last are written at once.
const countEvery = time.Second

// tieredKinds are the kinds of policy, each of which is in a tier.
var tieredKinds = []v3.Kind{
	v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindStagedNetworkPolicy, v3.KindStagedGlobalNetworkPolicy, v3.KindStagedKubernetesNetworkPolicy,
	v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy,
}

// tiers keeps the built-in tiers there, holds tiers that are in use, and says how many policies they have.
type tiers struct {
	status  bool // the Store has status and finalizers
	tiers   map[string]*v3.Tier
	in      map[v3.Key]string              // the tier of each policy
	members map[string]map[v3.Key]struct{} // and the other way round
	counted map[string]time.Time           // when the number was last written
}

func newTiers(s Settings) *tiers {
	return &tiers{status: s.Status, tiers: map[string]*v3.Tier{}, in: map[v3.Key]string{}, members: map[string]map[v3.Key]struct{}{}, counted: map[string]time.Time{}}
}

// Name implements Reconciler.
func (t *tiers) Name() string { return "tiers" }

// Kinds implements Reconciler.
func (t *tiers) Kinds() []v3.Kind {
	if !t.status {
		return []v3.Kind{v3.KindTier}
	}
	return append([]v3.Kind{v3.KindTier}, tieredKinds...)
}

// builtin are the tiers that are always there.
var builtin = []string{v3.TierKubeAdmin, v3.DefaultTier, v3.TierKubeBaseline}

func tierKey(name string) v3.Key { return v3.Key{Kind: v3.KindTier, Name: name} }

// Begin implements Beginner.
func (t *tiers) Begin() []v3.Key {
	items := make([]v3.Key, len(builtin))
	for i, name := range builtin {
		items[i] = tierKey(name)
	}
	return items
}

// Update implements Reconciler.
func (t *tiers) Update(key v3.Key, o v3.Object) []v3.Key {
	if key.Kind == v3.KindTier {
		delete(t.tiers, key.Name)
		if o != nil {
			t.tiers[key.Name] = o.(*v3.Tier)
		}
		return []v3.Key{key}
	}
	before, was := t.in[key]
	after, is := tierOf(o)
	if was == is && before == after {
		return nil
	}
	var items []v3.Key
	if was {
		delete(t.in, key)
		delete(t.members[before], key)
		items = append(items, tierKey(before))
	}
	if is {
		t.in[key] = after
		if t.members[after] == nil {
			t.members[after] = map[v3.Key]struct{}{}
		}
		t.members[after][key] = struct{}{}
		items = append(items, tierKey(after))
	}
	return items
}

// tierOf is the tier of a policy.
func tierOf(o v3.Object) (string, bool) {
	tier := ""
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		tier = o.Spec.Tier
	case *v3.GlobalNetworkPolicy:
		tier = o.Spec.Tier
	case *v3.StagedNetworkPolicy:
		tier = o.Spec.Tier
	case *v3.StagedGlobalNetworkPolicy:
		tier = o.Spec.Tier
	case *v3.StagedKubernetesNetworkPolicy:
	default:
		return "", false
	}
	return cmp.Or(tier, v3.DefaultTier), true
}

// Plan implements Reconciler.
func (t *tiers) Plan(item v3.Key, now time.Time) Step {
	tier := t.tiers[item.Name]
	if tier == nil {
		if !slices.Contains(builtin, item.Name) {
			delete(t.counted, item.Name)
			return Step{}
		}
		return Step{Writes: []Write{{Verb: Create, Object: v3.BuiltInTier(item.Name)}}}
	}
	if !t.status {
		return Step{}
	}
	if w, ok := t.finalizer(tier); ok {
		return Step{Writes: []Write{w}}
	}
	return t.report(tier, now)
}

// finalizer makes the finalizer be there exactly while the tier is in use. A built-in tier has none: its deletion is refused elsewhere, or it is
// made again.
func (t *tiers) finalizer(tier *v3.Tier) (Write, bool) {
	want := len(t.members[tier.Name]) > 0 && !slices.Contains(builtin, tier.Name)
	return setFinalizer(tier, tierFinalizer, want)
}

// setFinalizer is the write that adds or removes a finalizer, if there is one to make. To what is being deleted none can be added.
func setFinalizer(o v3.Object, name string, want bool) (Write, bool) {
	has := slices.Contains(o.GetFinalizers(), name)
	if has == want || want && o.GetDeletionTimestamp() != nil {
		return Write{}, false
	}
	changed := o.Copy()
	if want {
		changed.SetFinalizers(append(changed.GetFinalizers(), name))
	} else {
		changed.SetFinalizers(slices.DeleteFunc(changed.GetFinalizers(), func(f string) bool { return f == name }))
	}
	return Write{Verb: Update, Object: changed}, true
}

// report writes the status where it is not so.
func (t *tiers) report(tier *v3.Tier, now time.Time) Step {
	members := t.members[tier.Name]
	waits := without(conditionTerminating)
	if tier.DeletionTimestamp != nil {
		waits = finding{conditionTerminating, true, reasonInUse, "deleted as soon as nothing is in it: " + namesOf(members)}
	}
	conditions := withFindings(tier.Status.Conditions, tier.Generation, now, judged(tier), waits)
	count := len(members)
	if sameConditions(conditions, tier.Status.Conditions) {
		if count == tier.Status.Policies {
			return Step{}
		}
		if wait := countEvery - now.Sub(t.counted[tier.Name]); wait > 0 && count > 0 && tier.Status.Policies > 0 {
			return Step{Again: wait}
		}
	}
	t.counted[tier.Name] = now
	changed := tier.DeepCopy()
	changed.Status.Conditions, changed.Status.Policies = conditions, count
	return Step{Writes: []Write{{Verb: UpdateStatus, Object: changed}}}
}

// namesOf names a few of a set of objects.
func namesOf(set map[v3.Key]struct{}) string {
	const few = 5
	names := make([]string, 0, len(set))
	for key := range set {
		names = append(names, key.String())
	}
	slices.Sort(names)
	return someOf(names[:min(few, len(names))], len(names))
}
