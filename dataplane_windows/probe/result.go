package probe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Outcome of trying an assumption.
type Outcome string

// The outcomes.
const (
	Proven   Outcome = "Proven"
	False    Outcome = "False"
	NotTried Outcome = "NotTried"
)

// Finding is what became of one assumption.
type Finding struct {
	Assumption Assumption `json:"assumption"`
	Outcome    Outcome    `json:"outcome"`
	// Detail says what was seen where it is false, why where it was not tried, and for one proven what was left out, if anything.
	Detail string `json:"detail,omitempty"`
	// Refused: it is false because HNS takes no such request, which shows whenever one is made.
	Refused bool `json:"refused,omitempty"`
}

// Text says what is assumed.
func (f *Finding) Text() string { return f.Assumption.Text() }

// Result of a probe on one node.
type Result struct {
	// Build of Windows, and the version of HNS: on another the result says nothing.
	Build   int         `json:"build"`
	Version hns.Version `json:"version"`
	// Trials is which edition of the trials was made.
	Trials int `json:"trials"`
	// Findings are one for each assumption, in order.
	Findings []Finding `json:"findings"`
	// Rendered is about lists as a whole.
	Rendered Rendered `json:"rendered"`
}

// edition counts changes of the trials.
const edition = 2

// untried is a result in which nothing was tried, for this reason.
func untried(build int, v hns.Version, reason string) Result {
	r := Result{Build: build, Version: v, Trials: edition, Rendered: Rendered{Outcome: NotTried, Detail: reason}}
	for a := Assumption(1); a <= last; a++ {
		r.Findings = append(r.Findings, Finding{Assumption: a, Outcome: NotTried, Detail: reason})
	}
	return r
}

// Assume is a result as if everything had been proven: for hosts where no packets can be sent, and somebody answers for it.
func Assume(build int, v hns.Version) Result {
	r := untried(build, v, "")
	for i := range r.Findings {
		r.Findings[i].Outcome = Proven
	}
	r.Rendered = Rendered{Outcome: Proven}
	return r
}

// of is the finding about an assumption. A Result that is not whole, as the zero one, says that nothing was tried.
func (r *Result) of(a Assumption) *Finding {
	if len(r.Findings) != int(last) {
		return &Finding{Assumption: a, Outcome: NotTried}
	}
	return &r.Findings[a-1]
}

func (r *Result) all(list []Assumption, o Outcome) bool {
	return !slices.ContainsFunc(list, func(a Assumption) bool { return r.of(a).Outcome != o })
}

// wrong are those findings that have the node deny everything.
func (r *Result) wrong() []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Refuses() {
			out = append(out, f)
		}
	}
	return out
}

// Form is how lists are to be written on the node.
func (r *Result) Form() windows.Form {
	f := windows.FormOf(r.Version)
	if len(r.wrong()) > 0 || r.Rendered.Open {
		return windows.Form{Closed: true, IPv6: f.IPv6}
	}
	f.IPv6 = f.IPv6 && r.all(ipv6, Proven)
	f.Sets = f.Sets && r.all(sets, Proven)
	return f
}

// Reason says in a line why that form.
func (r *Result) Reason() string {
	if wrong := r.wrong(); len(wrong) > 0 {
		return "the probe found false: " + names(wrong) + ": " + wrong[0].Detail
	}
	if r.Rendered.Open {
		return "a list lets through what policy denies: " + r.Rendered.Detail
	}
	var untried []Finding
	for _, a := range plain {
		if f := r.of(a); f.Outcome == NotTried {
			untried = append(untried, *f)
		}
	}
	switch {
	case len(untried) == len(plain):
		return "nothing was proven on this node: " + cmp.Or(untried[0].Detail, "it was not tried")
	case len(untried) > 0:
		return "not proven on this node: " + names(untried) + ": " + untried[0].Detail
	}
	if f := r.Form(); f.Sets {
		return "proven on this node"
	}
	return "proven on this node, but for sets"
}

func names(list []Finding) string {
	var out []string
	for _, f := range list {
		out = append(out, f.Assumption.String())
	}
	return strings.Join(out, ", ")
}

// Settled tells whether the result need not be asked for again on this build and version: all that can be tried was, and nothing was false that
// matters. What was false is tried again at the next start: it may have been the moment's fault.
func (r *Result) Settled() bool {
	falseOnes := slices.ContainsFunc(ipv6, func(a Assumption) bool { return r.of(a).Outcome == False })
	return r.all(plain, Proven) && r.all(sets, Proven) && !falseOnes && r.Rendered.Outcome == Proven
}

// file in the agent's state folder.
const file = "probe.json"

// Save keeps a result in a folder.
func Save(dir string, r Result) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp := filepath.Join(dir, file+".new")
	if err := os.WriteFile(temp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, file))
}

// Load reads the result that was kept in a folder; ok is whether there is one of this build and version.
func Load(dir string, build int, v hns.Version) (r Result, ok bool, err error) {
	r, err = read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, false, nil
	}
	if err != nil {
		return Result{}, false, err
	}
	return r, r.Build == build && r.Version == v && r.Trials == edition, nil
}

// read is the result in a folder, whatever host it is of.
func read(dir string) (Result, error) {
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return Result{}, err
	}
	r, err := parse(b)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// parse reads a result, which must have one finding for each assumption, in order.
func parse(b []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return Result{}, err
	}
	if len(r.Findings) != int(last) {
		return Result{}, fmt.Errorf("%d findings, want one for each of H1 to %s", len(r.Findings), last)
	}
	for i, f := range r.Findings {
		if f.Assumption != Assumption(i+1) {
			return Result{}, fmt.Errorf("finding %d is about %s", i, f.Assumption)
		}
		if f.Outcome != Proven && f.Outcome != False && f.Outcome != NotTried {
			return Result{}, fmt.Errorf("%s: outcome %q; valid: Proven, False, NotTried", f.Assumption, f.Outcome)
		}
	}
	return r, nil
}
