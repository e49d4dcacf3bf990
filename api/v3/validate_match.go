package v3

import "fmt"

func (v *validator) services(path string, r *Rule, egress bool) {
	v.service(path+".source", &r.Source, !egress, "the source of ingress rules")
	v.service(path+".destination", &r.Destination, egress, "the destination of egress rules")
	d := &r.Destination
	if d.Services != nil {
		v.expect(len(d.Ports)+len(d.NotPorts) == 0, path+".destination.ports", "none: the service has its own", "can't go with services")
	}
}

func (v *validator) service(path string, e *EntityRule, allowed bool, where string) {
	if e.Services == nil {
		return
	}
	at := path + ".services"
	v.expect(allowed, at, where, "can't be used here")
	v.expect(e.Services.Name != "", at+".name", "the name of a service", "is missing")
	switch v.kind {
	case KindNetworkPolicy, KindStagedNetworkPolicy, KindKubernetesNetworkPolicy:
	default:
		v.expect(e.Services.Namespace != "", at+".namespace", "the namespace of the service", "is missing")
	}
	others := []struct {
		field string
		given bool
	}{
		{"nets", len(e.Nets) > 0}, {"notNets", len(e.NotNets) > 0}, {"selector", e.Selector != ""}, {"notSelector", e.NotSelector != ""},
		{"namespaceSelector", e.NamespaceSelector != ""}, {"serviceAccounts", e.ServiceAccounts != nil}, {"domains", len(e.Domains) > 0},
	}
	for _, other := range others {
		v.expect(!other.given, path+"."+other.field, "services alone", "can't go with services")
	}
}

func (v *validator) domains(path string, r *Rule, egress bool) {
	v.expect(len(r.Source.Domains) == 0, path+".source.domains", "the destination of egress rules", "can't be used here")
	if len(r.Destination.Domains) == 0 {
		return
	}
	at := path + ".destination.domains"
	v.expect(egress, at, "the destination of egress rules", "can't be used here")
	v.expect(r.Action == Allow || r.Action == Log, at, "rules with action Allow or Log", "can't be used with action %s", r.Action)
	v.domainNames(at, r.Destination.Domains)
}

func (v *validator) domainNames(field string, names []string) {
	for i, name := range names {
		if len(name) > 253 || !domainName.MatchString(name) {
			v.element(fmt.Sprintf("%s[%d]", field, i), fmt.Errorf("%q is not a domain name; valid: such as example.com or *.example.com", name))
		}
	}
}

func (v *validator) http(path string, r *Rule, egress bool) {
	if r.HTTP == nil {
		return
	}
	n := protocolNumber(r)
	v.expect(!egress, path, "ingress rules", "can't be used in an egress rule")
	v.expect(r.Action == Allow, path, "rules with action Allow", "can't be used with action %s", r.Action)
	v.expect(r.Protocol == nil || n == 6, path, "protocol TCP, or none", "can't be used with protocol %s", r.Protocol)
	v.expect(len(r.HTTP.Methods) <= maxHTTP, path+".methods", fmt.Sprintf("at most %d", maxHTTP), "has %d elements", len(r.HTTP.Methods))
	v.expect(len(r.HTTP.Paths) <= maxHTTP, path+".paths", fmt.Sprintf("at most %d", maxHTTP), "has %d elements", len(r.HTTP.Paths))
	for i, p := range r.HTTP.Paths {
		v.expect((p.Exact == "") != (p.Prefix == ""), fmt.Sprintf("%s.paths[%d]", path, i), "one of exact and prefix", "has both or neither")
	}
}
