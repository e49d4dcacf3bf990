package v3

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkSelector stands for the judge of selectors, which this package doesn't have.
func checkSelector(text string) error {
	if strings.Contains(text, "???") {
		return errors.New("no operator here; valid: ==, !=, in")
	}
	return nil
}

// validateYAML decodes strictly and validates; it returns "field: problem" of every error, "warning: field: problem" of warnings.
func validateYAML(t *testing.T, text string) []string {
	t.Helper()
	docs, errs := ReadDocuments("t.yaml", []byte(text))
	if len(docs) != 1 || len(errs) > 0 {
		t.Fatalf("read %d documents, errors %v from:\n%s", len(docs), errs, text)
	}
	o, errs := docs[0].Decode(true)
	if o != nil {
		errs = append(errs, Validate(o, WithSelectors(checkSelector))...)
	}
	docs[0].Locate(errs)
	return briefly(t, errs)
}

func briefly(t *testing.T, errs []FieldError) []string {
	t.Helper()
	got := []string{}
	for _, e := range errs {
		text := e.Field + ": " + e.Problem
		if e.Warning {
			text = "warning: " + text
		}
		if e.Object == "" || e.File != "t.yaml" || e.Line == 0 {
			t.Errorf("%q lacks object, file or line: %+v", text, e)
		}
		got = append(got, text)
	}
	return got
}

// object is a YAML document of a kind; namespaced kinds get a namespace.
func object(kind Kind, name, spec string) string {
	info, _ := InfoOf(kind)
	namespace := ""
	if info.Namespaced {
		namespace = ", namespace: ns"
	}
	return fmt.Sprintf("apiVersion: projectcalico.org/v3\nkind: %s\nmetadata: {name: %q%s}\nspec: %s\n", kind, name, namespace, spec)
}

type specCase struct {
	kind Kind
	spec string
	want []string
}

func runSpecs(t *testing.T, name string, cases []specCase) {
	t.Helper()
	for _, c := range cases {
		want := c.want
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, validateYAML(t, object(c.kind, name, c.spec))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.kind, c.spec, diff)
		}
	}
}

func TestValidateRules(t *testing.T) {
	for _, c := range ruleCases {
		spec := "{" + c.list + ": [{" + c.rule + "}]}"
		want := []string{}
		for _, text := range c.want {
			prefix := ""
			if rest, ok := strings.CutPrefix(text, "warning: "); ok {
				prefix, text = "warning: ", rest
			}
			if !strings.HasPrefix(text, ":") {
				text = "." + text
			}
			want = append(want, prefix+"spec."+c.list+"[0]"+text)
		}
		kind := c.kind
		if kind == "" {
			kind = KindNetworkPolicy
		}
		if diff := cmp.Diff(want, validateYAML(t, object(kind, "p", spec))); diff != "" {
			t.Errorf("%s %s: %s (-want +got):\n%s", kind, c.list, c.rule, diff)
		}
	}
}

func list(n int, element string) string {
	return "[" + strings.Repeat(element+",", n) + "]"
}

var ruleCases = []struct {
	list, rule string
	kind       Kind
	want       []string
}{
	// Action.
	{list: "ingress", rule: "action: Allow"},
	{list: "ingress", rule: "action: Deny"},
	{list: "ingress", rule: "action: Pass"},
	{list: "egress", rule: "action: Log"},
	{list: "ingress", rule: "action: allow", want: []string{`action: "allow" is unknown`}},
	{list: "ingress", rule: "protocol: TCP", want: []string{`action: "" is unknown`}},
	{list: "ingress", rule: "action: Allow, metadata: {annotations: {a: b}}"},
	// Family and protocol.
	{list: "ingress", rule: "action: Allow, ipVersion: 4"},
	{list: "ingress", rule: "action: Allow, ipVersion: 5", want: []string{"ipVersion: is 5"}},
	{list: "ingress", rule: "action: Allow, protocol: tcp"},
	{list: "ingress", rule: "action: Allow, protocol: 255, notProtocol: UDPLite"},
	{list: "ingress", rule: "action: Allow, protocol: 0", want: []string{"protocol: protocol 0 is out of range; valid: 1 to 255"}},
	{list: "ingress", rule: "action: Allow, notProtocol: 256", want: []string{"notProtocol: protocol 256 is out of range; valid: 1 to 255"}},
	{list: "ingress", rule: "action: Allow, protocol: TPC", want: []string{
		`protocol: unknown protocol "TPC"; valid: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or 1 to 255`}},
	// ICMP.
	{list: "ingress", rule: "action: Allow, protocol: ICMP, icmp: {type: 254, code: 255}"},
	{list: "ingress", rule: "action: Allow, protocol: 58, ipVersion: 6, notICMP: {type: 0}"},
	{list: "ingress", rule: "action: Allow, protocol: ICMP, icmp: {type: 255}", want: []string{"icmp.type: is out of range"}},
	{list: "ingress", rule: "action: Allow, protocol: ICMP, icmp: {type: 1, code: 256}", want: []string{"icmp.code: is out of range"}},
	{list: "ingress", rule: "action: Allow, protocol: ICMP, icmp: {code: 1}", want: []string{"icmp.type: is missing"}},
	{list: "ingress", rule: "action: Allow, icmp: {type: 8}", want: []string{"icmp: needs a matching protocol"}},
	{list: "ingress", rule: "action: Allow, protocol: TCP, notICMP: {type: 8}", want: []string{"notICMP: needs a matching protocol"}},
	{list: "ingress", rule: "action: Allow, protocol: ICMP, ipVersion: 6, icmp: {type: 8}", want: []string{"icmp: ICMP is IPv4's"}},
	{list: "ingress", rule: "action: Allow, protocol: ICMPv6, ipVersion: 4, icmp: {type: 8}", want: []string{"icmp: ICMPv6 is IPv6's"}},
	// Nets.
	{list: "ingress", rule: `action: Allow, source: {nets: [10.0.0.0/8, 10.1.2.3], notNets: [10.9.0.0/16]}`},
	{list: "ingress", rule: `action: Allow, source: {nets: ["fd00::/8"]}, ipVersion: 6`},
	{list: "ingress", rule: `action: Allow, source: {nets: [10.0.0.1/8]}`, want: []string{
		"warning: source.nets[0]: 10.0.0.1/8 has host bits: it counts as 10.0.0.0/8"}},
	{list: "ingress", rule: `action: Allow, destination: {notNets: [10.0.0.0/8, 10.0.0.0/33]}`, want: []string{
		`destination.notNets[1]: "10.0.0.0/33" is not a CIDR; valid: such as 10.0.0.0/8, 2001:db8::/32, or an address`}},
	{list: "ingress", rule: `action: Deny, source: {notNets: [0.0.0.0/0]}`, want: []string{"source.notNets[0]: 0.0.0.0/0 would never match"}},
	{list: "ingress", rule: `action: Deny, source: {notNets: ["::/0"]}`, want: []string{"source.notNets[0]: ::/0 would never match"}},
	{list: "ingress", rule: `action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: ["fd00::/8"]}`, want: []string{": mixes IPv4 and IPv6 nets"}},
	{list: "ingress", rule: `action: Allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}`, want: []string{"ipVersion: is 6, and nets are of the other family"}},
	{list: "ingress", rule: `action: Allow, source: {nets: ` + list(256, "10.0.0.0/8") + `}`},
	{list: "ingress", rule: `action: Allow, source: {nets: ` + list(257, "10.0.0.0/8") + `}`, want: []string{"source.nets: has 257 elements"}},
	// Ports.
	{list: "ingress", rule: `action: Allow, protocol: TCP, destination: {ports: [80, "443", "8000:8010", http]}`},
	{list: "ingress", rule: `action: Allow, protocol: 132, source: {notPorts: [0, 65535]}`},
	{list: "ingress", rule: `action: Allow, destination: {ports: [http]}`},
	{list: "ingress", rule: `action: Allow, destination: {ports: [80]}`, want: []string{"destination.ports: needs a protocol that has ports"}},
	{list: "ingress", rule: `action: Allow, protocol: ICMP, source: {notPorts: [http]}`, want: []string{"source.notPorts: needs a protocol that has ports"}},
	{list: "ingress", rule: `action: Allow, protocol: TCP, source: {ports: ["9:8"]}`, want: []string{
		`source.ports[0]: "9:8" is not a port or a range; valid: 0 to 65535, or "a:b" with a no greater than b`}},
	{list: "ingress", rule: `action: Allow, protocol: TCP, source: {ports: [65536, 1.5, null, true, ""]}`, want: []string{
		`source.ports[0]: "65536" is not a port or a range; valid: 0 to 65535, or "a:b" with a no greater than b`,
		`source.ports[1]: "<1.5>" is not a port; valid: 0 to 65535, a range "a:b", or a name of letters, digits and '-'`,
		`source.ports[2]: "<null>" is not a port; valid: 0 to 65535, a range "a:b", or a name of letters, digits and '-'`,
		`source.ports[3]: "<true>" is not a port; valid: 0 to 65535, a range "a:b", or a name of letters, digits and '-'`,
		`source.ports[4]: "<>" is not a port; valid: 0 to 65535, a range "a:b", or a name of letters, digits and '-'`}},
	{list: "ingress", rule: `action: Allow, protocol: TCP, source: {ports: ["80-90"]}`, want: []string{
		"warning: source.ports[0]: 80-90 is the name of a port; a range is written 80:90"}},
	{list: "ingress", rule: `action: Allow, protocol: TCP, source: {ports: ` + list(51, "1") + `}`, want: []string{"source.ports: has 51 elements"}},
	// Selectors.
	{list: "ingress", rule: `action: Allow, source: {selector: 'a == "global"', notSelector: b, serviceAccounts: {names: [x], selector: c}}`},
	{list: "ingress", rule: `action: Allow, source: {selector: 'a == "global()"'}`, want: []string{"source.selector: global() can't be used here"}},
	{list: "ingress", rule: "action: Allow, protocol: tCp", want: []string{`protocol: "tCp" is an unusual spelling`}},
	{list: "ingress", rule: `action: Allow, protocol: "06"`, want: []string{"protocol: protocol 06 is out of range; valid: 1 to 255"}},
	{list: "ingress", rule: "action: Allow, destination: {ports: [9p]}", want: []string{"destination.ports: needs a protocol that has ports"}},
	{list: "ingress", rule: `action: Allow, source: {selector: '???'}`, want: []string{"source.selector: no operator here; valid: ==, !=, in"}},
	{list: "ingress", rule: `action: Allow, source: {selector: 'global ( )'}`, want: []string{"source.selector: global() can't be used here"}},
	{list: "ingress", rule: `action: Allow, source: {namespaceSelector: ' global() '}`},
	{list: "ingress", rule: `action: Allow, source: {namespaceSelector: 'global() || has(a)'}`, want: []string{"source.namespaceSelector: global() can't be combined"}},
	{list: "ingress", rule: `action: Allow, source: {notSelector: '` + strings.Repeat("a", 1025) + `'}`, want: []string{"source.notSelector: has 1025 characters"}},
	// Services.
	{list: "ingress", rule: `action: Allow, source: {services: {name: db}}`},
	{list: "egress", rule: `action: Allow, destination: {services: {name: db, namespace: x}}`, kind: KindGlobalNetworkPolicy},
	{list: "egress", rule: `action: Allow, destination: {services: {name: db}}`, kind: KindGlobalNetworkPolicy, want: []string{"destination.services.namespace: is missing"}},
	{list: "egress", rule: `action: Allow, destination: {services: {namespace: x}}`, want: []string{"destination.services.name: is missing"}},
	{list: "egress", rule: `action: Allow, source: {services: {name: db}}`, want: []string{"source.services: can't be used here"}},
	{list: "ingress", rule: `action: Allow, destination: {services: {name: db}}`, want: []string{"destination.services: can't be used here"}},
	{list: "egress", rule: `action: Allow, protocol: TCP, destination: {ports: [80], services: {name: db}}`, want: []string{"destination.ports: can't go with services"}},
	{list: "egress", rule: `action: Allow, destination: {services: {name: db}, nets: [10.0.0.0/8], notNets: [10.0.0.0/9], selector: a, notSelector: b, namespaceSelector: c, serviceAccounts: {names: [x]}, domains: [x.y]}`,
		want: []string{"destination.nets: can't go with services", "destination.notNets: can't go with services", "destination.selector: can't go with services",
			"destination.notSelector: can't go with services", "destination.namespaceSelector: can't go with services",
			"destination.serviceAccounts: can't go with services", "destination.domains: can't go with services"}},
	// Domains.
	{list: "egress", rule: `action: Allow, destination: {domains: [tigera.io, "*.tigera.io"], nets: [1.1.1.1/32]}`},
	{list: "egress", rule: `action: Log, destination: {domains: [tigera.io]}`},
	{list: "egress", rule: `action: Deny, destination: {domains: [tigera.io]}`, want: []string{"destination.domains: can't be used with action Deny"}},
	{list: "ingress", rule: `action: Allow, destination: {domains: [tigera.io]}`, want: []string{"destination.domains: can't be used here"}},
	{list: "egress", rule: `action: Allow, source: {domains: [tigera.io]}`, want: []string{"source.domains: can't be used here"}},
	{list: "egress", rule: `action: Allow, destination: {domains: ["a b"]}`, want: []string{
		`destination.domains[0]: "a b" is not a domain name; valid: such as example.com or *.example.com`}},
	// HTTP.
	{list: "ingress", rule: `action: Allow, http: {methods: [GET], paths: [{exact: /a}, {prefix: /b}]}`},
	{list: "ingress", rule: `action: Allow, protocol: TCP, http: {methods: [GET]}`},
	{list: "ingress", rule: `action: Deny, http: {methods: [GET]}`, want: []string{"http: can't be used with action Deny"}},
	{list: "ingress", rule: `action: Allow, protocol: UDP, http: {methods: [GET]}`, want: []string{"http: can't be used with protocol UDP"}},
	{list: "egress", rule: `action: Allow, http: {methods: [GET]}`, want: []string{"http: can't be used in an egress rule"}},
	{list: "ingress", rule: `action: Allow, http: {paths: [{exact: /a, prefix: /b}, {}]}`, want: []string{"http.paths[0]: has both or neither", "http.paths[1]: has both or neither"}},
	{list: "ingress", rule: `action: Allow, http: {methods: ` + list(21, "GET") + `, paths: ` + list(21, "{exact: /a}") + `}`, want: []string{
		"http.methods: has 21 elements", "http.paths: has 21 elements"}},
}

func TestValidatePolicies(t *testing.T) {
	runSpecs(t, "p", []specCase{
		{kind: KindNetworkPolicy, spec: "{tier: t, order: -1.5, selector: a, serviceAccountSelector: b, types: [Egress, Ingress], performanceHints: [AssumeNeededOnEveryNode]}"},
		{kind: KindNetworkPolicy, spec: "{tier: A.b}", want: []string{`spec.tier: "A.b" is not a name of a tier`}},
		{kind: KindNetworkPolicy, spec: "{selector: global()}", want: []string{"spec.selector: global() can't be used here"}},
		{kind: KindNetworkPolicy, spec: "{serviceAccountSelector: global()}", want: []string{"spec.serviceAccountSelector: global() can't be used here"}},
		{kind: KindNetworkPolicy, spec: "{types: [Ingress, Ingress, Both]}", want: []string{"spec.types[1]: Ingress is given twice", `spec.types[2]: "Both" is unknown`}},
		{kind: KindNetworkPolicy, spec: "{types: [Ingress], egress: [{action: Allow}]}", want: []string{"warning: spec.egress: has no effect: spec.types lacks Egress"}},
		{kind: KindNetworkPolicy, spec: "{types: [Egress], ingress: [{action: Allow}]}", want: []string{"warning: spec.ingress: has no effect: spec.types lacks Ingress"}},
		{kind: KindNetworkPolicy, spec: "{performanceHints: [x]}", want: []string{`spec.performanceHints[0]: "x" is unknown`}},
		{kind: KindNetworkPolicy, spec: "{egress: " + list(1024, "{action: Allow}") + "}"},
		{kind: KindNetworkPolicy, spec: "{egress: " + list(1025, "{action: Allow}") + "}", want: []string{"spec.egress: has 1025 rules"}},
		{kind: KindNetworkPolicy, spec: "{namespaceSelector: a}", want: []string{"spec.namespaceSelector: unknown field"}},
		{kind: KindNetworkPolicy, spec: "{order: first, selector: [a], ingress: {}}", want: []string{
			"spec.ingress[0]: the list of rules is an object", `spec.order: "first" does not fit`, `spec.selector: ["a"] does not fit`}},

		{kind: KindGlobalNetworkPolicy, spec: "{namespaceSelector: a, applyOnForward: true, preDNAT: true, types: [Ingress]}"},
		{kind: KindGlobalNetworkPolicy, spec: "{applyOnForward: true, doNotTrack: true, egress: [{action: Deny}]}"},
		{kind: KindGlobalNetworkPolicy, spec: "{namespaceSelector: global()}", want: []string{"spec.namespaceSelector: global() can't be used here"}},
		{kind: KindGlobalNetworkPolicy, spec: "{applyOnForward: true, doNotTrack: true, preDNAT: true}", want: []string{"spec.preDNAT: can't go with doNotTrack"}},
		{kind: KindGlobalNetworkPolicy, spec: "{doNotTrack: true}", want: []string{"spec.applyOnForward: must be true with doNotTrack"}},
		{kind: KindGlobalNetworkPolicy, spec: "{preDNAT: true}", want: []string{"spec.applyOnForward: must be true with preDNAT"}},
		{kind: KindGlobalNetworkPolicy, spec: "{preDNAT: true, applyOnForward: true, types: [Egress], egress: [{action: Deny}]}", want: []string{
			"spec.egress: can't go with preDNAT", "spec.types: Egress can't go with preDNAT"}},

		{kind: KindProfile, spec: "{ingress: [{action: Allow}], labelsToApply: {a/b: c}}"},
		{kind: KindProfile, spec: "{egress: [{action: Nope}], labelsToApply: {'a b': c, d: 'e f'}}", want: []string{`spec.egress[0].action: "Nope" is unknown`,
			`spec.labelsToApply.a b: "a b" is not a key of a label`, `spec.labelsToApply.d: "e f" is not a value of a label`}},
		{kind: KindTier, spec: "{order: 1, defaultAction: Pass}"},
		{kind: KindTier, spec: "{defaultAction: Allow}", want: []string{`spec.defaultAction: "Allow" is unknown`}},
	})
	runSpecs(t, "kube-admin", []specCase{
		{kind: KindTier, spec: "{}"},
		{kind: KindTier, spec: "{order: 1000, defaultAction: Pass}"},
		{kind: KindTier, spec: "{order: 1, defaultAction: Deny}", want: []string{
			"spec.order: that of a built-in tier can't be changed", "spec.defaultAction: that of a built-in tier can't be changed"}},
	})
}

func TestValidateNetwork(t *testing.T) {
	runSpecs(t, "x", []specCase{
		{kind: KindNetworkSet, spec: `{nets: [10.0.0.0/8, "fd00::1"], allowedEgressDomains: ["*.a.io"]}`},
		{kind: KindGlobalNetworkSet, spec: "{nets: [10.0.0.1/8, 10/8], allowedEgressDomains: ['*']}", want: []string{
			"warning: spec.nets[0]: 10.0.0.1/8 has host bits: it counts as 10.0.0.0/8",
			`spec.nets[1]: "10/8" is not a CIDR; valid: such as 10.0.0.0/8, 2001:db8::/32, or an address`,
			`spec.allowedEgressDomains[0]: "*" is not a domain name; valid: such as example.com or *.example.com`}},
		{kind: KindHostEndpoint, spec: "{node: n1, interfaceName: '*', ports: [{name: http, protocol: TCP, port: 80}]}"},
		{kind: KindHostEndpoint, spec: "{node: n1, expectedIPs: [10.0.0.1, 'fd00::1']}"},
		{kind: KindHostEndpoint, spec: "{interfaceName: sixteencharacters}", want: []string{"spec.node: is missing", `spec.interfaceName: "sixteencharacters" is not an interface`}},
		{kind: KindHostEndpoint, spec: "{node: n1}", want: []string{"spec.interfaceName: is missing"}},
		{kind: KindHostEndpoint, spec: "{node: n1, expectedIPs: [10.0.0.0/8]}", want: []string{
			`spec.expectedIPs[0]: "10.0.0.0/8" is not an address; valid: such as 10.0.0.1 or 2001:db8::1`}},
		{kind: KindHostEndpoint, spec: "{node: n1, interfaceName: e, ports: [{name: '80', protocol: x, port: 0}]}", want: []string{
			`spec.ports[0].name: "80" is not a name of a port`, `spec.ports[0].protocol: unknown protocol "x"; valid: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or 1 to 255`,
			"spec.ports[0].port: is 0"}},
		{kind: KindHostEndpoint, spec: "{node: n1, interfaceName: e, ports: [{name: a, protocol: TCP, port: 70000}]}", want: []string{"spec.ports[0].port: 70000 does not fit"}},
		{kind: KindWorkloadEndpoint, spec: "{node: n1, ipNetworks: [10.0.0.1/32, 'fd00::1'], mac: 'ee:ee:ee:ee:ee:ee', ipv4Gateway: 169.254.1.1, ipv6Gateway: 'fe80::1'}"},
		{kind: KindWorkloadEndpoint, spec: "{ipNetworks: [10.0.0.0/24], mac: x, ipv4Gateway: 'fe80::1', ipNATs: [{internalIP: a, externalIP: 1.1.1.1}]}", want: []string{
			"spec.ipNetworks[0]: 10.0.0.0/24 is a whole network", "spec.ipv4Gateway: fe80::1 is of the other family",
			`spec.ipNATs[0].internalIP: "a" is not an address; valid: such as 10.0.0.1 or 2001:db8::1`, `spec.mac: "x" is not a MAC address`}},
		{kind: KindNode, spec: "{addresses: [{address: 10.0.0.1, type: InternalIP}], bgp: {ipv4Address: 10.0.0.1/24, asNumber: 64512}}"},
		{kind: KindNode, spec: "{addresses: [{address: x}], ipv4VXLANTunnelAddr: 'fd00::1'}", want: []string{
			`spec.addresses[0].address: "x" is not an address; valid: such as 10.0.0.1 or 2001:db8::1`, "spec.ipv4VXLANTunnelAddr: fd00::1 is of the other family"}},
	})
}

func TestValidateIPAM(t *testing.T) {
	runSpecs(t, "x", []specCase{
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/16, vxlanMode: Always, blockSize: 20, natOutgoing: true, allowedUses: [Tunnel], assignmentMode: Manual, nodeSelector: a}"},
		{kind: KindIPPool, spec: "{cidr: 'fd00::/64', blockSize: 128}"},
		{kind: KindIPPool, spec: "{}", want: []string{`spec.cidr: "" is not a CIDR`}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.1/16}", want: []string{"spec.cidr: 10.0.0.1/16 has host bits"}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/27}", want: []string{"spec.cidr: 10.0.0.0/27 is smaller than one block"}},
		{kind: KindIPPool, spec: "{cidr: 169.254.0.0/20}", want: []string{"spec.cidr: 169.254.0.0/20 overlaps the link-local 169.254.0.0/16"}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/8, blockSize: 19}", want: []string{"spec.blockSize: is 19"}},
		{kind: KindIPPool, spec: "{cidr: 'fd00::/64', blockSize: 115, ipipMode: Always}", want: []string{"spec.blockSize: is 115", "spec.ipipMode: IPIP carries IPv4 only"}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/8, ipipMode: Always, vxlanMode: CrossSubnet}", want: []string{"spec.vxlanMode: can't go with ipipMode Always"}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/8, ipipMode: Yep, assignmentMode: x, allowedUses: [z]}", want: []string{
			`spec.ipipMode: "Yep" is unknown`, `spec.assignmentMode: "x" is unknown`, `spec.allowedUses[0]: "z" is unknown`}},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/8, allowedUses: [LoadBalancer]}"},
		{kind: KindIPPool, spec: "{cidr: 10.0.0.0/8, allowedUses: [LoadBalancer, Tunnel], ipipMode: Always, nodeSelector: a, disableBGPExport: true}", want: []string{
			"spec.allowedUses: LoadBalancer excludes other uses", "spec.ipipMode: can't go with LoadBalancer", "spec.nodeSelector: can't go with LoadBalancer",
			"spec.disableBGPExport: can't go with LoadBalancer"}},
		{kind: KindIPReservation, spec: "{reservedCIDRs: [10.0.0.0/30, 10.1.1.1]}"},
		{kind: KindIPReservation, spec: "{reservedCIDRs: [x]}", want: []string{`spec.reservedCIDRs[0]: "x" is not an address; valid: such as 10.0.0.1 or 2001:db8::1`}},
		{kind: KindIPAMConfiguration, spec: "{maxBlocksPerHost: -1, ipCooldownSeconds: 1201, kubeVirtVMAddressPersistence: x}", want: []string{`metadata.name: is "x"`,
			"spec.maxBlocksPerHost: is -1", "spec.ipCooldownSeconds: is 1201", `spec.kubeVirtVMAddressPersistence: "x" is unknown`}},
		{kind: KindBlockAffinity, spec: "{state: confirmed, node: n1, cidr: 10.0.0.0/26}"},
		{kind: KindBlockAffinity, spec: "{state: x, type: w, cidr: z}", want: []string{`spec.state: "x" is unknown`, "spec.node: is missing", `spec.type: "w" is unknown`, `spec.cidr: "z" is not a CIDR`}},
		{kind: KindIPAMHandle, spec: "{handleID: h, block: {10.0.0.0/26: 1}}"},
		{kind: KindIPAMHandle, spec: "{block: {x: -1}}", want: []string{"spec.handleID: is missing", `spec.block.x: "x" is not a CIDR`, "spec.block.x: is -1"}},
		{kind: KindIPAMBlock, spec: "{cidr: 10.0.0.0/30, affinity: 'host:n', allocations: [0, null, null, null], unallocated: [1, 2, 3], attributes: [{handle_id: h}], sequenceNumber: 1}"},
		{kind: KindIPAMBlock, spec: "{cidr: 10.0.0.0/30, affinity: n1, allocations: [1, null], unallocated: [0, 1, 1, 4], attributes: []}", want: []string{
			"spec.allocations: has 2 elements", "spec.allocations[0]: is out of range", "spec.unallocated[0]: 0 is allocated", "spec.unallocated[2]: 1 is given twice",
			"spec.unallocated[3]: 4 is out of range", `spec.affinity: is "n1"`}},
		{kind: KindIPAMBlock, spec: "{cidr: 10.0.0.0/8}", want: []string{"spec.cidr: 10.0.0.0/8 is too large for a block"}},
	})
}

func TestValidateMetadata(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		metadata string
		want     []string
	}{
		{KindNetworkPolicy, "{name: application.x, namespace: ns, labels: {a: b}}", nil},
		{KindGlobalNetworkPolicy, "{name: knp.default.some.thing}", nil},
		{KindGlobalNetworkPolicy, "{name: ossg.default.x}", nil},
		{KindGlobalNetworkPolicy, "{name: a.b.c}", []string{`metadata.name: "a.b.c" is not a name of a policy`}},
		{KindNetworkPolicy, "{name: A, namespace: ns}", []string{`metadata.name: "A" is not a name of a policy`}},
		{KindNetworkPolicy, "{name: a}", []string{"metadata.namespace: is missing"}},
		{KindNetworkPolicy, "{name: a, namespace: a.b}", []string{`metadata.namespace: "a.b" is not a name of a namespace`}},
		{KindNetworkPolicy, "{}", []string{"metadata.name: is missing", "metadata.namespace: is missing"}},
		{KindTier, "{name: a.b}", []string{`metadata.name: "a.b" is not a name of a tier`}},
		{KindTier, "{name: a, namespace: x}", []string{"metadata.namespace: the kind has no namespaces"}},
		{KindWorkloadEndpoint, "{name: abc+eth0}", nil},
		{KindGlobalNetworkSet, "{name: a.b.c, labels: {projectcalico.org/namespace: x}}", []string{
			"metadata.labels.projectcalico.org/namespace: is set by felid, and can't be given"}},
		{KindGlobalNetworkSet, "{name: a_b, labels: {a: '-'}}", []string{`metadata.name: "a_b" is not a name`, `metadata.labels.a: "-" is not a value of a label`}},
		{KindTier, "{name: a, labels: {a: 1}}", []string{"metadata.labels.a: 1 does not fit"}},
		{KindTier, "{name: a, nmae: b}", []string{"metadata.nmae: unknown field"}},
	} {
		want := c.want
		if want == nil {
			want = []string{}
		}
		text := fmt.Sprintf("apiVersion: projectcalico.org/v3\nkind: %s\nmetadata: %s\n", c.kind, c.metadata)
		if diff := cmp.Diff(want, validateYAML(t, text)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.kind, c.metadata, diff)
		}
	}
}

func TestValidateUpdateAndDelete(t *testing.T) {
	pool := func(cidr string, size int) *IPPool { return &IPPool{Spec: IPPoolSpec{CIDR: cidr, BlockSize: size}} }
	if errs := ValidateUpdate(pool("10.0.0.0/16", 0), pool("10.0.0.0/16", 26)); len(errs) != 0 {
		t.Errorf("a default written out counts as a change: %v", errs)
	}
	if errs := ValidateUpdate(pool("10.0.0.0/16", 26), pool("10.1.0.0/16", 27)); len(errs) != 2 {
		t.Errorf("cidr and blockSize changed, errors: %v", errs)
	}
	if errs := ValidateDelete(Key{Kind: KindTier, Name: "default"}); len(errs) != 1 {
		t.Errorf("deletion of a built-in tier: %v", errs)
	}
	if errs := ValidateDelete(Key{Kind: KindTier, Name: "application"}); len(errs) != 0 {
		t.Errorf("deletion of a tier: %v", errs)
	}
}

// What the API server can't tell from what is wrong is refused as a whole object; a rule that is stored all the same means what it says.
func TestAgentsReadWhatIsRefused(t *testing.T) {
	tcp, odd := Protocol{Name: "TCP"}, Protocol{Name: "tCp"}
	for _, r := range []Rule{
		{Action: Allow, Protocol: &odd, Destination: EntityRule{Ports: []Port{{Min: 80, Max: 80}}}},
		{Action: Allow, Destination: EntityRule{Ports: []Port{{Name: "9p"}}}},
		{Action: Allow, Protocol: &tcp, Source: EntityRule{Selector: `a == "global()"`}},
	} {
		if errs := ValidateRule("spec.ingress[0]", &r, RuleContext{Object: Key{Kind: KindNetworkPolicy, Name: "p"}, Direction: PolicyTypeIngress}); len(errs) > 0 {
			t.Errorf("%+v: %v", r, errs)
		}
		p := &NetworkPolicy{Spec: NetworkPolicySpec{PolicySpec{Ingress: []Rule{r}}}}
		p.Name, p.Namespace = "p", "ns"
		if !Failed(Validate(p)) {
			t.Errorf("%+v is accepted", r)
		}
	}
}
