package assumptions

import (
	_ "embed"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
)

//go:embed testdata/cluster.txtar
var clusterText string

// TestTheJudgeAgrees: the verdicts that the flows say are those of the documents.
func TestTheJudgeAgrees(t *testing.T) {
	c := last().c
	for _, f := range c.Flows {
		if got := dptest.Judge(c.Objects, c.Options, f); got.Action != f.Want.Action {
			t.Errorf("%s: %s", f.Text, got.Action)
		}
	}
}

// stages are without the policy of the pod a/web, then with one client too many, and last as it is written.
var stages = sync.OnceValue(func() []*stage {
	return []*stage{
		newStage(`selector: app == "web"`+"\n  types", `selector: app == "nobody"`+"\n  types"),
		newStage("app=none", "app=none role=client"),
		newStage(),
	}
})

func last() *stage { return stages()[2] }

// live brings the cluster to its last state in three steps.
func live(t *testing.T, o emulator.Options, form windows.Form, reason string) *site {
	t.Helper()
	s := newSite(t, o)
	for _, n := range s.nodes {
		n.run(t, form, reason)
	}
	for _, g := range stages() {
		s.to(t, g)
	}
	return s
}

// What becomes of policy: exactly as it should be; some of what it allows is denied; some of what it denies is allowed; both.
const (
	same   = "same"
	closed = "closed"
	open   = "open"
	both   = "open and closed"
)

func (e effect) String() string {
	switch {
	case len(e.opened) > 0 && len(e.closed) > 0:
		return both
	case len(e.opened) > 0:
		return open
	case len(e.closed) > 0:
		return closed
	}
	return same
}

// row is what becomes of policy where one assumption does not hold.
type row struct {
	h dptest.Assumption
	// trusted: the driver writes plain lists, of both families, and nobody has asked. On Server 2022, then on 2025 if that differs.
	trusted [2]string
	// sets likewise, where lists name sets; "" for as trusted.
	sets string
	// probed: the driver writes what the probe found right on that node.
	probed [2]string
	found  probe.Outcome
	// said is part of what the driver reports then; "": nothing, but that everything is denied where it is.
	said string
	// why the last may be open.
	why string
}

var rows = []row{
	{h: dptest.H1, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H2, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H3, trusted: [2]string{same}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H4, trusted: [2]string{open, same}, probed: [2]string{open, same}, found: probe.Proven, why: "the probe has TCP and UDP alone"},
	{h: dptest.H5, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H6, trusted: [2]string{open}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H7, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H8, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H9, trusted: [2]string{closed}, probed: [2]string{closed}, found: probe.False, said: "without a length"},
	{h: dptest.H10, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H11, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H12, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H13, trusted: [2]string{closed}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H14, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H15, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H16, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H17, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H18, trusted: [2]string{both}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H19, trusted: [2]string{closed}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H20, trusted: [2]string{both}, probed: [2]string{both}, found: probe.NotTried, why: "a Deny by destination does not match the address of a service"},
	{h: dptest.H21, trusted: [2]string{both}, probed: [2]string{both}, found: probe.NotTried, why: "what comes through a service counts as the node's"},
	{h: dptest.H22, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H23, trusted: [2]string{open}, probed: [2]string{closed}, found: probe.False},
	{h: dptest.H24, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H25, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H26, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H27, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H28, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False, said: "Ids of ACLs"},
	{h: dptest.H29, trusted: [2]string{closed}, probed: [2]string{closed}, found: probe.NotTried, said: "at most 100"},
	{h: dptest.H30, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H31, trusted: [2]string{open}, probed: [2]string{open}, found: probe.False, said: "no attached endpoint", why: "no endpoint is found: each is reported, and the gate starts none"},
	{h: dptest.H32, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H33, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H34, trusted: [2]string{same}, sets: closed, probed: [2]string{same}, found: probe.False},
	{h: dptest.H35, trusted: [2]string{same}, sets: closed, probed: [2]string{same}, found: probe.False},
	{h: dptest.H36, trusted: [2]string{same}, sets: open, probed: [2]string{same}, found: probe.False},
	{h: dptest.H37, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H38, trusted: [2]string{same}, probed: [2]string{same}, found: probe.NotTried},
	{h: dptest.H39, trusted: [2]string{same}, probed: [2]string{same}, found: probe.False},
	{h: dptest.H40, trusted: [2]string{same}, sets: both, probed: [2]string{same}, found: probe.False},
	{h: dptest.H41, trusted: [2]string{same}, sets: closed, probed: [2]string{same}, found: probe.False},
}

func of(pair [2]string, build int) string {
	if build == emulator.Server2025 && pair[1] != "" {
		return pair[1]
	}
	return pair[0]
}

// TestEveryAssumptionMadeFalse runs the cluster with each assumption false: as if nobody had asked, and as the probe chose.
func TestEveryAssumptionMadeFalse(t *testing.T) {
	for _, r := range append([]row{{trusted: [2]string{same}, probed: [2]string{same}}}, rows...) {
		t.Run(r.h.String(), func(t *testing.T) {
			for _, build := range []int{emulator.Server2022, emulator.Server2025} {
				r.run(t, build)
			}
		})
	}
}

func (r *row) run(t *testing.T, build int) {
	t.Helper()
	o := emulator.Options{Build: build, False: []dptest.Assumption{r.h}}
	ask := func(name string, form windows.Form, reason, want string) *site {
		s := live(t, o, form, reason)
		if e := s.flows(t); e.String() != want {
			t.Errorf("%d, %s: %s, want %s\nopened %q\nclosed %q\nsaid %s", build, name, e, want, e.opened, e.closed, s.said())
		}
		return s
	}
	ask("trusted", windows.Form{IPv6: true}, "", of(r.trusted, build))
	sets := of(r.trusted, build)
	if r.sets != "" {
		sets = r.sets
	}
	ask("sets", windows.Form{IPv6: true, Sets: true}, "", sets)
	form, reason, found := probed(t, o, r.h)
	if found.Outcome != r.found {
		t.Errorf("%d: the probe says %+v, want %s", build, found, r.found)
	}
	s := ask("probed: "+form.String(), form, reason, of(r.probed, build))
	said := r.said
	if form.Closed {
		said = "everything is denied on this node: the probe found false: " + r.h.String()
	}
	if got := s.said(); !strings.Contains(got, said) || said == "" && got != "" {
		t.Errorf("%d: the drivers report %q, want %q", build, got, said)
	}
}

// TestNeighbouringVersions: which minor version of HNS a build has is a guess; with those beside it, nothing is otherwise.
func TestNeighbouringVersions(t *testing.T) {
	for _, build := range []int{emulator.Server2022, emulator.Server2025} {
		for _, v := range emulator.Versions(build) {
			o := emulator.Options{Build: build, Version: v}
			form, reason, _ := probed(t, o, 0)
			if want := (windows.Form{IPv6: true, Sets: true}); form != want {
				t.Errorf("%d, %v: form %s, %s", build, v, form, reason)
			}
			for _, f := range []windows.Form{{}, plainForm, form} {
				s := live(t, o, f, reason)
				if e := s.flows(t); len(e.opened) > 0 || f.IPv6 && len(e.closed) > 0 || s.said() != "" {
					t.Errorf("%d, %v, %s: opened %q, closed %q; said %s", build, v, f, e.opened, e.closed, s.said())
				}
			}
		}
	}
}

var documented = regexp.MustCompile(`(?m)^\| (H\d+) \|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|$`)

// TestRowsAreWhatIsDocumented: every assumption of docs/windows.md has a row here, and what becomes of policy is what the document says: open nowhere
// but where it says so, and found by the probe or reported where it says that.
func TestRowsAreWhatIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/windows.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := documented.FindAllStringSubmatch(string(text), -1)
	if len(lines) != len(rows) {
		t.Fatalf("%d assumptions are documented, %d are made false here", len(lines), len(rows))
	}
	for i, r := range rows {
		name, ifFalse := lines[i][1], lines[i][5]
		says := func(word string) bool { return strings.Contains(ifFalse, word) }
		if name != r.h.String() {
			t.Fatalf("row %d is %s, documented is %s", i, r.h, name)
		}
		opens := slices.Contains([]string{open, both}, r.probed[0])
		if opens != (r.why != "") || opens && !says("open") && !says("counts as the node's") && !says("gate") {
			t.Errorf("%s is %s even where it was probed (%q): documented is %q", r.h, r.probed[0], r.why, ifFalse)
		}
		wouldOpen := slices.Contains([]string{open, both}, r.trusted[0]) && !opens
		if wouldOpen && !says("probe") {
			t.Errorf("%s opens where nobody asked, and the probe finds it: documented is %q", r.h, ifFalse)
		}
		if r.said != "" && !says("reported") {
			t.Errorf("%s is reported (%q): documented is %q", r.h, r.said, ifFalse)
		}
		if r.sets != "" && !says("plain form") {
			t.Errorf("%s makes lists plain: documented is %q", r.h, ifFalse)
		}
	}
}
