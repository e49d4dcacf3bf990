package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

// verb is how the objects of files get into the datastore.
type verb struct {
	name, done, short string
	mode              datastore.PutMode
}

func newCreate(app *App) *cobra.Command {
	return newWrite(app, verb{"create", "created", "Create resources; they must not be there", datastore.PutCreate})
}

func newApply(app *App) *cobra.Command {
	return newWrite(app, verb{"apply", "applied", "Create resources, or make them as the files say", datastore.PutApply})
}

func newReplace(app *App) *cobra.Command {
	return newWrite(app, verb{"replace", "replaced", "Replace resources; they must be there", datastore.PutReplace})
}

// newWrite makes a command that takes all objects of its files or, where one of them can't be taken, none.
func newWrite(app *App, v verb) *cobra.Command {
	c := &cobra.Command{Use: v.name + " -f FILE|DIR|-", Short: v.short, Args: cobra.NoArgs}
	var namespace string
	in := addStore(c, app)
	addFiles(c, &in.files, "file or folder, or - for standard input (repeatable)")
	addNamespace(c, &namespace)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(in.files) == 0 {
			return usage(errors.New("give files with -f"))
		}
		var err error
		if in.into, err = in.namespace(namespace); err != nil {
			return err
		}
		found, faults, err := in.read()
		if err == nil {
			err = elsewhere(found, namespace)
		}
		if err != nil {
			return err
		}
		printFaults(app.Err, faults)
		if v3.Failed(faults) {
			return no(fmt.Errorf("nothing was %s", v.done))
		}
		store, err := in.open(true)
		if err != nil {
			return err
		}
		defer store.Close()
		return v.all(c.Context(), app, store, found)
	}
	return c
}

// elsewhere names the objects that are of another namespace than the one that is asked for, if one is.
func elsewhere(found *local.Objects, namespace string) error {
	var errs []error
	say := func(object, file string, line int, in string) {
		if in != "" && in != namespace {
			errs = append(errs, fmt.Errorf("%s:%d: %s: metadata.namespace is %s; valid: %s, or none, as --namespace says", file, line, object, in, namespace))
		}
	}
	if namespace == "" {
		return nil
	}
	for i := range found.Found {
		if f := &found.Found[i]; f.Origin == "" {
			say(v3.KeyOf(f.Object).String(), f.File, f.Line, f.Object.GetNamespace())
		}
	}
	for _, raw := range found.Raw {
		_, name, _ := strings.Cut(raw.Origin, " ")
		in, _, namespaced := strings.Cut(name, "/")
		if namespaced {
			say(raw.Origin, raw.File, raw.Line, in)
		}
	}
	if len(errs) > 0 {
		return usage(errors.Join(errs...))
	}
	return nil
}

// all puts every object, unless one can't be put by what the datastore holds. One that others change meanwhile does not keep back
// those after it.
func (v *verb) all(ctx context.Context, app *App, store datastore.Store, found *local.Objects) error {
	if err := v.check(ctx, store, found); err != nil {
		return writeError(errors.Join(err, fmt.Errorf("nothing was %s", v.done)))
	}
	var errs []error
	say := func(object, what string, err error) {
		if err != nil {
			errs = append(errs, named(object, err))
			return
		}
		fmt.Fprintf(app.Out, "%s %s\n", object, what)
	}
	slices.SortStableFunc(found.Raw, func(a, b datastore.Raw) int { return cmp.Compare(rawRank(a), rawRank(b)) })
	for _, raw := range found.Raw {
		what, err := putRaw(ctx, store, raw, v.mode)
		if !raw.Enforced() {
			what += " (" + notEnforced + ")"
		}
		say(raw.Origin, what, err)
	}
	for i := range found.Found {
		if f := &found.Found[i]; f.Origin == "" { // a view is written as the Kubernetes object that it is of
			what, err := v.put(ctx, store, f)
			say(v3.KeyOf(f.Object).String(), what+enforcement(f.Object.GetKind()), err)
		}
	}
	printForeign(app.Err, found.Foreign)
	return writeError(errors.Join(errs...))
}

// rawRank has namespaces written before what is in them.
func rawRank(raw datastore.Raw) int {
	if strings.HasPrefix(raw.Origin, "Namespace ") {
		return 0
	}
	return 1
}

// named begins an error with its object, unless it does so already.
func named(object string, err error) error {
	if text := err.Error(); len(text) > len(object) && text[:len(object)] == object {
		return err
	}
	return fmt.Errorf("%s: %w", object, err)
}

// enforcement says so where a kind is only stored.
func enforcement(kind v3.Kind) string {
	if info, ok := v3.InfoOf(kind); ok && !info.Enforced {
		return " (" + notEnforced + ")"
	}
	return ""
}

const notEnforced = "NotEnforced"

// check finds what can't be put, by what is there.
func (v *verb) check(ctx context.Context, store datastore.Store, found *local.Objects) error {
	var errs []error
	for _, raw := range found.Raw {
		s, err := rawStore(store)
		if err == nil {
			err = s.CheckRaw(ctx, raw, v.mode)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", raw.File, raw.Line, named(raw.Origin, err)))
		}
	}
	for i := range found.Found {
		f := &found.Found[i]
		if f.Origin != "" {
			continue
		}
		faults, err := v.checkOne(ctx, store, f)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", f.File, f.Line, named(v3.KeyOf(f.Object).String(), err)))
		}
		errs = append(errs, asErrors(faults)...)
	}
	return errors.Join(errs...)
}

func (v *verb) checkOne(ctx context.Context, store datastore.Store, f *local.Found) ([]v3.FieldError, error) {
	old, err := store.Get(ctx, v3.KeyOf(f.Object))
	switch {
	case errors.Is(err, datastore.ErrNotFound) && v.mode != datastore.PutReplace:
		return nil, nil
	case err != nil:
		return nil, err
	case v.mode == datastore.PutCreate:
		return nil, datastore.ErrExists
	}
	faults := v3.ValidateUpdate(old, f.Object)
	f.Locate(faults)
	return faults, nil
}

// put creates an object, or puts it in the place of what is there. The revision is that of the file if it gives one, so that a file
// got earlier does not undo what others did since; else that of what is there, again where somebody was quicker.
func (v *verb) put(ctx context.Context, store datastore.Store, f *local.Found) (string, error) {
	for {
		old, err := store.Get(ctx, v3.KeyOf(f.Object))
		if errors.Is(err, datastore.ErrNotFound) && v.mode != datastore.PutReplace || v.mode == datastore.PutCreate {
			_, err = store.Create(ctx, f.Object)
			if !errors.Is(err, datastore.ErrExists) || v.mode == datastore.PutCreate {
				return "created", err
			}
			continue
		}
		if err != nil {
			return "", err
		}
		o := f.Object.Copy()
		o.SetResourceVersion(cmp.Or(f.Revision, old.GetResourceVersion()))
		if o.GetResourceVersion() == old.GetResourceVersion() && equal(asGiven(o), asGiven(old)) {
			return v.done, nil // as it is: no watcher need hear of it
		}
		_, err = store.Update(ctx, o)
		if !errors.Is(err, datastore.ErrConflict) {
			return v.done, err
		}
		if f.Revision != "" {
			return "", fmt.Errorf("%w; metadata.resourceVersion is %s, but it is %s now; valid: the object as got anew, or no resourceVersion", err, f.Revision, old.GetResourceVersion())
		}
	}
}

// rawStore is a datastore that takes Kubernetes' own objects.
func rawStore(store datastore.Store) (datastore.RawStore, error) {
	s, ok := store.(datastore.RawStore)
	if !ok {
		return nil, fmt.Errorf("this datastore does not keep objects of Kubernetes itself: %w; valid: a directory, or the API server (--datastore kube)", datastore.ErrUnsupported)
	}
	return s, nil
}

func putRaw(ctx context.Context, store datastore.Store, raw datastore.Raw, mode datastore.PutMode) (string, error) {
	s, err := rawStore(store)
	if err != nil {
		return "", err
	}
	return s.PutRaw(ctx, raw, mode)
}

// writeError has the status of the worst: 3 where the datastore could not be reached or refused, else 1.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	for _, refusal := range []error{datastore.ErrUnreachable, datastore.ErrForbidden, datastore.ErrNotServed} {
		if errors.Is(err, refusal) {
			return unreachable(err)
		}
	}
	return no(err)
}

func asErrors(faults []v3.FieldError) []error {
	var out []error
	for _, f := range faults {
		if !f.Warning {
			out = append(out, f)
		}
	}
	return out
}
