package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// live is how people name the datastore in place of a file.
const live = "live"

func newDiff(app *App) *cobra.Command {
	var output string
	var exitCode, staged bool
	c := &cobra.Command{
		Use:   "diff OLD NEW | diff --staged",
		Short: "Say which connections open and close from one set of resources to another",
		Long: "Say which connections open and close from one set of resources to another, exactly. OLD and NEW are each a file, a folder, or\n" +
			"live: all that the datastore has. Where one of them has no endpoint, the endpoints of the other stand in, with their namespaces,\n" +
			"nodes and services, so that policies alone can be compared. What -f names is added to each that is not live.\n" +
			"A connection from an endpoint's own node is always let in, and is no part of the answer. With --staged and neither of the two, the\n" +
			"resources of -f or of the datastore are compared with themselves as they would be if their staged policies were in force.",
		Args: func(c *cobra.Command, args []string) error {
			if staged {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(2)(c, args)
		},
	}
	in := addInput(c, app)
	c.Flags().BoolVar(&staged, "staged", false, "compare the resources with what they would be if the staged policies were in force")
	addOutput(c, &output, "table", "json")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 where anything opens or closes")
	c.RunE = func(c *cobra.Command, args []string) error {
		old, now, err := in.compared(c.Context(), args)
		if err != nil {
			return err
		}
		answer := newDiffAnswer(flatten.Diff(old, now))
		if output != "json" {
			printDiff(app.Out, answer)
		} else if err := printJSON(app.Out, answer); err != nil {
			return err
		}
		if exitCode && answer.differs() {
			return &exitError{exitNo, nil}
		}
		return nil
	}
	return c
}

// compared are the two sides: those that are named or, where none is, the resources without and with their staged policies.
func (in *input) compared(ctx context.Context, args []string) (from, to *dataplane.State, err error) {
	if len(args) == 2 {
		return in.both(ctx, args[0], args[1])
	}
	objects, err := in.objects(ctx)
	if err != nil {
		return nil, nil, err
	}
	promoted, changes := promote(objects)
	if !changes {
		fmt.Fprintln(in.app.Err, "warning: there is no staged policy with Set or Delete")
	}
	from, to, reports := resolveBoth(objects, promoted)
	for _, r := range reports {
		in.warn(r)
	}
	return from, to, nil
}

// both reads and resolves the two sides of a comparison.
func (in *input) both(ctx context.Context, old, now string) (from, to *dataplane.State, err error) {
	if slices.Contains([]string{old, now}, "-") && (old == now || slices.Contains(in.files, "-")) {
		return nil, nil, usage(errors.New("standard input can be read once: name - one time"))
	}
	before, err := in.sideObjects(ctx, old)
	if err != nil {
		return nil, nil, err
	}
	after, err := in.sideObjects(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	before, after = standIn(before, after), standIn(after, before)
	if !hasEndpoints(before) {
		fmt.Fprintln(in.app.Err, "warning: neither OLD nor NEW has an endpoint, a Pod for one: no connection is judged by policy")
	}
	from, to, reports := resolveBoth(before, after)
	for _, r := range reports {
		in.warn(r)
	}
	return from, to, nil
}

// resolveBoth resolves what is different alone a second time.
func resolveBoth(before, after []v3.Object) (from, to *dataplane.State, reports []*policy.Report) {
	r := newResolver(before)
	state, _ := r.Flush()
	from, reports = state.Copy(), append(reports, r.Report())

	gone := make(map[v3.Key]v3.Object, len(before))
	for _, o := range before {
		gone[v3.KeyOf(o)] = o
	}
	for _, o := range after {
		key := v3.KeyOf(o)
		if old, ok := gone[key]; !ok || old != o && !reflect.DeepEqual(old, o) {
			r.Update(key, o)
		}
		delete(gone, key)
	}
	for key := range gone {
		r.Update(key, nil)
	}
	to, _ = r.Flush()
	return from, to, append(reports, r.Report())
}

func (in *input) sideObjects(ctx context.Context, name string) ([]v3.Object, error) {
	if name == live {
		return in.stored(ctx)
	}
	side := *in
	side.files = append([]string{name}, in.files...)
	return side.objects(ctx)
}

func hasEndpoints(objects []v3.Object) bool {
	return slices.ContainsFunc(objects, func(o v3.Object) bool { return o.GetKind() == v3.KindWorkloadEndpoint })
}

// standIn is objects, with what policies are about from the other side where they have none of it.
func standIn(objects, other []v3.Object) []v3.Object {
	if hasEndpoints(objects) {
		return objects
	}
	has := map[v3.Key]bool{}
	for _, o := range objects {
		has[v3.KeyOf(o)] = true
	}
	out := slices.Clone(objects)
	for _, o := range other {
		switch o.GetKind() {
		case v3.KindWorkloadEndpoint, v3.KindHostEndpoint, v3.KindProfile, v3.KindNode, v3.KindServiceEndpoints, v3.KindIPAMBlock:
			if !has[v3.KeyOf(o)] {
				out = append(out, o)
			}
		}
	}
	return out
}

// diffAnswer is what -o json prints; its names are stable.
type diffAnswer struct {
	Opens     []change               `json:"opens"`
	Closes    []change               `json:"closes"`
	Unchanged []unchanged            `json:"unchanged"` // their policies differ, but not what these allow
	Moved     []dataplane.EndpointID `json:"moved"`     // in one of the two alone, or at another address: not compared
	// Hosts are host endpoints whose policy differs: what they let through besides is not compared.
	Hosts []dataplane.EndpointID `json:"hosts,omitempty"`
}

type unchanged struct {
	Endpoint  dataplane.EndpointID `json:"endpoint"`
	Direction string               `json:"direction"`
}

func (a *diffAnswer) differs() bool { return len(a.Opens)+len(a.Closes) > 0 }

func newDiffAnswer(d flatten.Delta) *diffAnswer {
	n := newEndNamer(&d)
	a := &diffAnswer{
		Opens: n.changes(d.Opens), Closes: n.changes(d.Closes),
		Unchanged: []unchanged{}, Moved: append([]dataplane.EndpointID{}, d.Moved...), Hosts: d.Hosts,
	}
	for _, u := range d.Unchanged {
		a.Unchanged = append(a.Unchanged, unchanged{u.Endpoint, u.Direction.String()})
	}
	return a
}

func printDiff(w io.Writer, a *diffAnswer) {
	for _, c := range a.Opens {
		fmt.Fprintln(w, "opens:", c)
	}
	for _, c := range a.Closes {
		fmt.Fprintln(w, "closes:", c)
	}
	if !a.differs() {
		fmt.Fprintln(w, "nothing opens or closes")
	}
	for _, dir := range []string{"egress", "ingress"} {
		var ids []string
		for _, u := range a.Unchanged {
			if u.Direction == dir {
				ids = append(ids, string(u.Endpoint))
			}
		}
		if len(ids) > 0 {
			fmt.Fprintf(w, "unchanged: %s of %s (other policies, the same connections)\n", dir, strings.Join(ids, ", "))
		}
	}
	for _, id := range a.Moved {
		fmt.Fprintf(w, "not compared: %s (not in both, or at other addresses)\n", id)
	}
	for _, id := range a.Hosts {
		fmt.Fprintf(w, "not compared: %s (its policy differs, and what host endpoints let through is no part of the answer)\n", id)
	}
}
