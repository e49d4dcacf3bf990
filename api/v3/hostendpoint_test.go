package v3

import (
	"slices"
	"strings"
	"testing"
)

// TestUnreadableHostEndpoint: agents keep the object where it is known whose it is, and know what it lacks; people's input is refused.
func TestUnreadableHostEndpoint(t *testing.T) {
	for _, c := range []struct {
		body      string // beside the name
		invalid   string // how Spec.Invalid begins; "" for nothing
		iface     string
		addresses []string
		ports     int
		gone      bool
	}{
		{body: `"spec":{"node":"n","interfaceName":5}`, invalid: "spec.interfaceName 5", iface: UnreadableInterface},
		{body: `"spec":{"node":"n","interfaceName":"a","interfaceName":"b"}`, invalid: "spec.interfaceName is given twice", iface: UnreadableInterface},
		{body: `"spec":{"node":"n","interfaceName":"eth0","expectedIPs":"10.0.0.1"}`, invalid: "spec.expectedIPs is", iface: "eth0"},
		{body: `"spec":{"node":"n","interfaceName":"eth0","expectedIPs":["10.0.0.1",7]}`, iface: "eth0", addresses: []string{"10.0.0.1", "7"}},
		{body: `"spec":{"node":"n","interfaceName":"eth0","profiles":{}}`, invalid: "spec.profiles is", iface: "eth0"},
		{body: `"spec":{"node":"n","interfaceName":"eth0","ports":7}`, invalid: "spec.ports is", iface: "eth0"},
		{body: `"spec":{"node":"n","interfaceName":"eth0","ports":[{"name":"a","protocol":"TCP","port":70000},{"name":"b","protocol":"TCP","port":7}]}`, iface: "eth0", ports: 2},
		{body: `"spec":{"node":"n","interfaceName":"eth0","mood":"good"}`, iface: "eth0"},
		{body: `"metadata":{"name":"h","labels":{"role":5}},"spec":{"node":"n","interfaceName":"eth0"}`, invalid: "metadata.labels.role 5", iface: "eth0"},
		{body: `"metadata":{"name":"h","labels":[]},"spec":{"node":"n","interfaceName":"eth0"}`, invalid: "metadata.labels is", iface: "eth0"},
		{body: `"spec":{"node":5,"interfaceName":"eth0"}`, gone: true},
		{body: `"spec":5`, gone: true},
		{body: `"metadata":{"name":5},"spec":{"node":"n"}`, gone: true},
	} {
		if !strings.Contains(c.body, `"metadata"`) {
			c.body = `"metadata":{"name":"h"},` + c.body
		}
		if o, errs := DecodeJSON(KindHostEndpoint, []byte("{"+c.body+"}"), true); o != nil || len(errs) == 0 {
			t.Errorf("%s: read strictly as %v", c.body, o)
		}
		o, errs := DecodeJSON(KindHostEndpoint, []byte("{"+c.body+"}"), false)
		if (o == nil) != c.gone || len(errs) == 0 {
			t.Errorf("%s: %v, errors %v", c.body, o, errs)
		}
		if o == nil {
			continue
		}
		s := o.(*HostEndpoint).Spec
		if s.Node != "n" || s.InterfaceName != c.iface || !slices.Equal(s.ExpectedIPs, c.addresses) || len(s.Ports) != c.ports ||
			(s.Invalid == "") != (c.invalid == "") || !strings.HasPrefix(s.Invalid, c.invalid) {
			t.Errorf("%s: %+v", c.body, s)
		}
	}
}

func TestInterfaceProblem(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "*": true, "eth0": true, "enp0s31f6.4094": true, UnreadableInterface: false, "a b": false, "eth0/1": false, "eth*": false, "sixteencharacters": false,
	} {
		if err := (&HostEndpointSpec{InterfaceName: name}).InterfaceProblem(); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
