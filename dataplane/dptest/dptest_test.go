package dptest

import (
	"errors"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// TestJudge: the judge agrees with the verdicts of every case.
func TestJudge(t *testing.T) {
	Run(t, "judge", func(_ *testing.T, c *Case) Answer {
		judge := judgeOf(c.Objects, c.Options)
		return func(f Flow) (Verdict, error) { return judge(f), nil }
	})
}

// TestCompare: a wrong verdict and a wrong decider are found.
func TestCompare(t *testing.T) {
	allow := &SideVerdict{Action: dataplane.Allow, By: "Profile kns.a rule 0"}
	deny := &SideVerdict{Action: dataplane.Deny, By: "end of tier default"}
	got := Verdict{Action: dataplane.Deny, Egress: allow, Ingress: deny}
	for _, c := range []struct {
		want string
		ok   bool
	}{
		{"Deny", true},
		{"Allow", false},
		{"Deny by end of tier default", true},
		{"Deny by ingress end of tier default", true},
		{"Deny by egress end of tier default", false},
		{"Deny by Profile kns.a rule 0", false},
		{"Deny by egress Profile kns.a rule 0, ingress end of tier default", true},
		{"Deny by NetworkPolicy a/p rule 0", false},
	} {
		w, err := parseWant(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.compare(got, false); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// TestParseCaseErrors: a case that would prove less than it seems to is refused.
func TestParseCaseErrors(t *testing.T) {
	const cluster = "title\nreason\n-- cluster --\npod a/x\npod a/four ip:10.0.0.1\n"
	for _, c := range []struct{ data, want string }{
		{"title\n-- flows --\n", "needs a title"},
		{cluster, "there is none"},
		{cluster + "-- flow --\n", "unknown file"},
		{cluster + "-- flows --\npod/a/x -> pod/a/y TCP 80 : Allow\n", `no "pod/a/y"`},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 ip6 : Allow\n", "no address of one family"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP : Allow\n", "needs a port"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 : Reject\n", "must be Allow or Deny"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 : Deny by magic\n", "decider"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 to 90 : Deny\n", "can't read"},
		{cluster + "-- options --\nhost: x\n-- flows --\n", "unknown field"},
		{cluster + "-- options --\nskip: {hns: x}\n-- flows --\n", "unknown runner"},
		{cluster + "-- resources.yaml --\napiVersion: v1\nkind: Pod\nspek: {}\n-- flows --\n", "unknown field"},
		{"t\nr\n-- cluster --\npod x\n", "want NAMESPACE/NAME"},
		{"t\nr\n-- cluster --\npod a/x host\n", "can't read"},
	} {
		_, err := ParseCase("x", []byte(c.data), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.data, err, c.want)
		}
	}
}

func FuzzParseCase(f *testing.F) {
	f.Add([]byte("t\nr\n-- cluster --\nnode n1\nnamespace a k=v\npod a/x l=v port:h=80/TCP\n-- flows --\npod/a/x as 10.0.0.9 -> 192.0.2.1 TCP 80,81-82 from 7 ip4 : Deny by egress spoofed source\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCase("x", data, func(string) ([]byte, error) { return nil, errors.New("no examples here") })
		if err != nil {
			return
		}
		for _, f := range c.Flows {
			if v := Judge(c.Objects, c.Options, f); v.Action != dataplane.Allow && v.Action != dataplane.Deny {
				t.Errorf("%s: no verdict", f.Text)
			}
			c.Hops(f)
			c.Replies(f)
		}
	})
}

// TestEvaluate: the State that is programmed says the same as the resources, where every endpoint is local and where each node has a
// State of its own.
func TestEvaluate(t *testing.T) {
	t.Run("one state", func(t *testing.T) {
		Run(t, "evaluate", func(_ *testing.T, c *Case) Answer {
			states := States(c)
			return func(f Flow) (Verdict, error) {
				return c.evaluate(f, func(dataplane.NodeName) *dataplane.State { return states[""] })
			}
		})
	})
	t.Run("one per node", func(t *testing.T) {
		Run(t, "evaluate", func(_ *testing.T, c *Case) Answer {
			states := States(c)
			return func(f Flow) (Verdict, error) {
				return c.evaluate(f, func(node dataplane.NodeName) *dataplane.State { return states[node] })
			}
		})
	})
}
