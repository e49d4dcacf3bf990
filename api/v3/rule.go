package v3

// Action is what a rule does with a packet that it matches.
type Action string

// The actions.
const (
	Allow Action = "Allow"
	Deny  Action = "Deny"
	Log   Action = "Log"
	Pass  Action = "Pass"
)

// Rule matches packets, by all of its fields at once, and says what to do with them.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.source) && (has(self.source.ports) && self.source.ports.size() > 0 || has(self.source.notPorts) && self.source.notPorts.size() > 0)) || has(self.protocol) && (self.protocol in [6, 17, 132] || self.protocol in ['TCP', 'tcp', 'Tcp', '6', 'UDP', 'udp', 'Udp', '17', 'SCTP', 'sctp', 'Sctp', '132']) || !has(self.protocol) && (!has(self.source.ports) || self.source.ports.all(p, !(p >= '0' && p < ':'))) && (!has(self.source.notPorts) || self.source.notPorts.all(p, !(p >= '0' && p < ':')))",message="ports need protocol TCP, UDP or SCTP in the rule; named ones may go without protocol (unless the name begins with a digit)",fieldPath=".source"
// +kubebuilder:validation:XValidation:rule="!(has(self.destination) && (has(self.destination.ports) && self.destination.ports.size() > 0 || has(self.destination.notPorts) && self.destination.notPorts.size() > 0)) || has(self.protocol) && (self.protocol in [6, 17, 132] || self.protocol in ['TCP', 'tcp', 'Tcp', '6', 'UDP', 'udp', 'Udp', '17', 'SCTP', 'sctp', 'Sctp', '132']) || !has(self.protocol) && (!has(self.destination.ports) || self.destination.ports.all(p, !(p >= '0' && p < ':'))) && (!has(self.destination.notPorts) || self.destination.notPorts.all(p, !(p >= '0' && p < ':')))",message="ports need protocol TCP, UDP or SCTP in the rule; named ones may go without protocol (unless the name begins with a digit)",fieldPath=".destination"
// +kubebuilder:validation:XValidation:rule="!has(self.icmp) && !has(self.notICMP) || has(self.protocol) && (self.protocol in [1, 58] || self.protocol in ['ICMP', 'icmp', 'Icmp', '1', 'ICMPv6', 'ICMPV6', 'icmpv6', 'Icmpv6', '58'])",message="icmp and notICMP need protocol ICMP or ICMPv6"
// +kubebuilder:validation:XValidation:rule="!has(self.icmp) && !has(self.notICMP) || !has(self.ipVersion) || !has(self.protocol) || !(self.protocol == 1 || self.protocol in ['ICMP', 'icmp', 'Icmp', '1']) || self.ipVersion == 4",message="ICMP is IPv4's: ipVersion must be 4"
// +kubebuilder:validation:XValidation:rule="!has(self.icmp) && !has(self.notICMP) || !has(self.ipVersion) || !has(self.protocol) || !(self.protocol == 58 || self.protocol in ['ICMPv6', 'ICMPV6', 'icmpv6', 'Icmpv6', '58']) || self.ipVersion == 6",message="ICMPv6 is IPv6's: ipVersion must be 6"
// +kubebuilder:validation:XValidation:rule="((has(self.source) && has(self.source.nets) && self.source.nets.size() > 0 ? (self.source.nets[0].contains(':') ? 10 : 1) : 0) + (has(self.source) && has(self.source.notNets) && self.source.notNets.size() > 0 ? (self.source.notNets[0].contains(':') ? 10 : 1) : 0) + (has(self.destination) && has(self.destination.nets) && self.destination.nets.size() > 0 ? (self.destination.nets[0].contains(':') ? 10 : 1) : 0) + (has(self.destination) && has(self.destination.notNets) && self.destination.notNets.size() > 0 ? (self.destination.notNets[0].contains(':') ? 10 : 1) : 0)) in (has(self.ipVersion) ? (self.ipVersion == 4 ? [0, 1, 2, 3, 4] : [0, 10, 20, 30, 40]) : [0, 1, 2, 3, 4, 10, 20, 30, 40])",message="nets must be of one family, that of ipVersion where it is given; write a rule for each family"
// +kubebuilder:validation:XValidation:rule="!has(self.destination) || !has(self.destination.services) || (!has(self.destination.ports) || self.destination.ports.size() == 0) && (!has(self.destination.notPorts) || self.destination.notPorts.size() == 0)",message="ports can't go with services: the service has its own",fieldPath=".destination"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.source.domains) || self.source.domains.size() == 0",message="domains can't be used here; valid: the destination of egress rules",fieldPath=".source"
// +kubebuilder:validation:XValidation:rule="!has(self.destination) || !has(self.destination.domains) || self.destination.domains.size() == 0 || self.action in ['Allow', 'Log']",message="domains can't be used with this action; valid: Allow, Log",fieldPath=".destination"
// +kubebuilder:validation:XValidation:rule="!has(self.http) || self.action == 'Allow'",message="http needs action Allow"
// +kubebuilder:validation:XValidation:rule="!has(self.http) || !has(self.protocol) || self.protocol == 6 || self.protocol in ['TCP', 'tcp', 'Tcp', '6']",message="http needs protocol TCP, or none"
type Rule struct {
	// +kubebuilder:validation:Enum=Allow;Deny;Log;Pass
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.code) || has(self.type)",message="a code needs a type"
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
//
// +kubebuilder:validation:XValidation:rule=`!has(self.services) || (!has(self.nets) || self.nets.size() == 0) && (!has(self.notNets) || self.notNets.size() == 0) && (!has(self.domains) || self.domains.size() == 0) && (!has(self.selector) || self.selector == "") && (!has(self.notSelector) || self.notSelector == "") && (!has(self.namespaceSelector) || self.namespaceSelector == "") && !has(self.serviceAccounts)`,message="nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts and domains can't go with services"
type EntityRule struct {
	// Nets: the address is in one of them. A union with Domains.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=49
	// +optional
	Nets []string `json:"nets,omitempty"`
	// NotNets: the address is in none of them.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:XValidation:rule="!self.endsWith('/0')",message="would never match; valid: a longer prefix"
	// +optional
	NotNets []string `json:"notNets,omitempty"`
	// Selector: the address is one of a matching endpoint or network set.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	Selector string `json:"selector,omitempty"`
	// NotSelector: the address is not one of a matching endpoint or network set.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	NotSelector string `json:"notSelector,omitempty"`
	// NamespaceSelector narrows Selector by the labels of the namespace; global() means those without one.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(") || self.matches(r"^\s*global\s*\(\s*\)\s*$")`,message="global() can't be combined; valid: global() alone"
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
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?([a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.?$`
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
	// +kubebuilder:validation:MinLength=1
	// +required
	Name string `json:"name,omitempty"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ServiceAccountMatch matches service accounts by name and by label, both where both are given.
type ServiceAccountMatch struct {
	// +optional
	Names []string `json:"names,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
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
//
// +kubebuilder:validation:XValidation:rule=`(has(self.exact) && self.exact != "") != (has(self.prefix) && self.prefix != "")`,message="has both or neither of exact and prefix"
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
