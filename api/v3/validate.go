package v3

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Option changes how Validate judges.
//
// +kubebuilder:object:generate=false
type Option func(*validator)

// WithSelectors gives the judge of selectors, which is not part of this package. Without one, only their length and the places where
// global() may stand are judged.
func WithSelectors(check func(selector string) error) Option {
	return func(v *validator) { v.selectors = check }
}

// Validate judges a whole object as the API does, defaulted or not: all that is wrong, and warnings. It changes nothing.
func Validate(o Object, options ...Option) []FieldError {
	v := newValidator(KeyOf(o), options)
	v.strict = true
	v.metadata(o)
	switch o := o.(type) {
	case *NetworkPolicy:
		v.policy(&o.Spec.PolicySpec)
	case *GlobalNetworkPolicy:
		v.policy(&o.Spec.PolicySpec)
		v.globalPolicy(&o.Spec)
	case *StagedNetworkPolicy:
		if v.staged(o.Spec.StagedAction, &o.Spec.PolicySpec) {
			v.policy(&o.Spec.PolicySpec)
		}
	case *StagedGlobalNetworkPolicy:
		if v.stagedGlobal(&o.Spec) {
			v.policy(&o.Spec.PolicySpec)
			v.globalPolicy(&o.Spec.GlobalNetworkPolicySpec)
		}
	case *StagedKubernetesNetworkPolicy:
		v.stagedKubernetes(&o.Spec)
	case *Profile:
		v.profile(&o.Spec)
	case *Tier:
		v.tier(o)
	case *NetworkSet:
		v.networkSet(&o.Spec)
	case *GlobalNetworkSet:
		v.networkSet(&o.Spec)
	case *HostEndpoint:
		v.hostEndpoint(&o.Spec)
	case *WorkloadEndpoint:
		v.workloadEndpoint(&o.Spec)
	case *Node:
		v.node(&o.Spec)
	default:
		v.addressing(o)
	}
	return v.errs
}

func (v *validator) addressing(o Object) {
	switch o := o.(type) {
	case *IPPool:
		v.pool(&o.Spec)
	case *IPReservation:
		v.expect(len(o.Spec.ReservedCIDRs) <= maxReserved, "spec.reservedCIDRs", fmt.Sprintf("at most %d", maxReserved), "has %d elements", len(o.Spec.ReservedCIDRs))
		v.nets("spec.reservedCIDRs", o.Spec.ReservedCIDRs)
	case *IPAMConfiguration:
		v.ipamConfiguration(o)
	case *IPAMBlock:
		v.block(&o.Spec)
	case *BlockAffinity:
		v.affinity(&o.Spec)
	case *IPAMHandle:
		v.handle(&o.Spec)
	}
}

// ValidateUpdate judges what may not change: call it besides Validate.
func ValidateUpdate(old, o Object) []FieldError {
	v := newValidator(KeyOf(o), nil)
	before, isPool := old.(*IPPool)
	after, stillPool := o.(*IPPool)
	if isPool && stillPool {
		was, is := before.Spec, after.Spec
		was.setDefaults()
		is.setDefaults()
		v.expect(was.CIDR == is.CIDR, "spec.cidr", was.CIDR+" (make another pool and delete this one)", "can't be changed")
		v.expect(was.BlockSize == is.BlockSize, "spec.blockSize", fmt.Sprint(was.BlockSize), "can't be changed")
	}
	return v.errs
}

// ValidateDelete judges whether an object may be deleted at all.
func ValidateDelete(key Key) []FieldError {
	v := newValidator(key, nil)
	_, builtin := builtinTiers[key.Name]
	v.expect(key.Kind != KindTier || !builtin, "", "", "a built-in tier can't be deleted")
	return v.errs
}

type validator struct {
	object    string
	kind      Kind
	selectors func(string) error
	strict    bool // also what is read all the same, and the API server can't tell from what is not
	errs      []FieldError
}

func newValidator(key Key, options []Option) *validator {
	v := &validator{object: key.String(), kind: key.Kind}
	for _, option := range options {
		option(v)
	}
	return v
}

func (v *validator) add(e FieldError) {
	e.Object = v.object
	v.errs = append(v.errs, e)
}

// expect notes a problem unless ok.
func (v *validator) expect(ok bool, field, valid, format string, args ...any) bool {
	if !ok {
		v.add(FieldError{Field: field, Problem: fmt.Sprintf(format, args...), Valid: valid})
	}
	return ok
}

func (v *validator) warn(field, problem string) {
	v.add(FieldError{Field: field, Problem: problem, Warning: true})
}

// element notes that one element of a list can't be read. The error says itself what would be valid.
func (v *validator) element(field string, err error) {
	v.add(FieldError{Field: field, Problem: err.Error(), Element: true})
}

func (v *validator) oneOf(field, value string, valid ...string) {
	for _, one := range valid {
		if one == value {
			return
		}
	}
	v.expect(false, field, strings.Join(valid, ", "), "%q is unknown", value)
}

var (
	policyName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`)
	interfaceName = regexp.MustCompile(`^[^\s/:*<>]{1,15}$`)
	domainName    = regexp.MustCompile(`^(\*\.)?([a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.?$`)
)

// reservedPrefixes begin names that the API makes itself, from other kinds of policy.
var reservedPrefixes = []string{"knp.default.", "ossg.default."}

func (v *validator) metadata(o Object) {
	v.name(o.GetName())
	v.namespace(o.GetNamespace())
	for _, key := range sortedKeys(o.GetLabels()) {
		v.label("metadata.labels", key, o.GetLabels()[key])
	}
}

func (v *validator) name(name string) {
	const subdomain = "at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	if !v.expect(name != "", "metadata.name", subdomain, "is missing") {
		return
	}
	switch v.kind {
	case KindNetworkPolicy, KindGlobalNetworkPolicy, KindStagedNetworkPolicy, KindStagedGlobalNetworkPolicy:
		for _, prefix := range reservedPrefixes {
			name = strings.TrimPrefix(name, prefix)
		}
		v.expect(policyName.MatchString(name) && len(name) <= 253, "metadata.name",
			"lower-case letters, digits and '-', with at most one '.', each part beginning and ending with a letter or digit", "%q is not a name of a policy", name)
	case KindTier:
		v.expect(len(validation.IsDNS1123Label(name)) == 0, "metadata.name",
			"at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit", "%q is not a name of a tier", name)
	case KindKubernetesNetworkPolicy, KindClusterNetworkPolicy, KindServiceEndpoints, KindWorkloadEndpoint, KindIPAMHandle:
		// Named by others, or after what they stand for.
		v.expect(len(name) <= 512 && !strings.ContainsAny(name, "\x00\n"), "metadata.name", "at most 512 characters", "%q is not a name", name)
	default:
		v.expect(len(validation.IsDNS1123Subdomain(name)) == 0, "metadata.name", subdomain, "%q is not a name", name)
		made := v.kind == KindProfile && (strings.HasPrefix(name, "kns.") || strings.HasPrefix(name, "ksa."))
		v.expect(!made, "metadata.name", "another name", "profiles named kns. and ksa. are made from namespaces and service accounts")
	}
}

func (v *validator) namespace(namespace string) {
	info, _ := InfoOf(v.kind)
	switch {
	case !info.Namespaced:
		v.expect(namespace == "", "metadata.namespace", "none", "the kind has no namespaces")
	case namespace == "":
		// A workload endpoint of a container without a pod has none.
		v.expect(v.kind == KindWorkloadEndpoint, "metadata.namespace", "the name of a namespace", "is missing")
	default:
		v.expect(len(validation.IsDNS1123Label(namespace)) == 0, "metadata.namespace",
			"at most 63 lower-case letters, digits and '-'", "%q is not a name of a namespace", namespace)
	}
}

const namespaceLabel = "projectcalico.org/namespace"

func (v *validator) label(field, key, value string) {
	at := field + "." + key
	v.expect(len(validation.IsQualifiedName(key)) == 0, at, "[domain/]name of at most 63 letters, digits, '-', '_' and '.'", "%q is not a key of a label", key)
	v.expect(len(validation.IsValidLabelValue(value)) == 0, at,
		"at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", "%q is not a value of a label", value)
	isSet := v.kind == KindNetworkSet || v.kind == KindGlobalNetworkSet
	v.expect(!isSet || key != namespaceLabel, at, "", "is set by felid, and can't be given")
}
