package v3

// Action is what a rule does with a packet that it matches.
// +kubebuilder:validation:Enum=Allow;Deny;Log;Pass
type Action string

// The actions.
const (
	Allow Action = "Allow"
	Deny  Action = "Deny"
	Log   Action = "Log"
	Pass  Action = "Pass"
)

// Rule matches packets, by all of its fields at once, and says what to do with them.
type Rule struct {
	Action Action `json:"action"`
	// IPVersion limits the rule to one family: 4 or 6.
	// +kubebuilder:validation:Enum=4;6
	// +optional
	IPVersion *int `json:"ipVersion,omitempty"`
	// +optional
	Protocol *Protocol `json:"protocol,omitempty"`
	// +optional
	NotProtocol *Protocol `json:"notProtocol,omitempty"`
	// +optional
	ICMP *ICMPFields `json:"icmp,omitempty"`
	// +optional
	NotICMP *ICMPFields `json:"notICMP,omitempty"`
	// +optional
	Source EntityRule `json:"source,omitempty"`
	// +optional
	Destination EntityRule `json:"destination,omitempty"`
	// +optional
	HTTP *HTTPMatch `json:"http,omitempty"`
	// +optional
	Metadata *RuleMetadata `json:"metadata,omitempty"`

	// Unknown names the fields of this rule, in order, that this version does not know. Only agents fill it (the CLI and the API
	// server refuse such a rule): the rule counts as unsupported, not the policy.
	// +kubebuilder:skipversion
	Unknown []string `json:"-"`
	// Invalid says why the rule can't be read as a whole ("" if it can): a value of the wrong JSON type, which is left out. Only agents
	// fill it. Action is what was written, "" where that can't be read either.
	// +kubebuilder:skipversion
	Invalid string `json:"-"`
	// Unsupported says what of the rule can't be matched, and was left out of it ("" if nothing), where leaving it out makes the rule match more:
	// an Allow then allows nothing, and a Deny or Pass denies all that it might cover. Only views have it.
	// +kubebuilder:skipversion
	Unsupported string `json:"-"`
	// Written is the number, from 1, of the rule that this one is part of, where one that was written became several; 0: it is the
	// rule in its place. Only views have it.
	// +kubebuilder:skipversion
	Written int `json:"-"`
}

// ICMPFields match the type and code of ICMP or ICMPv6; a code needs a type.
type ICMPFields struct {
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=254
	// +optional
	Type *int `json:"type,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	// +optional
	Code *int `json:"code,omitempty"`
}

// EntityRule matches one side of a packet, by all of its fields at once.
type EntityRule struct {
	// Nets: the address is in one of them. A union with Domains.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Nets []string `json:"nets,omitempty"`
	// NotNets: the address is in none of them.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	NotNets []string `json:"notNets,omitempty"`
	// Selector: the address is one of a matching endpoint or network set.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
	// NotSelector: the address is not one of a matching endpoint or network set.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	NotSelector string `json:"notSelector,omitempty"`
	// NamespaceSelector narrows Selector by the labels of the namespace; global() means those without one.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	NamespaceSelector string `json:"namespaceSelector,omitempty"`
	// Services: the endpoints of a service. Excludes the matches above.
	// +optional
	Services *ServiceMatch `json:"services,omitempty"`
	// Ports: the port is one of them (number, "a:b", or the name of a port of the endpoint).
	// +kubebuilder:validation:MaxItems=50
	// +optional
	Ports []Port `json:"ports,omitempty"`
	// NotPorts: the port is none of them.
	// +kubebuilder:validation:MaxItems=50
	// +optional
	NotPorts []Port `json:"notPorts,omitempty"`
	// Domains: the address is one of these names' (egress Allow and Log rules, destination only). A union with Nets.
	// +optional
	Domains []string `json:"domains,omitempty"`
	// ServiceAccounts narrows Selector by the service account.
	// +optional
	ServiceAccounts *ServiceAccountMatch `json:"serviceAccounts,omitempty"`

	// NodeSelector: the address is one of a matching node's, by the labels of the node ("" asks nothing). Only views have it.
	// +kubebuilder:skipversion
	NodeSelector string `json:"-"`
}

// ServiceMatch names a service; Namespace defaults to the policy's own.
type ServiceMatch struct {
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ServiceAccountMatch matches service accounts by name and by label, both where both are given.
type ServiceAccountMatch struct {
	// +optional
	Names []string `json:"names,omitempty"`
	// +optional
	Selector string `json:"selector,omitempty"`
}

// HTTPMatch matches requests; packet dataplanes do not enforce it.
type HTTPMatch struct {
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Methods []string `json:"methods,omitempty"`
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Paths []HTTPPath `json:"paths,omitempty"`
}

// HTTPPath is one of exact or prefix.
type HTTPPath struct {
	// +optional
	Exact string `json:"exact,omitempty"`
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// RuleMetadata carries annotations, without effect.
type RuleMetadata struct {
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}
