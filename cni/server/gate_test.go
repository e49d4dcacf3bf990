package server

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestPassedOn(t *testing.T) {
	for _, tt := range []struct{ name, result, want string }{
		{"ptp, 1.0.0", `{"cniVersion":"1.0.0","interfaces":[{"name":"veth1"},{"name":"eth0","sandbox":"/run/netns/x"}],
			"ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":1},{"address":"fd00::3/64","interface":1}]}`, "10.1.2.3 fd00::3"},
		{"azure-vnet, 0.3.0: no sandbox, no index", `{"cniVersion":"0.3.0","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.224.0.7/16"}]}`, "10.224.0.7"},
		{"no interfaces", `{"ips":[{"address":"10.1.2.3/32"}]}`, "10.1.2.3"},
		{"other interfaces' addresses", `{"interfaces":[{"name":"br0"},{"name":"net1","sandbox":"x"},{"name":"eth0","sandbox":"x"}],
			"ips":[{"address":"10.9.9.1/24","interface":0},{"address":"10.9.9.2/24","interface":1},{"address":"10.1.2.3/24","interface":2}]}`, "10.1.2.3"},
		{"an index that leads nowhere", `{"ips":[{"address":"10.1.2.3/24","interface":7}]}`, "10.1.2.3"},
		{"IPv4 written as IPv6", `{"ips":[{"address":"::ffff:10.1.2.3/120"}]}`, "10.1.2.3"},
	} {
		got, err := passedOn(json.RawMessage(tt.result), "eth0")
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if err != nil || strings.Join(texts, " ") != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, texts, err, tt.want)
		}
	}
	for result, says := range map[string]string{
		"":          "prevResult is missing",
		`{}`:        "no address of eth0",
		`[]`:        "prevResult: json",
		`{"ips":1}`: "prevResult: json",
		`{"interfaces":[{"name":"net1"}],"ips":[{"address":"10.1.2.3/24","interface":0}]}`: "no address of eth0",
	} {
		var raw json.RawMessage
		if result != "" {
			raw = json.RawMessage(result)
		}
		if got, err := passedOn(raw, "eth0"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v; want %q", result, got, err, says)
		}
	}
}

func FuzzPassedOn(f *testing.F) {
	f.Add([]byte(`{"interfaces":[{"name":"eth0"}],"ips":[{"address":"10.1.2.3/24","interface":0}]}`))
	f.Add([]byte(`{"ips":[{"address":"","interface":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		addrs, err := passedOn(data, "eth0")
		if (err == nil) != (len(addrs) > 0) {
			t.Errorf("%v, %v", addrs, err)
		}
		if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() || a.Is4In6() }) {
			t.Errorf("%v", addrs)
		}
	})
}

func TestSameAddresses(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	if err := sameAddresses([]netip.Addr{a, b}, []netip.Addr{b, a}); err != nil {
		t.Error(err)
	}
	if err := sameAddresses([]netip.Addr{a}, []netip.Addr{a, b}); err == nil || !strings.Contains(err.Error(), "fd00::1 of prevResult is not on record") {
		t.Error(err)
	}
	if err := sameAddresses([]netip.Addr{a, b}, []netip.Addr{a}); err == nil || !strings.Contains(err.Error(), "fd00::1 is not in prevResult any more") {
		t.Error(err)
	}
}
