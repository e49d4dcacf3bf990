package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

const calicoRules = "*filter\n:INPUT ACCEPT [0:0]\n:cali-FORWARD - [0:0]\nCOMMIT\n"

// survey is that of a host with these rules of iptables.
func survey(rules string, err error) func(context.Context) (*preflight.Host, error) {
	return func(context.Context) (*preflight.Host, error) {
		return &preflight.Host{Chains: preflight.Chains(rules)}, err
	}
}

// check runs felid node check on a host with these rules.
func check(t *testing.T, rules string, err error, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	app := App{Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
		Survey: survey(rules, err)}
	status := Main(t.Context(), app, append([]string{"node", "check", "--node", "one", "--datastore", "local:/nowhere"}, args...))
	return outcome{status, out.String(), errs.String()}
}

func TestNodeCheck(t *testing.T) {
	if o := check(t, ":INPUT ACCEPT [0:0]\n", nil); o.status != 0 || o.out != "nothing is in the way\n" {
		t.Errorf("%+v", o)
	}
	o := check(t, calicoRules, nil)
	if o.status != exitNo || o.err != "" {
		t.Errorf("%+v", o)
	}
	wants(t, o.out, "refused: node one: there are rules of Calico (chains cali-FORWARD); remove it first")
	if o := check(t, calicoRules, nil, "--network", "guest", "-o", "json"); o.status != 0 || !strings.Contains(o.out, `"refuse": false`) {
		t.Errorf("%+v", o)
	}
	if o := check(t, "", errors.New("no iptables")); o.status != exitUnreachable || !strings.Contains(o.err, "rules of this host: no iptables") {
		t.Errorf("%+v", o)
	}
}

func TestNodeCheckProbe(t *testing.T) {
	proven := preflight.Trial{Name: "H7", Text: "Local is the endpoint's side", Outcome: "Proven"}
	told := preflight.Trial{Name: "H14", Text: "connections survive", Outcome: "False", Detail: "cut"}
	closed := preflight.Trial{Name: "H1", Text: "the lowest decides", Outcome: "False", Detail: "the highest does", Refuse: true}
	for _, c := range []struct {
		trials []preflight.Trial
		err    error
		status int
		out    string
	}{
		{[]preflight.Trial{proven, told}, nil, 0, "H7 Proven: Local is the endpoint's side\nH14 False: connections survive (cut)\n"},
		{[]preflight.Trial{closed, proven}, nil, exitNo, "H1 False: the lowest decides (the highest does)\nH7 Proven: Local is the endpoint's side\n"},
		{[]preflight.Trial{closed}, errors.New("HNS is gone"), exitUnreachable, "H1 False: the lowest decides (the highest does)\n"},
	} {
		var out, errs bytes.Buffer
		app := App{Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
			Survey: survey(calicoRules, nil), Probe: func(context.Context) ([]preflight.Trial, error) { return c.trials, c.err }}
		if status := Main(t.Context(), app, []string{"node", "check", "--probe"}); status != c.status || out.String() != c.out || (c.err != nil) != (errs.Len() > 0) {
			t.Errorf("status %d, want %d:\n%s%s", status, c.status, out.String(), errs.String())
		}
		out.Reset()
		if status := Main(t.Context(), app, []string{"node", "check", "--probe", "-o", "json"}); status != c.status {
			t.Errorf("status %d, want %d", status, c.status)
		}
		var got []preflight.Trial
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || !slices.Equal(got, c.trials) {
			t.Errorf("%v: %s", err, out.String())
		}
	}
	var errs bytes.Buffer
	nothing := App{Out: io.Discard, Err: &errs, Env: func(string) (string, bool) { return "", false }}
	if status := Main(t.Context(), nothing, []string{"node", "check", "--probe"}); status != exitUnreachable || !strings.Contains(errs.String(), "nothing to probe") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}

func TestAgentDoesNotStartOverAnother(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	app := &App{Survey: survey(calicoRules, nil)}
	if err := app.mayStart(t.Context(), &config.Config{Node: "one", Datastore: "local:/x"}, log); err == nil || !strings.Contains(err.Error(), "refused: node one: there are rules of Calico") {
		t.Errorf("as the owner: %v", err)
	}
	if err := app.mayStart(t.Context(), &config.Config{Node: "one", Network: "guest", Datastore: "local:/x"}, log); err != nil {
		t.Errorf("as a guest: %v", err)
	}
	wants(t, lines.String(), "there are rules of Calico (chains cali-FORWARD)", "both police the same pods")
	app.Survey = survey("", errors.New("no iptables"))
	if err := app.mayStart(t.Context(), &config.Config{Datastore: "kube:/no/such/file"}, log); err != nil {
		t.Errorf("what can't be looked at: %v", err)
	}
	wants(t, lines.String(), "can't look for other policy engines", "can't look for another owner")
}
