package dptest

import (
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

func TestTraceACLs(t *testing.T) {
	const list = `[
{"Id":"a","Protocols":"6","Action":"Allow","Direction":"In","RemoteAddresses":"10.0.0.0/24,10.9.9.9","LocalPorts":"80,8000-8010","RuleType":"Switch","Priority":1000},
{"Id":"b","Protocols":"6","Action":"Block","Direction":"In","RemoteAddresses":"10.0.0.0/8","RuleType":"Switch","Priority":1001},
{"Id":"c","Protocols":"256","Action":"Allow","Direction":"Out","RuleType":"Switch","Priority":1000},
{"Id":"h","Action":"Allow","Direction":"In","RuleType":"Host","Priority":0}]`
	for _, c := range []struct {
		dir  dataplane.Direction
		p    Tuple
		want dataplane.Action
		id   string
	}{
		{dataplane.Ingress, tuple("10.0.0.1", "10.0.0.2", 6, 4, 8005), dataplane.Allow, "a"},
		{dataplane.Ingress, tuple("10.9.9.9", "10.0.0.2", 6, 4, 80), dataplane.Allow, "a"},
		{dataplane.Ingress, tuple("10.0.0.1", "10.0.0.2", 6, 4, 81), dataplane.Deny, "b"},
		{dataplane.Ingress, tuple("192.0.2.1", "10.0.0.2", 6, 4, 80), dataplane.Deny, ""},
		{dataplane.Egress, tuple("10.0.0.2", "192.0.2.1", 17, 4, 53), dataplane.Allow, "c"},
	} {
		got, err := TraceACLs([]byte(list), c.dir, c.p)
		if err != nil || got.Action != c.want || got.ID != c.id {
			t.Errorf("%v %v: %+v, %v; want %v by %q", c.dir, c.p, got, err, c.want, c.id)
		}
	}
	if got, err := TraceACLs([]byte("[]"), dataplane.Ingress, tuple("10.0.0.1", "10.0.0.2", 6, 4, 80)); err != nil || got.Action != dataplane.Allow {
		t.Errorf("no ACL at all: %+v, %v", got, err)
	}
}

func TestTraceACLsErrors(t *testing.T) {
	rule := func(more string) string {
		return `{"Action":"Allow","Direction":"In","RuleType":"Switch",` + more + `}`
	}
	for _, c := range []struct{ list, want string }{
		{"[" + rule(`"Priority":10`) + "]", "not in 100"},
		{"[" + rule(`"Priority":100,"RemoteAddresses":"Any"`) + "]", "address"},
		{"[" + rule(`"Priority":100,"RemoteAddresses":"10.0.0.1/8"`) + "]", "host bits"},
		{"[" + rule(`"Priority":100,"LocalPorts":"80"`) + "]", "without a protocol"},
		{"[" + rule(`"Priority":100,"Protocols":"1","LocalPorts":"80"`) + "]", "with protocol 1"},
		{"[" + rule(`"Priority":100,"Port":"80"`) + "]", "unknown field"},
		{"[" + rule(`"Priority":100,"Protocols":"132"`) + `,{"Action":"Block","Direction":"In","RuleType":"Switch","Priority":100,"Protocols":"6,132"}]`, "overlap"},
		{"[null]", "null"},
	} {
		_, err := TraceACLs([]byte(c.list), dataplane.Ingress, tuple("10.0.0.1", "10.0.0.2", 6, 4, 80))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.list, err, c.want)
		}
	}
}

func FuzzTraceACLs(f *testing.F) {
	f.Add([]byte(`[{"Id":"a","Protocols":"6","Action":"Allow","Direction":"In","RemoteAddresses":"10.0.0.0/24","LocalPorts":"80,8000-8010","RuleType":"Switch","Priority":1000}]`))
	f.Add([]byte(`[{"Action":"Block","Direction":"Out","RuleType":"Host","Priority":0},null]`))
	f.Fuzz(func(t *testing.T, list []byte) {
		got, err := TraceACLs(list, dataplane.Ingress, tuple("10.0.0.1", "10.0.0.2", 6, 4, 80))
		if err == nil && got.Action != dataplane.Allow && got.Action != dataplane.Deny {
			t.Errorf("no verdict: %+v", got)
		}
	})
}
