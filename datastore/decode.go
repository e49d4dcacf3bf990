package datastore

import (
	"errors"
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// Decode reads the JSON that a back end keeps under a key, leniently: the object comes back wherever it can be judged. The faults are what
// nobody else would say: why there is no object, and what of a policy is lost that neither the object nor its rules tell of.
func Decode(key v3.Key, data []byte) (v3.Object, []Fault) {
	o, errs := v3.DecodeJSON(key.Kind, data, false)
	var faults []Fault
	for _, e := range errs {
		if e.Warning || o != nil && !LostFromPolicy(key.Kind, &e) {
			continue
		}
		if o != nil {
			e.Problem += ": the policy is in force without it"
		}
		e.Object = ""
		faults = append(faults, Fault{Key: key, Err: e})
	}
	switch {
	case o == nil && len(faults) == 0:
		faults = []Fault{{Key: key, Err: errors.New("can't be read")}}
	case o != nil && v3.KeyOf(o) != key:
		return nil, []Fault{{Key: key, Err: fmt.Errorf("what is kept there is %s", v3.KeyOf(o))}}
	}
	return o, faults
}

// LostFromPolicy tells whether e is an unknown field of a policy outside of its rules, or an order that can't be read: the policy may be
// meant for fewer by it, and of neither does the object itself tell.
func LostFromPolicy(kind v3.Kind, e *v3.FieldError) bool {
	switch kind {
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindClusterNetworkPolicy:
	default:
		return false
	}
	if e.Field == "spec.order" || e.Field == "spec.priority" {
		return true
	}
	return strings.HasPrefix(e.Problem, "unknown field") &&
		strings.HasPrefix(e.Field, "spec.") && !strings.HasPrefix(e.Field, "spec.ingress[") && !strings.HasPrefix(e.Field, "spec.egress[")
}
