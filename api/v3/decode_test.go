package v3

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestDecodeLenientlyKeepsWhatCanBeJudged(t *testing.T) {
	text := `{"metadata":{"name":"p","namespace":"ns","annotations":{"a":1}},"spec":{"selector":"a","order":"x","future":true,
		"ingress":[{"action":"Deny","futureMatch":1,"source":{"nets":["10.0.0.0/8",5],"zone":"z"}},{"action":"Deny","source":{"selector":5,"nets":"10.0.0.0/8"}},7,null,
			{"action":5},{"action":"Allow","protocol":"TPC","destination":{"ports":[80,[1]]}}],
		"egress":"all"}}`
	o, errs := DecodeJSON(KindNetworkPolicy, []byte(text), false)
	if o == nil {
		t.Fatal(errs)
	}
	p := o.(*NetworkPolicy)
	want := &NetworkPolicy{}
	want.APIVersion, want.Kind, want.Namespace, want.Name = APIVersion, "NetworkPolicy", "ns", "p"
	want.Annotations = map[string]string{}
	want.Spec.Selector = "a"
	want.Spec.Ingress = []Rule{
		{Action: Deny, Source: EntityRule{Nets: []string{"10.0.0.0/8", "5"}}, Unknown: []string{"futureMatch", "source.zone"}},
		{Action: Deny, Invalid: "spec.ingress[1].source.nets is a string"},
		{Invalid: "spec.ingress[2] is a number instead of an object"},
		{Invalid: "spec.ingress[3] is null instead of an object"},
		{Invalid: "spec.ingress[4].action 5 does not fit"},
		{Action: Allow, Protocol: &Protocol{Name: "TPC"}, Destination: EntityRule{Ports: []Port{{Min: 80, Max: 80}, {Name: "<[1]>"}}}},
	}
	want.Spec.Egress = []Rule{{Invalid: "spec.egress[0] the list of rules is a string"}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strict, _ := DecodeJSON(KindNetworkPolicy, []byte(text), true); strict != nil {
		t.Error("strict decoding accepts it")
	}
}

func TestDecodeLenientlyGivesUpOnWhatDecidesWhoIsSelected(t *testing.T) {
	for _, spec := range []string{`{"selector":5}`, `{"tier":[]}`, `{"types":"Ingress"}`, `5`, `{"serviceAccountSelector":{}}`} {
		o, errs := DecodeJSON(KindNetworkPolicy, []byte(`{"metadata":{"name":"p","namespace":"ns"},"spec":`+spec+`}`), false)
		if o != nil || len(errs) != 1 || errs[0].Object != "NetworkPolicy ns/p" {
			t.Errorf("%s: %v %v", spec, o, errs)
		}
	}
	for _, text := range []string{``, `[]`, `{"metadata":`, `{} {}`} {
		if o, errs := DecodeJSON(KindTier, []byte(text), false); o != nil || !Failed(errs) {
			t.Errorf("%q: %v %v", text, o, errs)
		}
	}
	if o, errs := DecodeJSON("Teir", []byte(`{}`), false); o != nil || !Failed(errs) {
		t.Errorf("an unknown kind is decoded: %v", o)
	}
}

func TestFieldNamesAreMatchedExactly(t *testing.T) {
	_, errs := DecodeJSON(KindTier, []byte(`{"metadata":{"name":"a"},"spec":{"Order":1}}`), true)
	if len(errs) != 1 || errs[0].Field != "spec.Order" || errs[0].Valid != "order" {
		t.Errorf("%v", errs)
	}
}

func TestKindsKnownByNameAloneAreKeptAsWritten(t *testing.T) {
	text := `{"apiVersion":"projectcalico.org/v3","kind":"BGPPeer","metadata":{"name":"a"},"spec":{"peerIP":"10.0.0.1","x":[1,{}]},"extra":2}`
	o, errs := DecodeJSON("BGPPeer", []byte(text), true)
	if len(errs) > 0 || o.GetKind() != "BGPPeer" || o.GetName() != "a" {
		t.Fatalf("%v %v", o, errs)
	}
	roundTrip(t, o)
	data, err := Encode(o.Copy())
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if json.Unmarshal(data, &got) != nil || json.Unmarshal([]byte(text), &want) != nil || !cmp.Equal(got, want) {
		t.Errorf("is stored as %s", data)
	}
}

func TestRoundTripOfEveryKind(t *testing.T) {
	for _, info := range Kinds() {
		o, ok := newObject(info.Kind)
		if !ok {
			t.Fatalf("%s can't be made", info.Kind)
		}
		*typeMeta(o) = metav1.TypeMeta{APIVersion: APIVersion, Kind: string(info.Kind)}
		o.SetName("a")
		o.SetLabels(map[string]string{"a": "b"})
		if o.GetKind() != info.Kind {
			t.Errorf("%s says it is %s", info.Kind, o.GetKind())
		}
		if u, ok := o.(*Unenforced); ok {
			u.Content = map[string]json.RawMessage{}
		}
		if diff := cmp.Diff(o, o.Copy()); diff != "" {
			t.Errorf("%s: copy (-want +got):\n%s", info.Kind, diff)
		}
		SetDefaults(o)
		roundTrip(t, o)
		if _, found := FindKind(strings.ToUpper(info.Plural)); !found {
			t.Errorf("%s is not found", info.Plural)
		}
	}
}

func TestPortsAndProtocolsKeepTheirForm(t *testing.T) {
	for _, text := range []string{`80`, `"80:90"`, `"http"`, `0`} {
		var p Port
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Problem() != nil {
			t.Errorf("%s: %v, %v", text, err, p.Problem())
		}
		if data, err := json.Marshal(p); err != nil || string(data) != text {
			t.Errorf("port %s is written %s, %v", text, data, err)
		}
	}
	for text, number := range map[string]uint8{`"TCP"`: 6, `"tcp"`: 6, `17`: 17, `"UDPLite"`: 136} {
		var p Protocol
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if n, ok := p.Number8(); !ok || n != number {
			t.Errorf("%s is protocol %d", text, n)
		}
		if data, err := json.Marshal(p); err != nil || string(data) != text {
			t.Errorf("protocol %s is written %s, %v", text, data, err)
		}
	}
}

func TestParseCIDR(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "fd00::1": "fd00::1/128", "10.1.2.3/8": "10.0.0.0/8", "::/0": "::/0"} {
		prefix, warning, err := ParseCIDR(text)
		if err != nil || prefix.String() != want || (warning != "") != (text == "10.1.2.3/8") {
			t.Errorf("%s: %s, %q, %v", text, prefix, warning, err)
		}
	}
	for _, text := range []string{"", "10", "10.0.0.0/33", "fe80::1%eth0", "::ffff:1.2.3.4", "::ffff:1.2.3.4/120", "10.0.0.0/08", "a/b/c", "10.0.0.0/-1"} {
		if prefix, _, err := ParseCIDR(text); err == nil {
			t.Errorf("%q is read as %s", text, prefix)
		}
	}
}

func TestEffectiveTypes(t *testing.T) {
	rules := []Rule{{Action: Allow}}
	for _, c := range []struct {
		spec PolicySpec
		want []PolicyType
	}{
		{PolicySpec{}, []PolicyType{PolicyTypeIngress}},
		{PolicySpec{Ingress: rules}, []PolicyType{PolicyTypeIngress}},
		{PolicySpec{Egress: rules}, []PolicyType{PolicyTypeEgress}},
		{PolicySpec{Ingress: rules, Egress: rules}, []PolicyType{PolicyTypeIngress, PolicyTypeEgress}},
		{PolicySpec{Ingress: rules, Types: []PolicyType{PolicyTypeEgress}}, []PolicyType{PolicyTypeEgress}},
	} {
		if diff := cmp.Diff(c.want, c.spec.EffectiveTypes()); diff != "" {
			t.Errorf("%+v: %s", c.spec, diff)
		}
	}
}

func TestValidateRuleTellsElementsFromTheRule(t *testing.T) {
	r := Rule{Action: "Alow", Unknown: []string{"source.zone"}, Source: EntityRule{Nets: []string{"x", "10.0.0.0/8"}}}
	errs := ValidateRule("spec.egress[2]", &r, RuleContext{Object: Key{Kind: KindGlobalNetworkPolicy, Name: "g"}, Direction: PolicyTypeEgress})
	got := map[string]bool{}
	for _, e := range errs {
		got[e.Object+" "+e.Field] = e.Element
	}
	want := map[string]bool{"GlobalNetworkPolicy g spec.egress[2].source.zone": false, "GlobalNetworkPolicy g spec.egress[2].action": false,
		"GlobalNetworkPolicy g spec.egress[2].source.nets[0]": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
