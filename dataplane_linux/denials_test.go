package linux

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/google/go-cmp/cmp"
)

// ipv4 is a packet with a header of so many words, and what follows.
func ipv4(words, protocol byte, offset uint16, payload ...byte) []byte {
	p := make([]byte, 4*int(words))
	p[0], p[9] = 4<<4|words, protocol
	binary.BigEndian.PutUint16(p[6:], offset)
	copy(p[12:], []byte{10, 0, 0, 1})
	copy(p[16:], []byte{10, 0, 0, 2})
	return append(p, payload...)
}

func ipv6(next byte, payload ...byte) []byte {
	p := make([]byte, 40)
	p[0], p[6] = 6<<4, next
	src, dst := netip.MustParseAddr("fd00::1").As16(), netip.MustParseAddr("fd00::2").As16()
	copy(p[8:], src[:])
	copy(p[24:], dst[:])
	return append(p, payload...)
}

func TestReadPacket(t *testing.T) {
	ports := []byte{0x03, 0xe7, 0, 80}
	for name, c := range map[string]struct {
		packet   []byte
		protocol uint8
		src, dst string // "": refused
	}{
		"IPv4 TCP":                      {ipv4(5, 6, 0, ports...), 6, "10.0.0.1:999", "10.0.0.2:80"},
		"IPv4 with options":             {ipv4(7, 17, 0, ports...), 17, "10.0.0.1:999", "10.0.0.2:80"},
		"first fragment":                {ipv4(5, 17, 0x2000, ports...), 17, "10.0.0.1:999", "10.0.0.2:80"},
		"later fragment":                {ipv4(5, 17, 1, ports...), 17, "10.0.0.1:0", "10.0.0.2:0"},
		"ICMP":                          {ipv4(5, 1, 0, 8, 0, 1, 2), 1, "10.0.0.1:0", "10.0.0.2:0"},
		"cut off":                       {ipv4(5, 6, 0, 3), 6, "10.0.0.1:0", "10.0.0.2:0"},
		"header longer than packet":     {append([]byte{4<<4 | 15}, ipv4(5, 6, 0)[1:]...), 6, "10.0.0.1:0", "10.0.0.2:0"},
		"IPv6 TCP":                      {ipv6(6, ports...), 6, "[fd00::1]:999", "[fd00::2]:80"},
		"IPv6 with extensions":          {ipv6(0, append([]byte{60, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0}, ports...)...), 6, "[fd00::1]:999", "[fd00::2]:80"},
		"IPv6 first fragment":           {ipv6(44, append([]byte{17, 0, 0, 1, 0, 0, 0, 0}, ports...)...), 17, "[fd00::1]:999", "[fd00::2]:80"},
		"IPv6 later fragment":           {ipv6(44, append([]byte{17, 0, 0, 9, 0, 0, 0, 0}, ports...)...), 17, "[fd00::1]:0", "[fd00::2]:0"},
		"IPv6 extension cut off":        {ipv6(0, 6, 9, 0, 0, 0, 0, 0, 0), 0, "[fd00::1]:0", "[fd00::2]:0"},
		"nothing":                       {nil, 0, "", ""},
		"another version":               {[]byte{5 << 4, 0, 0, 0}, 0, "", ""},
		"IPv6 header that is cut":       {ipv6(6)[:39], 0, "", ""},
		"IPv4 header that is too short": {ipv4(5, 6, 0)[:19], 0, "", ""},
	} {
		var d dataplane.Denial
		err := readPacket(c.packet, &d)
		if c.src == "" {
			if err == nil {
				t.Errorf("%s: read as %+v", name, d)
			}
			continue
		}
		if err != nil || d.Protocol != c.protocol || d.Src.String() != c.src || d.Dst.String() != c.dst {
			t.Errorf("%s: %+v, %v; want %d %s %s", name, d, err, c.protocol, c.src, c.dst)
		}
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add(ipv4(5, 6, 0, 3, 231, 0, 80))
	f.Add(ipv6(0, 60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var d dataplane.Denial
		if err := readPacket(packet, &d); err != nil {
			return
		}
		if !d.Src.Addr().IsValid() || !d.Dst.Addr().IsValid() || !hasPorts(d.Protocol) && d.Dst.Port() != 0 {
			t.Errorf("%x: %+v", packet, d)
		}
	})
}

// TestDenyRulesOnly: with DenyGroup each rule that drops by policy is preceded by one with the same matches that tells of it, with a limit; nothing else
// changes, and with LogVerdicts too each tells its own group.
func TestDenyRulesOnly(t *testing.T) {
	s := pairState()
	deny := policyID("server")
	s.Policies[deny].Ingress = append([]dataplane.Rule{{Action: dataplane.Deny, Index: 0, Protocol: 6, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 22, Max: 22}}}}},
		s.Policies[deny].Ingress...)
	for _, verdicts := range []bool{false, true} {
		without := Render(s, RenderConfig{LogVerdicts: verdicts})
		with := Render(s, RenderConfig{LogVerdicts: verdicts, DenyGroup: 2})
		told := 0
		for key, table := range with.tables {
			for i, chain := range table.chains {
				var others []string
				for j, rule := range chain.Rules {
					matches, target, isNote := strings.Cut(rule, "-m limit --limit 1/sec -j NFLOG ")
					if !isNote {
						others = append(others, rule)
						continue
					}
					told++
					if next := chain.Rules[j+1]; next != matches+"-j DROP" || !strings.HasPrefix(target, `--nflog-prefix "D`) || !strings.HasSuffix(target, "--nflog-group 2") {
						t.Errorf("%s: %q is followed by %q", chain.Name, rule, next)
					}
				}
				if diff := cmp.Diff(without.tables[key].chains[i].Rules, others, cmp.Transformer("", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
					t.Errorf("%s %s: -without +with:\n%s", key.table, chain.Name, diff)
				}
			}
		}
		if told == 0 {
			t.Error("nothing is told")
		}
	}
}

// TestDeniedNamesFollowChanges: a policy is known by its hash from the Apply that brings it on.
func TestDeniedNamesFollowChanges(t *testing.T) {
	s := dataplane.NewState()
	var n denyNames
	n.update(s, nil)
	id := oddNames[3]
	prefix := Logged{dataplane.Deny, dataplane.Egress, id, 3}.Prefix()
	packet := ipv4(5, 6, 0, 3, 231, 0, 80)
	if _, err := n.denial(prefix, packet); err == nil {
		t.Error("a policy that nobody has told of is known")
	}
	s.Policies[id] = &dataplane.Policy{ID: id}
	n.update(s, &dataplane.Changes{Policies: map[dataplane.PolicyID]struct{}{id: {}}})
	got, err := n.denial(prefix, packet)
	want := dataplane.Denial{
		Direction: dataplane.Egress, Policy: id, Rule: 3, Protocol: 6, Src: netip.MustParseAddrPort("10.0.0.1:999"), Dst: netip.MustParseAddrPort("10.0.0.2:80"),
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := n.denial(Logged{dataplane.Allow, dataplane.Egress, id, 3}.Prefix(), packet); err == nil {
		t.Error("what is allowed is taken for denied")
	}
}
