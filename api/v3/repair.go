package v3

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// repair walks a JSON tree beside the Go type it is meant for, notes all that does not fit, and leaves a tree that fits.
type repair struct {
	errs       []FieldError
	hopeless   bool                  // something that can't be left out does not fit
	ruleFaults map[string]*ruleFault // by path of the rule: "spec.ingress[0]"
	host       *HostEndpointSpec     // of a HostEndpoint, what can't be read of it; else nil
}

type ruleFault struct {
	unknown []string
	invalid string
}

var (
	ruleType        = reflect.TypeFor[Rule]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// walk is the part of v that fits t.
func (r *repair) walk(v any, t reflect.Type, path string) map[string]any {
	object, _ := r.value(v, t, path)
	fitting, _ := object.(map[string]any)
	return fitting
}

// value tells whether v, or what is left of it, can stand where t is wanted.
func (r *repair) value(v any, t reflect.Type, path string) (any, bool) {
	switch {
	case v == nil && t == ruleType:
		return r.brokenRule(path, "is null instead of an object"), true
	case v == nil:
		return nil, true
	case reflect.PointerTo(t).Implements(unmarshalerType):
		return v, r.unmarshals(v, t, path)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return r.value(v, t.Elem(), path)
	case reflect.Struct:
		return r.object(v, t, path)
	case reflect.Slice:
		return r.list(v, t, path)
	case reflect.Map:
		return r.table(v, t, path)
	}
	return v, r.unmarshals(v, t, path)
}

// unmarshals tries v against a type that has no parts.
func (r *repair) unmarshals(v any, t reflect.Type, path string) bool {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		valid := wanted(t)
		if _, isBool := v.(bool); isBool && t.Kind() == reflect.String {
			valid += " (quote it: unquoted y, yes, on, n, no, off are booleans in YAML)"
		}
		r.misfit(path, fmt.Sprintf("%s does not fit", clip(data)), valid)
	}
	return err == nil
}

func (r *repair) object(v any, t reflect.Type, path string) (any, bool) {
	fields, ok := v.(map[string]any)
	if !ok && t == ruleType {
		return r.brokenRule(path, "is "+typeName(v)+" instead of an object"), true
	}
	if !ok {
		r.misfit(path, "is "+typeName(v), wanted(t))
		return nil, false
	}
	known := fieldTypes(t)
	fitting := map[string]any{}
	for _, name := range sortedKeys(fields) {
		fieldType, ok := known[name]
		if !ok {
			r.unknown(join(path, name), known)
			continue
		}
		if value, ok := r.value(fields[name], fieldType, join(path, name)); ok {
			fitting[name] = value
		}
	}
	return fitting, true
}

func (r *repair) list(v any, t reflect.Type, path string) (any, bool) {
	items, ok := v.([]any)
	if !ok && t.Elem() == ruleType {
		return []any{r.brokenRule(path+"[0]", "the list of rules is "+typeName(v))}, true
	}
	if !ok {
		r.misfit(path, "is "+typeName(v), wanted(t))
		return nil, false
	}
	fitting := make([]any, 0, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if value, ok := r.element(item, t.Elem(), at); ok {
			fitting = append(fitting, value)
		}
	}
	return fitting, true
}

// element keeps what should be a text and is none as its JSON text: validation finds it where it stands.
func (r *repair) element(v any, t reflect.Type, path string) (any, bool) {
	if _, isText := v.(string); t.Kind() != reflect.String || isText {
		return r.value(v, t, path)
	}
	data, _ := json.Marshal(v)
	r.errs = append(r.errs, FieldError{Field: path, Problem: "is " + typeName(v), Valid: "a string", Element: true})
	return string(data), true
}

func (r *repair) table(v any, t reflect.Type, path string) (any, bool) {
	entries, ok := v.(map[string]any)
	if !ok {
		r.misfit(path, "is "+typeName(v), wanted(t))
		return nil, false
	}
	fitting := map[string]any{}
	for _, key := range sortedKeys(entries) {
		if value, ok := r.value(entries[key], t.Elem(), join(path, key)); ok {
			fitting[key] = value
		}
	}
	return fitting, true
}

// droppable fields may be left out without a change of what the object means for enforcement.
var droppable = []string{"status", "metadata.annotations", "metadata.managedFields", "metadata.ownerReferences", "metadata.finalizers",
	"metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.generation", "spec.performanceHints", "spec.order"}

func (r *repair) misfit(path, problem, valid string) {
	if fault := r.rule(path); fault != nil {
		if fault.invalid == "" {
			fault.invalid = path + " " + problem
		}
		r.errs = append(r.errs, FieldError{Field: path, Problem: problem, Valid: valid})
		return
	}
	if r.hostField(path, problem) || slices.ContainsFunc(droppable, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
		r.errs = append(r.errs, FieldError{Field: path, Problem: problem, Valid: valid})
		return
	}
	r.fatal(path, problem, valid)
}

// hostField tells whether the object is a HostEndpoint that is still somebody's without the field, and notes what it then lacks: a
// node that drops it would open an interface.
func (r *repair) hostField(path, problem string) bool {
	if r.host == nil || strings.HasPrefix(path, "spec.node") {
		return false
	}
	name, inSpec := strings.CutPrefix(path, "spec.")
	if !inSpec && !strings.HasPrefix(path, "metadata.labels") {
		return false
	}
	if !strings.HasPrefix(name, "ports[") && r.host.Invalid == "" {
		r.host.Invalid = path + " " + problem
	}
	if name == "interfaceName" {
		r.host.InterfaceName = UnreadableInterface
	}
	return true
}

func (r *repair) fatal(path, problem, valid string) {
	r.hopeless = true
	r.errs = append(r.errs, FieldError{Field: path, Problem: problem, Valid: valid})
}

func (r *repair) brokenRule(path, problem string) any {
	r.misfit(path, problem, "a rule: action, protocol, source, destination …")
	return map[string]any{}
}

func (r *repair) unknown(path string, known map[string]reflect.Type) {
	if fault := r.rule(path); fault != nil {
		fault.unknown = append(fault.unknown, path[len(rulePath(path))+1:])
	}
	r.errs = append(r.errs, FieldError{Field: path, Problem: "unknown field", Valid: suggest(path, known)})
}

// rule is the record of the rule that path leads into; nil if it leads into none.
func (r *repair) rule(path string) *ruleFault {
	at := rulePath(path)
	if at == "" {
		return nil
	}
	if r.ruleFaults[at] == nil {
		r.ruleFaults[at] = &ruleFault{}
	}
	return r.ruleFaults[at]
}

// rulePath is the beginning of path that names a rule, or "".
func rulePath(path string) string {
	for _, list := range []string{"spec.ingress[", "spec.egress["} {
		if strings.HasPrefix(path, list) {
			return path[:strings.IndexByte(path, ']')+1]
		}
	}
	return ""
}

// mark writes what was found into the rules, or the host endpoint.
func (r *repair) mark(o Object) {
	if h, ok := o.(*HostEndpoint); ok {
		h.Spec.Invalid = r.host.Invalid
		if r.host.InterfaceName != "" {
			h.Spec.InterfaceName = r.host.InterfaceName
		}
	}
	ingress, egress := rulesOf(o)
	for direction, rules := range map[string][]Rule{"ingress": ingress, "egress": egress} {
		for i := range rules {
			if fault := r.ruleFaults[fmt.Sprintf("spec.%s[%d]", direction, i)]; fault != nil {
				rules[i].Unknown, rules[i].Invalid = fault.unknown, fault.invalid
			}
		}
	}
}

func rulesOf(o Object) (ingress, egress []Rule) {
	switch o := o.(type) {
	case *NetworkPolicy:
		return o.Spec.Ingress, o.Spec.Egress
	case *GlobalNetworkPolicy:
		return o.Spec.Ingress, o.Spec.Egress
	case *StagedNetworkPolicy:
		return o.Spec.Ingress, o.Spec.Egress
	case *StagedGlobalNetworkPolicy:
		return o.Spec.Ingress, o.Spec.Egress
	case *Profile:
		return o.Spec.Ingress, o.Spec.Egress
	}
	return nil, nil
}

// duplicates takes over what only the strict decoder sees.
func (r *repair) duplicates(faults []error) {
	for _, fault := range faults {
		if path, ok := strings.CutPrefix(fault.Error(), "duplicate field "); ok {
			r.misfit(strings.Trim(path, `"`), "is given twice", "")
		}
	}
}
