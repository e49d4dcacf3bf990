package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestHostPorts(t *testing.T) {
	got, err := HostPorts("tcp:22, udp:68@10.1.2.3/8,SCTP:9@fd00::1,17:53,tcp:22")
	want := []HostPort{
		{Protocol: 6, Port: 22}, {Protocol: 17, Port: 68, Net: netip.MustParsePrefix("10.0.0.0/8")},
		{Protocol: 132, Port: 9, Net: netip.MustParsePrefix("fd00::1/128")}, {Protocol: 17, Port: 53},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if got, err := HostPorts("none"); err != nil || got != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	for text, problem := range map[string]string{
		"": "not a protocol and a port", "22": "not a protocol and a port", "tcp:22,": "not a protocol and a port", "tpc:22": "unknown protocol",
		"icmp:8": "has no ports", "tcp:0": "from 1 to 65535", "tcp:70000": "from 1 to 65535", "tcp:ssh": "from 1 to 65535", "tcp:22@office": "office", "tcp:22@": "tcp:22@",
		"none,tcp:22": "not a protocol and a port",
	} {
		if got, err := HostPorts(text); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, error %v; want %q", text, got, err, problem)
		}
	}
}

// TestFailsafeDefaults holds them to what users know.
func TestFailsafeDefaults(t *testing.T) {
	c, _, err := loadLinux(parse(t, "--node=n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]uint16{
		c.FailsafeInbound:  {22, 179, 2379, 2380, 5473, 6443, 6666, 6667, 68},
		c.FailsafeOutbound: {179, 2379, 2380, 5473, 6443, 6666, 6667, 53, 67},
	} {
		ports, err := HostPorts(text)
		var got []uint16
		for _, p := range ports {
			if isUDP := p.Protocol == 17; isUDP != slices.Contains([]uint16{53, 67, 68}, p.Port) || p.Net.IsValid() {
				t.Errorf("%+v", p)
			}
			got = append(got, p.Port)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestBadFailsafesAreNamed(t *testing.T) {
	_, _, err := loadLinux(parse(t, "--node=n", "--failsafe-inbound=", "--failsafe-outbound=tcp:x"), noEnv)
	if err == nil || !strings.Contains(err.Error(), "failsafeInbound: ") || !strings.Contains(err.Error(), "failsafeOutbound: ") {
		t.Errorf("error %v", err)
	}
}

func FuzzHostPorts(f *testing.F) {
	for _, seed := range []string{"none", "tcp:22", "udp:68@10.0.0.0/8,17:53", "tcp:22@", ":@,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ports, err := HostPorts(text)
		for _, p := range ports {
			if err != nil || p.Port == 0 || p.Protocol == 0 || p.Net != p.Net.Masked() {
				t.Errorf("%q: %+v, %v", text, p, err)
			}
		}
	})
}

// TestDefaults: what offline answers take for granted is what an agent has where nothing is configured.
func TestDefaults(t *testing.T) {
	loaded, _, err := loadLinux(parse(t, "--node=n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	defaults := Defaults()
	defaults.Node = "n"
	if *defaults != *loaded {
		t.Errorf("%+v, want %+v", defaults, loaded)
	}
}
