package dptest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// withoutCase are the positions of fields that no shared case is about, with the reason.
var withoutCase = map[string]string{}

// TestEveryFieldHasACase: every field of a policy is used in some shared case, at every place where it may stand.
func TestEveryFieldHasACase(t *testing.T) {
	used := map[string]bool{}
	for _, c := range Cases(t) {
		for _, o := range c.Objects {
			noteFields(used, o)
		}
	}
	want := map[string]bool{}
	for _, kind := range []v3.Kind{v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy} {
		o, _ := v3.New(kind)
		eachField(reflect.ValueOf(o).Elem().FieldByName("Spec"), func(name string, _ reflect.Value) { want[string(kind)+" "+name] = true })
	}
	for _, direction := range []string{"ingress", "egress"} {
		eachField(reflect.ValueOf(v3.Rule{}), func(name string, v reflect.Value) {
			if v.Type() != reflect.TypeFor[v3.EntityRule]() {
				want[direction+" "+name] = true
				return
			}
			eachField(v, func(field string, _ reflect.Value) { want[direction+" "+name+"."+field] = true })
			want[direction+" "+name+".serviceAccounts.names"], want[direction+" "+name+".serviceAccounts.selector"] = true, true
		})
	}
	for _, position := range slices.Sorted(maps.Keys(want)) {
		if used[position] == (withoutCase[position] != "") {
			t.Errorf("%s is used in a case: %v", position, used[position])
		}
	}
}

// noteFields notes what is not empty in a policy.
func noteFields(used map[string]bool, o v3.Object) {
	var spec *v3.PolicySpec
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		spec = &o.Spec.PolicySpec
	case *v3.GlobalNetworkPolicy:
		spec = &o.Spec.PolicySpec
	default:
		return
	}
	eachField(reflect.ValueOf(o).Elem().FieldByName("Spec"), func(name string, v reflect.Value) {
		used[string(o.GetKind())+" "+name] = used[string(o.GetKind())+" "+name] || !v.IsZero()
	})
	for direction, rules := range map[string][]v3.Rule{"ingress": spec.Ingress, "egress": spec.Egress} {
		for i := range rules {
			noteRule(used, direction, &rules[i])
		}
	}
}

func noteRule(used map[string]bool, direction string, r *v3.Rule) {
	note := func(position string, v reflect.Value) {
		used[direction+" "+position] = used[direction+" "+position] || !v.IsZero()
	}
	eachField(reflect.ValueOf(*r), func(name string, v reflect.Value) {
		e, ok := v.Interface().(v3.EntityRule)
		if !ok {
			note(name, v)
			return
		}
		eachField(v, func(field string, v reflect.Value) { note(name+"."+field, v) })
		if e.ServiceAccounts != nil {
			eachField(reflect.ValueOf(*e.ServiceAccounts), func(field string, v reflect.Value) { note(name+".serviceAccounts."+field, v) })
		}
	})
}

// eachField visits the fields of a struct by their JSON names, those of inlined ones among them.
func eachField(v reflect.Value, visit func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			eachField(v.Field(i), visit)
		case name == "":
			panic(fmt.Sprintf("%s.%s has no JSON name", v.Type(), f.Name))
		default:
			visit(name, v.Field(i))
		}
	}
}
