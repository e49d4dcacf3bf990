package v3

import (
	"testing"
)

const wepJSON = `{"apiVersion":"projectcalico.org/v3","kind":"WorkloadEndpoint","metadata":{"name":"web-1","namespace":"web-ns","uid":"6f0ad3a4-3a0c-4d8f-9a3e-1c1f8f5d9a10","resourceVersion":"12345","creationTimestamp":"2026-01-31T12:00:00Z","labels":{"app":"web-1","tier":"front","projectcalico.org/namespace":"web-ns","projectcalico.org/orchestrator":"k8s"}},"spec":{"orchestrator":"k8s","node":"node-1","containerID":"0123456789abcdef0123456789abcdef","pod":"web-1","endpoint":"eth0","serviceAccountName":"default","ipNetworks":["10.65.0.12/32","fd00:1::c/128"],"profiles":["kns.web-ns","ksa.web-ns.default"],"interfaceName":"fld0123456789a","mac":"ee:ee:ee:ee:ee:ee","ports":[{"name":"http","protocol":"TCP","port":8080}]}}`

const policyJSON = `{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"application.allow-web","namespace":"web-ns","resourceVersion":"7"},"spec":{"tier":"application","order":100,"selector":"app == \"web-1\"","types":["Ingress","Egress"],"ingress":[{"action":"Allow","protocol":"TCP","source":{"selector":"app == \"front\"","namespaceSelector":"team == \"a\""},"destination":{"ports":[80,"8000:8010"]}},{"action":"Deny","source":{"nets":["10.0.0.0/8"]}}],"egress":[{"action":"Allow","protocol":"UDP","destination":{"ports":[53]}}]}}`

func BenchmarkDecodeWorkloadEndpoint(b *testing.B) { benchmarkDecode(b, KindWorkloadEndpoint, wepJSON) }

func BenchmarkDecodeNetworkPolicy(b *testing.B) { benchmarkDecode(b, KindNetworkPolicy, policyJSON) }

func benchmarkDecode(b *testing.B, kind Kind, text string) {
	data := []byte(text)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, errs := DecodeJSON(kind, data, true); errs != nil {
			b.Fatal(errs)
		}
	}
}
