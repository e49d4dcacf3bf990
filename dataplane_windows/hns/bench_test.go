package hns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
)

// sample is a list of n ACLs, as long as lists of policy are.
func sample(n int) []ACL {
	out := make([]ACL, n)
	for i := range out {
		out[i] = ACL{
			ID: fmt.Sprintf("felid/NetworkPolicy/shop/allow-%d/in/0", i), Protocols: "6", Action: Allow, Direction: In, RemoteAddresses: fmt.Sprintf("10.0.%d.0/24,10.1.%d.7", i%256, i%256),
			LocalPorts: "80,443,8000-8080", RuleType: Switch, Priority: uint16(1000 + i),
		}
	}
	return out
}

// BenchmarkPutACLs builds the one request that writes a list of 1,000.
func BenchmarkPutACLs(b *testing.B) {
	acls := sample(1000)
	b.ReportAllocs()
	for b.Loop() {
		raw := make([]json.RawMessage, len(acls))
		for i := range acls {
			raw[i] = acls[i].Raw()
		}
		b.SetBytes(int64(len(policyRequest(requestUpdate, policyACL, raw))))
	}
}

// BenchmarkParseEndpoint reads an endpoint with 1,000 ACLs.
func BenchmarkParseEndpoint(b *testing.B) {
	e := NewEndpoint{ID: "E", Name: "e", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")}}
	for _, a := range sample(1000) {
		e.ACLs = append(e.ACLs, a.Raw())
	}
	raw, err := e.raw()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEndpoint(raw); err != nil {
			b.Fatal(err)
		}
	}
}
