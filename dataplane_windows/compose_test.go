package windows

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// azure is what Azure's network plugin puts on endpoints.
var azure = raw(
	`{"Protocols":"6","Action":"Block","Direction":"Out","RemoteAddresses":"168.63.129.16/32","RemotePorts":"80","Priority":200,"RuleType":"Switch"}`,
	`{"Action":"Allow","Direction":"In","Priority":65500,"RuleType":"Switch"}`,
	`{"Action":"Allow","Direction":"Out","Priority":65500,"RuleType":"Switch"}`,
	`{"Action":"Allow","Direction":"In","RuleType":"Host"}`,
	`{"Action":"Allow","Direction":"Out","RuleType":"Host"}`,
)

func raw(texts ...string) []json.RawMessage {
	var out []json.RawMessage
	for _, t := range texts {
		out = append(out, json.RawMessage(t))
	}
	return out
}

// priorities of ours on the switch, in one direction.
func priorities(acls []hns.ACL, dir hns.Direction) []int {
	var out []int
	for _, a := range of(acls, dir, hns.Switch) {
		out = append(out, int(a.Priority))
	}
	return out
}

// TestBesideAzure: what the plugin wrote stays as it was, its Block is before ours, and its Allows behind; nothing of ours moves.
func TestBesideAzure(t *testing.T) {
	own, _ := render(tiered(), testID)
	c := Compose(own, azure)
	if c.Kept != len(azure) || c.Engine != "" || len(c.Conflicts) > 0 {
		t.Fatalf("%+v", c)
	}
	for i := range azure {
		if string(c.ACLs[i]) != string(azure[i]) {
			t.Errorf("%s became %s", azure[i], c.ACLs[i])
		}
	}
	if diff := cmp.Diff(slices.DeleteFunc(slices.Clone(own), func(a hns.ACL) bool { return a.RuleType == hns.Host }), c.Own); diff != "" {
		t.Error(diff)
	}
	open, _ := render(state(nil, []dataplane.Rule{{Action: dataplane.Allow}}), testID)
	list := Compose(open, azure).ACLs
	for port, want := range map[uint16]dataplane.Action{80: dataplane.Deny, 81: dataplane.Allow} {
		if got := outTo(t, list, "168.63.129.16", port); got != want {
			t.Errorf("to the wire server at port %d: %v", port, got)
		}
	}
}

func outTo(t *testing.T, list []json.RawMessage, to string, port uint16) dataplane.Action {
	t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dptest.TraceACLs(text, dataplane.Egress, dptest.Tuple{
		Src: ownAddrs[0], Dst: netip.MustParseAddr(to), Protocol: 6, SrcPort: 4000, DstPort: port, ICMPType: -1, ICMPCode: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return got.Action
}

func TestEngines(t *testing.T) {
	own, _ := render(tiered(), testID)
	for id, want := range map[string]string{
		"azure-acl-ns-policy": "Azure NPM", "allow-host-to-endpoint": "Calico", "policy-NetworkPolicy/ns/a-1-0": "Calico", "profile-kns.a": "Calico",
		"CNIDefaultDenyAllPolicy": "Calico", "": "", "DNS": "",
	} {
		acl := fmt.Sprintf(`{"Id":%q,"Action":"Block","Direction":"In","Priority":300,"RuleType":"Switch"}`, id)
		if c := Compose(own, raw(acl)); c.Engine != want || (want != "") != (c.ACLs == nil) {
			t.Errorf("%s: engine %q, %d ACLs", id, c.Engine, len(c.ACLs))
		}
	}
	if EngineOf(own[0]) != "" {
		t.Error("ours are taken for another's")
	}
}

// TestRoom: where ours go between those of others.
func TestRoom(t *testing.T) {
	foreign := func(action string, priority int, more string) string {
		return fmt.Sprintf(`{"Action":%q,"Direction":"Out","Priority":%d,"RuleType":"Switch"%s}`, action, priority, more)
	}
	const dns, wire = `,"Protocols":"17","RemoteAddresses":"10.0.0.10","RemotePorts":"53"`, `,"RemoteAddresses":"168.63.129.16"`
	own := []hns.ACL{
		{ID: "felid/a", Action: hns.Block, Direction: hns.Out, RuleType: hns.Switch, Priority: 900},
		{ID: "felid/b", Action: hns.Allow, Direction: hns.Out, RuleType: hns.Switch, Priority: 1000},
		{ID: "felid/c", Action: hns.Allow, Direction: hns.Out, RuleType: hns.Switch, Priority: 1001},
		{ID: "felid/d", Action: hns.Block, Direction: hns.Out, RuleType: hns.Switch, Priority: 1002},
	}
	for name, c := range map[string]struct {
		foreign             []string
		want                string
		conflicts, repeated int
		kept                int
	}{
		"nothing":                     {nil, "[900 1000 1001 1002]", 0, 0, 0},
		"a Block before":              {[]string{foreign("Block", 200, wire)}, "[900 1000 1001 1002]", 0, 0, 1},
		"a Block among ours":          {[]string{foreign("Block", 1001, wire)}, "[1002 1003 1004 1005]", 0, 0, 1},
		"a Block of all among ours":   {[]string{foreign("Block", 950, "")}, "[951 952 953 954]", 0, 0, 1},
		"an Allow among ours":         {[]string{foreign("Allow", 1001, dns)}, "[900 901 902 903]", 0, 0, 1},
		"an Allow before ours":        {[]string{foreign("Allow", 300, dns)}, "[296 297 298 299]", 0, 0, 1},
		"between Block and Allow":     {[]string{foreign("Block", 200, wire), foreign("Allow", 204, dns)}, "[201 202 202 203]", 0, 0, 2},
		"a default Block":             {[]string{foreign("Block", 65500, "")}, "[900 1000 1001 1002]", 0, 0, 1},
		"a late Block of some":        {[]string{foreign("Block", 65400, wire)}, "[900 901 902 903 904]", 0, 1, 1},
		"a Block behind an Allow":     {[]string{foreign("Block", 200, wire), foreign("Allow", 150, dns)}, "[145 146 147 148 149]", 1, 1, 2},
		"a Block that never counted":  {[]string{foreign("Allow", 65400, ""), foreign("Block", 65500, wire)}, "[900 1000 1001 1002]", 0, 0, 2},
		"no room before an Allow":     {[]string{foreign("Allow", 101, dns)}, "[900 1000 1001 1002]", 1, 0, 0},
		"no room between the two":     {[]string{foreign("Block", 200, wire), foreign("Allow", 202, dns)}, "[900 1000 1001 1002]", 1, 0, 1},
		"what can't be read":          {[]string{`{"Action":7}`}, "[900 1000 1001 1002]", 1, 0, 0},
		"an action that is not known": {[]string{foreign("Pass", 500, "")}, "[496 497 498 499]", 0, 0, 1},
		"no room behind Blocks":       {[]string{foreign("Block", 65000, wire), foreign("Block", 65001, "")}, "[65001 65002 65003 65004]", 1, 0, 1},
	} {
		got := Compose(own, raw(c.foreign...))
		repeated := 0
		for _, a := range got.Own {
			if strings.HasPrefix(a.ID, "felid/repeated/") {
				repeated++
			}
		}
		if p := fmt.Sprint(priorities(got.Own, hns.Out)); p != c.want || len(got.Conflicts) != c.conflicts || repeated != c.repeated || got.Kept != c.kept {
			t.Errorf("%s: ours at %s, want %s; %d kept, %d repeated, conflicts %q", name, p, c.want, got.Kept, repeated, got.Conflicts)
		}
	}
}

// TestHostLayer: of two pairs that allow everything one is enough, and ours shares no priority with a Block.
func TestHostLayer(t *testing.T) {
	own := append(hostPair(), Closed()...)
	for name, c := range map[string]struct {
		foreign         []json.RawMessage
		ours, conflicts int
	}{
		"ours alone":        {nil, 2, 0},
		"Azure's pair":      {azure[3:], 0, 0},
		"half a pair":       {azure[3:4], 1, 0},
		"a Block":           {raw(`{"Action":"Block","Direction":"In","RemotePorts":"1","RuleType":"Host"}`), 1, 1},
		"an Allow of a few": {raw(`{"Action":"Allow","Direction":"In","RemoteAddresses":"10.0.0.1","RuleType":"Host"}`), 2, 0},
	} {
		got := Compose(own, c.foreign)
		n := len(got.Own) - 2
		if n != c.ours || len(got.Conflicts) != c.conflicts || got.Kept != len(c.foreign) {
			t.Errorf("%s: %d of ours, %q", name, n, got.Conflicts)
		}
	}
}

// TestComposedNeverOpens: whatever others have there, nothing passes that our list alone denies, or that theirs would have blocked; no two ACLs
// of a direction tie that do not do the same.
func TestComposedNeverOpens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		own, _ := render(s, testID)
		foreign := rapid.SliceOfNDistinct(rapid.Custom(drawForeign), 0, 5, rank).Draw(t, "foreign")
		got := Compose(own, foreign)
		all, alone, theirs := portOf(t, got.ACLs), portOf(t, marshalled(own)), portOf(t, foreign)
		for range 12 {
			dir := rapid.SampledFrom([]dataplane.Direction{dataplane.Ingress, dataplane.Egress}).Draw(t, "direction")
			p := drawPacket(t, s, dir)
			for _, port := range []*dptest.HNSPort{all, alone, theirs} {
				port.Forget()
			}
			verdict, ours, other := all.Pass(dir, p), alone.Pass(dir, p), theirs.Pass(dir, p)
			blocked := other.Action == dataplane.Deny && other.Index >= 0
			if verdict.Action == dataplane.Allow && (ours.Action != dataplane.Allow || blocked && !isDefault(foreign[other.Index])) {
				t.Fatalf("%s %+v passes by %q; ours say %v, theirs %v\n%s\n%q", dir, p, verdict.ID, ours.Action, other, got.ACLs, got.Conflicts)
			}
			if verdict.Action == dataplane.Deny && ours.Action == dataplane.Allow && len(got.Conflicts) == 0 && !blocked {
				t.Fatalf("%s %+v is denied by %q; ours say %v, theirs %v\n%s", dir, p, verdict.ID, ours.Action, other, got.ACLs)
			}
		}
	})
}

// TestComposedIsComposedAlready: what was written is what is written when it is read back.
func TestComposedIsComposedAlready(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, _ := render(drawState(t), testID)
		first := Compose(own, rapid.SliceOfNDistinct(rapid.Custom(drawForeign), 0, 5, rank).Draw(t, "foreign"))
		ep := hns.Endpoint{Raw: first.ACLs}
		for _, text := range first.ACLs {
			acl, err := hns.ParseACL(text)
			if err != nil {
				t.Fatal(err)
			}
			ep.ACLs = append(ep.ACLs, acl)
		}
		stands, foreign := Split(&ep)
		if diff := cmp.Diff(first.Own, stands); diff != "" {
			t.Fatalf("ours are not known again: %s", diff)
		}
		if diff := cmp.Diff(first.ACLs, Compose(own, foreign).ACLs); diff != "" {
			t.Fatal(diff)
		}
	})
}

// isDefault tells whether an ACL is what a plugin leaves for want of policy.
func isDefault(text json.RawMessage) bool {
	f := parseForeign(text)
	return f.everything() && f.behind()
}

func marshalled(acls []hns.ACL) []json.RawMessage {
	var out []json.RawMessage
	for _, a := range acls {
		text, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		out = append(out, text)
	}
	return out
}

// portOf has these ACLs.
func portOf(t *rapid.T, acls []json.RawMessage) *dptest.HNSPort {
	port := dptest.HNSOf(26100).NewNetwork().NewPort()
	text, err := json.Marshal(acls)
	if err == nil {
		err = port.SetACLs(text)
	}
	if err == nil {
		err = port.Lint()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return port
}

// rank is what two of others must not have in common: HNS would decide between them as it likes.
func rank(text json.RawMessage) string {
	f := parseForeign(text)
	return fmt.Sprint(f.Direction, f.Priority)
}

func drawForeign(t *rapid.T) json.RawMessage {
	acl := hns.ACL{
		Action:    rapid.SampledFrom([]hns.Action{hns.Allow, hns.Block, hns.Block}).Draw(t, "action"),
		Direction: rapid.SampledFrom([]hns.Direction{hns.In, hns.Out}).Draw(t, "direction"),
		RuleType:  hns.Switch,
		Priority:  rapid.SampledFrom([]uint16{100, 101, 150, 200, 899, 900, 901, 1000, 1001, 64999, 65000, 65001, 65499, 65500}).Draw(t, "priority"),
	}
	if rapid.IntRange(0, 2).Draw(t, "narrow") > 0 {
		acl.RemoteAddresses = rapid.SampledFrom([]string{"10.65.0.2", "10.65.0.0/24", "192.0.2.0/24", "fd00:65::/64"}).Draw(t, "remote")
	}
	if rapid.Bool().Draw(t, "tcp") {
		acl.Protocols = "6"
		acl.RemotePorts = rapid.SampledFrom([]string{"", "2", "3-5"}).Draw(t, "ports")
	}
	return marshalled([]hns.ACL{acl})[0]
}

func FuzzCompose(f *testing.F) {
	own, _ := render(tiered(), testID)
	for _, a := range azure {
		f.Add([]byte(a), []byte(`{"Action":"Allow","Direction":"In","Priority":100}`))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		c := Compose(own, []json.RawMessage{a, b})
		if c.Engine != "" {
			return
		}
		if len(c.ACLs) != c.Kept+len(c.Own) || c.Kept > 2 || len(c.Own) == 0 {
			t.Fatalf("%d ACLs, %d kept, %d of ours", len(c.ACLs), c.Kept, len(c.Own))
		}
		for _, dir := range []hns.Direction{hns.In, hns.Out} {
			if p := priorities(c.Own, dir); !slices.IsSorted(p) || len(p) == 0 || p[0] < minPriority || p[len(p)-1] > maxPriority {
				t.Fatalf("%s: %d", dir, p)
			}
		}
	})
}

// TestSharedCasesBesideAzure runs every shared case through lists that stand among the ACLs of Azure's plugin, but for its Block, which one of the
// cases is about: another stands for it.
func TestSharedCasesBesideAzure(t *testing.T) {
	foreign := append(raw(`{"Protocols":"6","Action":"Block","Direction":"Out","RemoteAddresses":"168.63.129.17","RemotePorts":"80","Priority":200,"RuleType":"Switch"}`), azure[1:]...)
	dptest.RunHNS(t, []dptest.HNS{dptest.HNSOf(20348)}, func(t *testing.T, s *dataplane.State, id dataplane.EndpointID) dptest.ACLs {
		own, unsupported := render(s, id)
		c := Compose(own, foreign)
		text, err := json.Marshal(c.ACLs)
		if err != nil || len(c.Conflicts) > 0 {
			t.Fatal(err, c.Conflicts)
		}
		return dptest.ACLs{JSON: text, Unsupported: unsupported}
	})
}
