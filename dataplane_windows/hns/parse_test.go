package hns

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sameValues = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestParseNetwork(t *testing.T) {
	got, err := ParseNetwork(json.RawMessage(`{"ID":"{fe6a39d6-9b09-4d64-9bb1-7c6b2bd38eb2}","Name":"azure","Flags":8,
"Ipams":[{"Type":"Static","Subnets":[{"IpAddressPrefix":"10.240.0.0/16","Routes":[{"NextHop":"10.240.0.1","DestinationPrefix":"0.0.0.0/0"}]},{"IpAddressPrefix":"odd"}]}],
"Policies":[{"Type":"NetAdapterName","Settings":{"NetworkAdapterName":"Ethernet"}},
 {"Type":"SetPolicy","Settings":{"Id":"a","Name":"A","PolicyType":"IPSET","Values":"10.0.0.1, 10.1.2.3/16,odd,2001:db8::/32"}},
 {"Type":"SetPolicy","Settings":{"Id":"n","Name":"N","PolicyType":"NESTEDIPSET","Values":"a"}}]}`))
	want := Network{ID: "FE6A39D6-9B09-4D64-9BB1-7C6B2BD38EB2", Name: "azure", Type: "NAT", Subnets: []netip.Prefix{netip.MustParsePrefix("10.240.0.0/16")},
		Sets: []Set{{ID: "a", Name: "A", Members: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}}}}
	if diff := cmp.Diff(want, got, sameValues); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestParseEndpoint(t *testing.T) {
	got, err := ParseEndpoint(json.RawMessage(`{"ID":"{aa}","Name":"pod_azure","HostComputeNetwork":"bb","HostComputeNamespace":"00000000-0000-0000-0000-000000000000","Flags":1,"State":2,
"IpConfigurations":[{"IpAddress":"10.0.0.5","PrefixLength":16},{"IpAddress":"2001:db8::5","PrefixLength":64},{"IpAddress":""}],
"Policies":[{"Type":"OutBoundNAT","Settings":{}},{"Type":"ACL","Settings":{"Protocols":6,"Action":"Block","Direction":"Out","Priority":200,"Scope":0}},
 {"Type":"ACL","Settings":{"Protocols":"256","Action":"Allow","Direction":"In"}},{"Type":"ACL","Settings":{"Priority":70000}},{"Type":"ACL"}]}`))
	want := Endpoint{ID: "AA", Name: "pod_azure", Network: "BB", State: StateAttached, Remote: true,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")},
		Others:    []string{"OutBoundNAT"},
		ACLs:      []ACL{{Protocols: "6", Action: Block, Direction: Out, Priority: 200}, {Action: Allow, Direction: In}, {}},
		Raw: []json.RawMessage{json.RawMessage(`{"Protocols":6,"Action":"Block","Direction":"Out","Priority":200,"Scope":0}`),
			json.RawMessage(`{"Protocols":"256","Action":"Allow","Direction":"In"}`), json.RawMessage(`{"Priority":70000}`)}}
	if diff := cmp.Diff(want, got, sameValues); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestObjectsWithoutID(t *testing.T) {
	for _, raw := range []string{`{}`, `{"ID":"{}"}`, `[]`, `{"ID":5}`, ``} {
		_, n := ParseNetwork(json.RawMessage(raw))
		_, e := ParseEndpoint(json.RawMessage(raw))
		_, s := ParseNamespace(json.RawMessage(raw))
		if n == nil || e == nil || s == nil {
			t.Errorf("%q: %v, %v, %v; want errors", raw, n, e, s)
		}
	}
}

func TestRequests(t *testing.T) {
	acl := ACL{ID: `a "b" é`, Protocols: "6", Action: Allow, Direction: In, LocalPorts: "80", RuleType: Switch, Priority: 900}
	set := Set{ID: "s", Name: "S", Members: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.1.0.0/16")}}
	network, _ := NewNetwork{Name: "n", Type: "Private", Subnets: []Subnet{{netip.MustParsePrefix("2001:db8::/64"), netip.MustParseAddr("2001:db8::1")}}}.raw()
	endpoint, _ := NewEndpoint{ID: "I", Name: "e", Network: "N", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")}, ACLs: []json.RawMessage{json.RawMessage(`{"x":1}`)}}.raw()
	for _, c := range []struct {
		got  json.RawMessage
		want string
	}{
		{acl.Raw(), `{"Id":"a \"b\" é","Protocols":"6","Action":"Allow","Direction":"In","LocalPorts":"80","RuleType":"Switch","Priority":900}`},
		{ACL{}.Raw(), `{}`},
		{policyRequest(requestUpdate, policyACL, []json.RawMessage{json.RawMessage(`{"a":1}`), json.RawMessage(`{"b":2}`)}),
			`{"ResourceType":"Policy","RequestType":"Update","Settings":{"Policies":[{"Type":"ACL","Settings":{"a":1}},{"Type":"ACL","Settings":{"b":2}}]}}`},
		{setsRequest(requestAdd, []Set{set}),
			`{"ResourceType":"Policy","RequestType":"Add","Settings":{"Policies":[{"Type":"SetPolicy","Settings":{"Id":"s","Name":"S","PolicyType":"IPSET","Values":"10.0.0.1,10.1.0.0/16"}}]}}`},
		{attachRequest(requestAdd, "E"), `{"ResourceType":"Endpoint","RequestType":"Add","Settings":{"EndpointId":"E"}}`},
		{network, `{"Name":"n","Type":"Private","Flags":8,"Ipams":[{"Type":"Static","Subnets":[{"IpAddressPrefix":"2001:db8::/64","Routes":[{"NextHop":"2001:db8::1","DestinationPrefix":"::/0"}]}]}],"SchemaVersion":{"Major":2,"Minor":0}}`},
		{endpoint, `{"ID":"I","Name":"e","HostComputeNetwork":"N","IpConfigurations":[{"IpAddress":"10.0.0.5","PrefixLength":24}],"Policies":[{"Type":"ACL","Settings":{"x":1}}],"SchemaVersion":{"Major":2,"Minor":0}}`},
	} {
		if string(c.got) != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	const gone = `{"Success":false,"Error":"The endpoint was not found. ","ErrorCode":2151350274}`
	for _, c := range []struct {
		err                              *Error
		text                             string
		notFound, unavailable, retryable bool
	}{
		{NewError("get", KindEndpoint, "E", 0x803b0002, gone), "HNS: get Endpoint E: HCN_E_ENDPOINT_NOT_FOUND (0x803b0002): The endpoint was not found.", true, false, true},
		{NewError("get", KindEndpoint, "E", 31, gone), "HNS: get Endpoint E: HCN_E_ENDPOINT_NOT_FOUND (0x803b0002): The endpoint was not found.", true, false, true},
		{NewError("get", KindEndpoint, "E", 0, `{"Error":"x","ErrorCode":-2143617022}`), "HNS: get Endpoint E: HCN_E_ENDPOINT_NOT_FOUND (0x803b0002): x", true, false, true},
		{NewError("get", KindNamespace, "N", 0x80070490, ""), "HNS: get Namespace N: ERROR_NOT_FOUND (0x490)", true, false, true},
		{NewError("list", KindEndpoint, "", 0, "HNS failed with error : Element not found."), "HNS: list Endpoint: HNS failed with error : Element not found.", true, false, true},
		{NewError("version", "", "", 0x800706ba, ""), "HNS: version: RPC_S_SERVER_UNAVAILABLE (0x6ba)", false, true, true},
		{NewError("list", KindEndpoint, "", 0x80010108, "gone"), "HNS: list Endpoint: (0x80010108): gone", false, true, true},
		{NewError("modify", KindEndpoint, "E", 0x803b000d, "{broken"), "HNS: modify Endpoint E: HCN_E_INVALID_POLICY (0x803b000d): {broken", false, false, false},
		{NewError("list", KindEndpoint, "", codeModuleNotFound, "no DLL"), "HNS: list Endpoint: ERROR_MOD_NOT_FOUND (0x7e): no DLL", false, true, false},
	} {
		if got := c.err.Error(); got != c.text {
			t.Errorf("got  %s\nwant %s", got, c.text)
		}
		if n, u, r := NotFound(c.err), Unavailable(c.err), Retryable(c.err); n != c.notFound || u != c.unavailable || r != c.retryable {
			t.Errorf("%v: not found %v, unavailable %v, retryable %v", c.err, n, u, r)
		}
	}
}

func TestErrorTextOfHcsshim(t *testing.T) {
	const full = `hcnOpenEndpoint failed in Win32: The endpoint was not found. (0x803b0002) {"Error":"x (0x1) y"}`
	if code, rest := codeIn(full), record(full); code != 0x803b0002 || rest != `{"Error":"x (0x1) y"}` {
		t.Errorf("%x, %q", code, rest)
	}
	if code := codeIn("hnsCall failed in Win32: The RPC server is unavailable. (0x6ba)"); code != 1722 {
		t.Errorf("%x", code)
	}
	if code, rest := codeIn("HNS failed with error : (0x1)"), record("no form"); code != 0 || rest != "no form" {
		t.Errorf("%x, %q", code, rest)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"ID":"a","Policies":[{"Type":"ACL","Settings":{"Action":"Allow","Direction":"In","Priority":1,"Protocols":6}}],"IpConfigurations":[{"IpAddress":"::1%eth0"}],"State":3}`,
		`{"ID":"a","Ipams":[{"Subnets":[{"IpAddressPrefix":"::ffff:1.2.3.4/120"}]}],"Policies":[{"Type":"SetPolicy","Settings":{"Id":"s","PolicyType":"IPSET","Values":"1.2.3.4,::ffff:1.2.3.4/100"}}]}`,
		`{"ID":"n","NamespaceId":3,"Resources":[{"Type":"Endpoint","Data":{"ID":"e"}}]}`, `{"Error":"x","ErrorCode":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEndpoint(b); err == nil {
			if e.ID == "" || len(e.ACLs) != len(e.Raw) {
				t.Fatalf("%+v", e)
			}
			for i, a := range e.ACLs {
				checkACL(t, a, e.Raw[i])
			}
		}
		if n, err := ParseNetwork(b); err == nil {
			for _, s := range n.Sets {
				again, ok := parseSet(s.Raw())
				if !ok || !again.Equal(s) {
					t.Fatalf("%+v is read back as %+v", s, again)
				}
			}
		}
		ParseNamespace(b)
		cutCode(string(b))
		_ = NewError("get", KindEndpoint, "", 0, string(b)).Error()
	})
}

// checkACL: what was read can be written and read again; what could not be read is the zero ACL.
func checkACL(t *testing.T, a ACL, raw json.RawMessage) {
	if a == (ACL{}) {
		return
	}
	again, err := ParseACL(a.Raw())
	if err != nil || !reflect.DeepEqual(a, again) {
		t.Fatalf("%s: %+v is read back as %+v, %v", raw, a, again, err)
	}
	if strings.Contains(string(a.Raw()), "\n") {
		t.Fatalf("%s", a.Raw())
	}
}
