package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// judgements says in the status of sets and host endpoints what of them can't be read. Of the ones that are in order nothing is written, unless
// something was: there may be many thousands.
type judgements struct {
	objects map[v3.Key]v3.Object
}

func newJudgements() *judgements { return &judgements{map[v3.Key]v3.Object{}} }

// Name implements Reconciler.
func (j *judgements) Name() string { return "judgements" }

// Kinds implements Reconciler.
func (j *judgements) Kinds() []v3.Kind {
	return []v3.Kind{v3.KindNetworkSet, v3.KindGlobalNetworkSet, v3.KindHostEndpoint}
}

// Update implements Reconciler. Only what there is something to say of is kept.
func (j *judgements) Update(key v3.Key, o v3.Object) []v3.Key {
	delete(j.objects, key)
	if o == nil {
		return nil
	}
	if judged(o).status && len(*conditionsOf(o)) == 0 {
		return nil
	}
	j.objects[key] = o
	return []v3.Key{key}
}

// conditionsOf is where an object's conditions are.
func conditionsOf(o v3.Object) *[]metav1.Condition {
	switch o := o.(type) {
	case *v3.NetworkSet:
		return &o.Status.Conditions
	case *v3.GlobalNetworkSet:
		return &o.Status.Conditions
	case *v3.HostEndpoint:
		return &o.Status.Conditions
	}
	panic("controller: no conditions in " + string(o.GetKind()))
}

// Plan implements Reconciler.
func (j *judgements) Plan(item v3.Key, now time.Time) Step {
	o := j.objects[item]
	if o == nil {
		return Step{}
	}
	before := *conditionsOf(o)
	conditions := withFindings(before, o.GetGeneration(), now, judged(o))
	if sameConditions(before, conditions) {
		return Step{}
	}
	changed := o.Copy()
	*conditionsOf(changed) = conditions
	return Step{Writes: []Write{{Verb: UpdateStatus, Object: changed}}}
}
