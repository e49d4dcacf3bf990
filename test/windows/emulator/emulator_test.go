package emulator_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

const network = `{"Name":"azure","Type":"L2Bridge","SchemaVersion":{"Major":2,"Minor":0},
	"Ipams":[{"Type":"Static","Subnets":[{"IpAddressPrefix":"10.0.0.0/24","Routes":[{"NextHop":"10.0.0.1","DestinationPrefix":"0.0.0.0/0"}]}]}]}`

const namespace = `{"Type":"Host","SchemaVersion":{"Major":2,"Minor":0}}`

type made struct {
	ID, HostComputeNetwork, HostComputeNamespace string
	IpConfigurations                             []struct{ IpAddress string }
	Policies                                     []struct {
		Type     string
		Settings map[string]any
	}
}

func create(t *testing.T, c hns.Calls, kind hns.Kind, parent, settings string) made {
	t.Helper()
	text, err := c.Create(kind, parent, json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

func decode(t *testing.T, text json.RawMessage) made {
	t.Helper()
	var m made
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func get(t *testing.T, c hns.Calls, kind hns.Kind, id string) made {
	t.Helper()
	text, err := c.Get(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

func modify(t *testing.T, c hns.Calls, kind hns.Kind, id, request string) {
	t.Helper()
	if err := c.Modify(kind, id, json.RawMessage(request)); err != nil {
		t.Fatal(err)
	}
}

// refused checks that an error is HNS's, with this code.
func refused(t *testing.T, err error, code uint32) {
	t.Helper()
	var e *hns.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want code 0x%08x", err, code)
	}
}

// node has a network with one endpoint, attached to a namespace.
func node(t *testing.T, o emulator.Options) (*emulator.Server, hns.Calls, made) {
	t.Helper()
	s := emulator.New(o)
	c := s.Calls()
	n := create(t, c, hns.KindNetwork, "", network)
	ns := create(t, c, hns.KindNamespace, "", namespace)
	e := create(t, c, hns.KindEndpoint, n.ID, `{"Name":"pod","SchemaVersion":{"Major":2,"Minor":0}}`)
	modify(t, c, hns.KindNamespace, ns.ID, `{"ResourceType":"Endpoint","RequestType":"Add","Settings":{"EndpointId":"`+e.ID+`"}}`)
	return s, c, get(t, c, hns.KindEndpoint, e.ID)
}

func TestVersions(t *testing.T) {
	for build, want := range map[int]hns.Version{emulator.Server2022: {Major: 13, Minor: 2}, emulator.Server2025: {Major: 15, Minor: 4}} {
		if v, err := emulator.New(emulator.Options{Build: build}).Calls().Version(); err != nil || v != want {
			t.Errorf("build %d: version %v, error %v; want %v", build, v, err, want)
		}
	}
}

func TestEndpointsAreFoundByState(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	if e.HostComputeNamespace == "" || len(e.IpConfigurations) != 1 || e.IpConfigurations[0].IpAddress != "10.0.0.2" {
		t.Errorf("endpoint %+v, want one with a namespace and address 10.0.0.2", e)
	}
	for filter, want := range map[string]int{`{"State":3}`: 1, `{"State":"3"}`: 1, `{"State":2}`: 0, `{"Name":"POD"}`: 1, `{"Name":"other"}`: 0} {
		var f map[string]any
		if err := json.Unmarshal([]byte(filter), &f); err != nil {
			t.Fatal(err)
		}
		list, err := c.List(hns.KindEndpoint, f)
		if err != nil || len(list) != want {
			t.Errorf("filter %s: %d endpoints, error %v; want %d", filter, len(list), err, want)
		}
	}
	s.SetState(e.ID, hns.StateCreated)
	if list, err := c.List(hns.KindEndpoint, map[string]any{"State": 3}); err != nil || len(list) != 0 {
		t.Errorf("%d endpoints are attached, error %v; want none: it is stuck", len(list), err)
	}
	if list, err := c.List(hns.KindEndpoint, map[string]any{"VirtualNetwork": e.HostComputeNetwork}); err != nil || len(list) != 1 {
		t.Errorf("%d endpoints on the network, error %v; want 1", len(list), err)
	}
}

const acls = `{"ResourceType":"Policy","RequestType":"Update","Settings":{"Policies":[
	{"Type":"ACL","Settings":{"Id":"a","Action":"Allow","Direction":"In","RuleType":"Switch","Priority":1000,"RemoteAddresses":"10.1.0.0/16,10.2.3.4"}},
	{"Type":"ACL","Settings":{"Id":"b","Action":"Block","Direction":"In","RuleType":"Switch","Priority":65000}}]}}`

func TestUpdateReplacesPoliciesOfTheTypesThatItNames(t *testing.T) {
	_, c, e := node(t, emulator.Options{})
	modify(t, c, hns.KindEndpoint, e.ID, `{"ResourceType":"Policy","RequestType":"Add","Settings":{"Policies":[
		{"Type":"OutBoundNAT","Settings":{"Exceptions":["10.0.0.0/8"]}},
		{"Type":"ACL","Settings":{"Action":"Allow","Direction":"Out","RuleType":"Switch","Priority":65500}}]}}`)
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	got := get(t, c, hns.KindEndpoint, e.ID).Policies
	if len(got) != 3 || got[0].Type != "OutBoundNAT" || got[1].Settings["Id"] != "a" || got[2].Settings["Id"] != "b" {
		t.Errorf("policies %+v, want the NAT as it was and the two ACLs", got)
	}
}

func TestBadPoliciesAreRefusedAsAWhole(t *testing.T) {
	_, c, e := node(t, emulator.Options{})
	for _, bad := range []string{`"RemoteAddresses":"Any"`, `"RemoteAddresses":"10.0.0.1/8"`, `"Protocols":"tcp"`, `"Action":"Drop"`, `"LocalAddresses":"no-such-set"`} {
		err := c.Modify(hns.KindEndpoint, e.ID, json.RawMessage(`{"ResourceType":"Policy","RequestType":"Add","Settings":{"Policies":[
			{"Type":"ACL","Settings":{"Action":"Allow","Direction":"In","RuleType":"Switch","Priority":200}},
			{"Type":"ACL","Settings":{"Action":"Allow","Direction":"In","RuleType":"Switch","Priority":200,`+bad+`}}]}}`))
		refused(t, err, 0x803b000d)
	}
	if got := get(t, c, hns.KindEndpoint, e.ID).Policies; len(got) != 0 {
		t.Errorf("policies %+v, want none", got)
	}
}

func setRequest(how, id, values string) string {
	return `{"ResourceType":"Policy","RequestType":"` + how + `","Settings":{"Policies":[{"Type":"SetPolicy","Settings":{"Id":"` + id +
		`","Name":"` + id + `","PolicyType":"IPSET","Values":"` + values + `"}}]}}`
}

func TestSetsOfNetworks(t *testing.T) {
	_, c, e := node(t, emulator.Options{})
	network := e.HostComputeNetwork
	modify(t, c, hns.KindNetwork, network, setRequest("Add", "one", "10.0.0.1"))
	modify(t, c, hns.KindNetwork, network, setRequest("Add", "two", "10.0.0.2"))
	modify(t, c, hns.KindNetwork, network, setRequest("Update", "one", "10.0.0.1,10.0.0.9"))
	got := get(t, c, hns.KindNetwork, network).Policies
	if len(got) != 2 || got[0].Settings["Values"] != "10.0.0.1,10.0.0.9" || got[1].Settings["Values"] != "10.0.0.2" {
		t.Errorf("sets %+v, want one with two values and two as it was", got)
	}
	refused(t, c.Modify(hns.KindNetwork, network, json.RawMessage(setRequest("Add", "one", ""))), 0x803b0012)
	refused(t, c.Modify(hns.KindNetwork, network, json.RawMessage(setRequest("Update", "three", ""))), 0x803b0008)
	refused(t, c.Modify(hns.KindNetwork, network, json.RawMessage(setRequest("Update", "one", "everybody"))), 0x803b000d)
	modify(t, c, hns.KindEndpoint, e.ID, `{"ResourceType":"Policy","RequestType":"Update","Settings":{"Policies":[
		{"Type":"ACL","Settings":{"Action":"Allow","Direction":"Out","RuleType":"Switch","Priority":200,"RemoteAddresses":"one"}}]}}`)
	refused(t, c.Modify(hns.KindNetwork, network, json.RawMessage(setRequest("Remove", "one", ""))), 0x803b002c)
	modify(t, c, hns.KindNetwork, network, setRequest("Remove", "two", ""))
}

func TestOldHNSHasNoSets(t *testing.T) {
	_, c, e := node(t, emulator.Options{Version: hns.Version{Major: 12, Minor: 9}})
	refused(t, c.Modify(hns.KindNetwork, e.HostComputeNetwork, json.RawMessage(setRequest("Add", "one", ""))), 0x803b000e)
}

func TestFaults(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	disarm := s.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, Nth: 2, Code: 0x803b0017})
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	refused(t, c.Modify(hns.KindEndpoint, e.ID, json.RawMessage(acls)), 0x803b0017)
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	disarm()
	s.Inject(emulator.Fault{Op: emulator.OpModify, ID: e.ID, Do: func() { s.Vanish(hns.KindEndpoint, e.ID) }})
	refused(t, c.Modify(hns.KindEndpoint, e.ID, json.RawMessage(acls)), 0x803b0002)
	s.Stop()
	_, err := c.List(hns.KindEndpoint, nil)
	refused(t, err, 0x6ba)
	s.Start()
	if _, err := c.Version(); err != nil {
		t.Error(err)
	}
}

func TestLateFaultsComeAfterTheWork(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	s.Inject(emulator.Fault{Op: emulator.OpModify, Code: 0x8000ffff, Late: true})
	refused(t, c.Modify(hns.KindEndpoint, e.ID, json.RawMessage(acls)), 0x8000ffff)
	if got := get(t, c, hns.KindEndpoint, e.ID).Policies; len(got) != 2 {
		t.Errorf("policies %+v, want the two ACLs", got)
	}
}

func TestRestartForgets(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	volatile := create(t, c, hns.KindNetwork, "", `{"Name":"volatile","Flags":8,"SchemaVersion":{"Major":2,"Minor":0}}`)
	s.Restart()
	_, err := c.Get(hns.KindNetwork, volatile.ID)
	refused(t, err, 0x803b0001)
	if got := get(t, c, hns.KindEndpoint, e.ID); got.HostComputeNamespace != "" || len(got.Policies) != 0 {
		t.Errorf("endpoint %+v, want one without namespace and policies", got)
	}
}

func TestLogCounts(t *testing.T) {
	s, c, e := node(t, emulator.Options{})
	s.ResetLog()
	modify(t, c, hns.KindEndpoint, e.ID, acls)
	if calls, bytes := s.Count(emulator.OpModify, hns.KindEndpoint); calls != 1 || bytes != len(acls) {
		t.Errorf("%d calls with %d bytes, want 1 with %d", calls, bytes, len(acls))
	}
	log := s.Log()
	if len(log) != 3 || log[0].Op != emulator.OpOpen || log[1].Op != emulator.OpModify || log[1].Text != acls || log[1].ID != e.ID || log[2].Op != emulator.OpQuery {
		t.Errorf("log %+v, want Open, Modify, Query of the endpoint", log)
	}
}
