package emulator_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// tcp is a packet from a to b, port 80.
func tcp(a, b string) emulator.Packet {
	return emulator.Packet{Tuple: dptest.Tuple{
		Src: netip.MustParseAddr(a), Dst: netip.MustParseAddr(b), Protocol: dataplane.ProtoTCP, SrcPort: 40000, DstPort: 80, ICMPType: -1, ICMPCode: -1,
	}}
}

func answerTo(p emulator.Packet) emulator.Packet {
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	return p
}

// passes checks the verdict on a packet.
func passes(t *testing.T, s *emulator.Server, p emulator.Packet, want bool) {
	t.Helper()
	v, err := s.Verdict(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Action == dataplane.Allow; got != want {
		t.Errorf("%s: %+v, want allowed %v", p.Tuple, v, want)
	}
}

func TestPacketsMeetTheirEndsLists(t *testing.T) {
	for name, build := range map[string]int{"2022": emulator.Server2022, "2025": emulator.Server2025} {
		t.Run(name, func(t *testing.T) {
			s, c, e := node(t, emulator.Options{Build: build})
			passes(t, s, tcp("192.0.2.1", "10.0.0.2"), true)
			modify(t, c, hns.KindEndpoint, e.ID, acls)
			passes(t, s, tcp("10.1.2.3", "10.0.0.2"), true)
			passes(t, s, answerTo(tcp("10.1.2.3", "10.0.0.2")), true)
			passes(t, s, tcp("192.0.2.1", "10.0.0.2"), false)
			other := create(t, c, hns.KindEndpoint, e.HostComputeNetwork, `{"Name":"other","SchemaVersion":{"Major":2,"Minor":0}}`)
			p := tcp(other.IpConfigurations[0].IpAddress, "10.0.0.2")
			p.From = other.ID // it is not attached, so its address alone does not find it
			passes(t, s, p, false)
			s.Restart()
			p.To = e.ID
			passes(t, s, p, true)
		})
	}
}

func TestFalseAssumptionsAboutModify(t *testing.T) {
	in, out := tcp("192.0.2.1", "10.0.0.2"), tcp("10.1.2.3", "10.0.0.2")
	t.Run("H25", func(t *testing.T) {
		open := false
		s, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H25}, Middle: func(s *emulator.Server, _ string) {
			v, err := s.Verdict(in)
			open = err == nil && v.Action == dataplane.Allow
		}})
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		if !open {
			t.Error("nothing passes in the middle, want everything")
		}
		passes(t, s, in, false)
	})
	t.Run("H26", func(t *testing.T) {
		s, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H26}})
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		passes(t, s, in, true)
		s.Settle()
		passes(t, s, in, false)
	})
	t.Run("H27", func(t *testing.T) {
		s, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H27}})
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		bad := `{"ResourceType":"Policy","RequestType":"Update","Settings":{"Policies":[{"Type":"ACL","Settings":{"Action":"Drop"}}]}}`
		refused(t, c.Modify(hns.KindEndpoint, e.ID, json.RawMessage(bad)), 0x803b000d)
		passes(t, s, in, true)
		if got := get(t, c, hns.KindEndpoint, e.ID).Policies; len(got) != 0 {
			t.Errorf("policies %+v, want none", got)
		}
	})
	t.Run("H23, H24, H28", func(t *testing.T) {
		s, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H23, dptest.H24, dptest.H28}})
		modify(t, c, hns.KindEndpoint, e.ID, `{"ResourceType":"Policy","RequestType":"Add","Settings":{"Policies":[{"Type":"OutBoundNAT","Settings":{}}]}}`)
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		got := get(t, c, hns.KindEndpoint, e.ID).Policies
		if len(got) != 4 || got[0].Type != "ACL" || got[0].Settings["Id"] != nil {
			t.Errorf("policies %+v, want four ACLs without Id", got)
		}
		passes(t, s, out, true)
	})
}

func TestFalseAssumptionsAboutObjects(t *testing.T) {
	t.Run("H31", func(t *testing.T) {
		_, c, _ := node(t, emulator.Options{False: []dptest.Assumption{dptest.H31}})
		if list, err := c.List(hns.KindEndpoint, map[string]any{"State": 3}); err != nil || len(list) != 0 {
			t.Errorf("%d endpoints, error %v; want none", len(list), err)
		}
	})
	t.Run("H33", func(t *testing.T) {
		s, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H33}})
		modify(t, c, hns.KindEndpoint, e.ID, acls)
		s.Restart()
		if got := get(t, c, hns.KindEndpoint, e.ID); got.HostComputeNamespace == "" || len(got.Policies) != 0 {
			t.Errorf("endpoint %+v, want one with its namespace, without policies", got)
		}
		passes(t, s, tcp("192.0.2.1", "10.0.0.2"), true)
	})
	t.Run("H41", func(t *testing.T) {
		_, c, e := node(t, emulator.Options{False: []dptest.Assumption{dptest.H41}})
		refused(t, c.Modify(hns.KindNetwork, e.HostComputeNetwork, json.RawMessage(setRequest("Add", "one", "10.0.0.1"))), 0x803b0015)
	})
}

func TestForget(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	s.Forget(e.ID)
	passes(t, s, tcp("192.0.2.1", "10.0.0.2"), true)
	if got := get(t, c, hns.KindEndpoint, e.ID).Policies; len(got) != 0 {
		t.Errorf("policies %+v, want none", got)
	}
}

// listen serves an emulator on the loopback until the end of the test.
func listen(t *testing.T, s *emulator.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestPacketsOverTCP(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	address := listen(t, s)
	for from, want := range map[string]dataplane.Action{"10.1.2.3": dataplane.Allow, "192.0.2.1": dataplane.Deny} {
		if v, err := emulator.Ask(address, tcp(from, "10.0.0.2")); err != nil || v.Action != want {
			t.Errorf("from %s: %+v, error %v; want %v", from, v, err, want)
		}
	}
	p := tcp("10.1.2.3", "10.0.0.2")
	p.To = "NOBODY"
	if v, err := emulator.Ask(address, p); err == nil {
		t.Errorf("to an endpoint that is not there: %+v, want an error", v)
	}
}
