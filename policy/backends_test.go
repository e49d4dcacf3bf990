package policy_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

func TestBackends(t *testing.T) {
	tcp, udp := v3.Protocol{Name: "TCP"}, v3.Protocol{Name: "UDP"}
	view := func(name, selector string) *v3.ServiceEndpoints {
		return &v3.ServiceEndpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Spec: v3.ServiceEndpointsSpec{
			Selector: selector, Ports: []v3.ServicePort{
				{Name: "web", Protocol: tcp, Port: 80, Target: v3.Port{Name: "http"}}, {Name: "same", Protocol: tcp, Port: 81}, {Name: "dns", Protocol: udp, Port: 53, Target: v3.Port{Min: 5353, Max: 5353}},
			},
		}}
	}
	x, y, other := pod("a", "x", map[string]string{"app": "web"}, "10.0.0.1", "fd00::1"), pod("a", "y", map[string]string{"app": "web"}, "10.0.0.2"), pod("b", "z", map[string]string{"app": "web"}, "10.0.0.3")
	x.Spec.Ports = []v3.EndpointPort{{Name: "http", Protocol: tcp, Port: 8080}}
	y.Spec.Ports = []v3.EndpointPort{{Name: "http", Protocol: udp, Port: 8081}}
	slice := func(name string, endpoints ...v3.ServiceEndpoint) *v3.ServiceEndpoints {
		return &v3.ServiceEndpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Spec: v3.ServiceEndpointsSpec{Service: "sliced", Endpoints: endpoints}}
	}
	ports := []v3.EndpointPort{{Name: "web", Protocol: tcp, Port: 8080}, {Name: "dns", Protocol: udp, Port: 5353}}
	objects := []v3.Object{
		x, y, other, view("plain", "app == 'web'"), view("sliced", "app == 'web'"), view("bare", ""),
		slice("sliced/2", v3.ServiceEndpoint{Address: "10.9.0.2", Ports: ports}),
		slice("sliced/1", v3.ServiceEndpoint{Address: "10.9.0.1", Ports: ports}, v3.ServiceEndpoint{Address: "10.9.0.2", Ports: ports}, v3.ServiceEndpoint{Address: "nonsense", Ports: ports}),
	}
	for _, test := range []struct {
		service  string
		protocol uint8
		port     uint16
		want     string
	}{
		{"plain", dataplane.ProtoTCP, 80, "[10.0.0.1:8080 [fd00::1]:8080]"},
		{"plain", dataplane.ProtoTCP, 81, "[10.0.0.1:81 10.0.0.2:81 [fd00::1]:81]"},
		{"plain", dataplane.ProtoUDP, 53, "[10.0.0.1:5353 10.0.0.2:5353 [fd00::1]:5353]"},
		{"sliced", dataplane.ProtoTCP, 80, "[10.9.0.1:8080 10.9.0.2:8080]"},
		{"sliced", dataplane.ProtoTCP, 81, "[]"},
		{"bare", dataplane.ProtoTCP, 80, "[]"},
		{"plain", dataplane.ProtoTCP, 53, "service/a/plain has no port 53 of TCP; it has: 80 TCP, 81 TCP, 53 UDP"},
		{"none", dataplane.ProtoTCP, 80, "service/a/none does not exist"},
	} {
		got, err := policy.Backends(objects, "a", test.service, test.protocol, test.port)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != test.want {
			t.Errorf("%s port %d: %s, want %s", test.service, test.port, text, test.want)
		}
	}
}
