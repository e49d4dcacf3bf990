package windows

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// TestOnlyOpensIsTrue: of random lists and what may become of them: where a change is said to only open, no packet passes the first list that the second
// blocks, and it is said of many changes that do.
func TestOnlyOpensIsTrue(t *testing.T) {
	opened, said := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SliceOfN(aclGen(), 0, 6).Draw(t, "from")
		to := edited(t, from)
		closes := false
		for _, packet := range fewPackets() {
			if passes(t, from, packet) && !passes(t, to, packet) {
				closes = true
			}
		}
		only := coverings{}.onlyOpens(numbered(from), numbered(to))
		if closes && only {
			t.Fatalf("said to only open:\n%v\n%v", texts(numbered(from)), texts(numbered(to)))
		}
		if !closes {
			opened++
		}
		if only {
			said++
		}
	})
	if said*8 < opened {
		t.Errorf("of %d changes that only open it is said of %d", opened, said)
	}
}

func aclGen() *rapid.Generator[hns.ACL] {
	return rapid.Custom(func(t *rapid.T) hns.ACL {
		return hns.ACL{
			ID: fmt.Sprint("felid/", rapid.IntRange(0, 3).Draw(t, "id")), Direction: hns.In, RuleType: hns.Switch, Protocols: "6",
			Action:          rapid.SampledFrom([]hns.Action{hns.Allow, hns.Block}).Draw(t, "action"),
			RemoteAddresses: rapid.SampledFrom([]string{"", "10.0.0.0", "10.0.0.1", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.1,10.0.0.2", "10.0.0.0/30", "10.0.0.3"}).Draw(t, "remote"),
			LocalPorts:      rapid.SampledFrom([]string{"", "", "80"}).Draw(t, "ports"),
		}
	})
}

// edited is a list after a few edits: rules come, go, and get other addresses.
func edited(t *rapid.T, from []hns.ACL) []hns.ACL {
	to := append([]hns.ACL(nil), from...)
	for range rapid.IntRange(1, 3).Draw(t, "edits") {
		at := rapid.IntRange(0, len(to)).Draw(t, "at")
		acl := aclGen().Draw(t, "acl")
		switch {
		case at == len(to) || rapid.Bool().Draw(t, "insert"):
			to = append(to[:at:at], append([]hns.ACL{acl}, to[at:]...)...)
		case rapid.Bool().Draw(t, "remove"):
			to = append(to[:at:at], to[at+1:]...)
		default:
			to[at].RemoteAddresses = acl.RemoteAddresses
		}
	}
	return to
}

// numbered gives a list priorities in its order, and an end.
func numbered(acls []hns.ACL) []hns.ACL {
	out := append([]hns.ACL(nil), acls...)
	out = append(out, hns.ACL{ID: "felid/end", Direction: hns.In, RuleType: hns.Switch, Action: hns.Block})
	for i := range out {
		out[i].Priority = uint16(1000 + i)
	}
	return out
}

func passes(t *rapid.T, acls []hns.ACL, packet dptest.Tuple) bool {
	text, err := json.Marshal(numbered(acls))
	if err != nil {
		t.Fatal(err)
	}
	port := dptest.HNSOf(26100).NewNetwork().NewPort()
	if err := port.SetACLs(text); err != nil {
		t.Fatal(err)
	}
	return port.Pass(dataplane.Ingress, packet).Action == dataplane.Allow
}

func fewPackets() []dptest.Tuple {
	var out []dptest.Tuple
	for i := range 5 {
		for _, port := range []uint16{80, 81} {
			out = append(out, dptest.Tuple{
				Src: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Dst: netip.AddrFrom4([4]byte{10, 0, 1, 1}), Protocol: dataplane.ProtoTCP, SrcPort: 40000, DstPort: port,
			})
		}
	}
	return out
}
