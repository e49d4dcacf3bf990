package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

// verb is how an object of a file gets into the datastore.
type verb struct {
	name, done, short string
	put               func(context.Context, datastore.Store, v3.Object) (what string, err error)
	raw               local.PutMode // for Kubernetes' own objects
}

func newCreate(app *App) *cobra.Command {
	return newWrite(app, verb{"create", "created", "Create resources; they must not be there", create, local.PutCreate})
}

func newApply(app *App) *cobra.Command {
	return newWrite(app, verb{"apply", "applied", "Create resources, or make them as the files say", apply, local.PutApply})
}

func newReplace(app *App) *cobra.Command {
	return newWrite(app, verb{"replace", "replaced", "Replace resources; they must be there", replace, local.PutReplace})
}

// newWrite makes a command that takes all objects of its files or, where one of them is invalid, none.
func newWrite(app *App, v verb) *cobra.Command {
	c := &cobra.Command{Use: v.name + " -f FILE|DIR|-", Short: v.short, Args: cobra.NoArgs}
	in := addInput(c, app)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(in.files) == 0 {
			return usage(errors.New("give files with -f"))
		}
		found, faults, err := readValid(in.files)
		if err != nil {
			return usage(err)
		}
		if err := printFaults(app, "table", faults); err != nil {
			return err
		}
		if v3.Failed(faults) {
			return no(errors.New("nothing was " + v.done))
		}
		store, err := in.open()
		if err != nil {
			return err
		}
		defer store.Close()
		return v.all(c.Context(), app, store, found)
	}
	return c
}

// all puts every object; one that is refused does not keep back the others.
func (v *verb) all(ctx context.Context, app *App, store datastore.Store, found *local.Objects) error {
	var errs []error
	say := func(object, what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", object, err))
			return
		}
		fmt.Fprintf(app.Out, "%s %s\n", object, what)
	}
	for _, raw := range found.Raw {
		what, err := putRaw(ctx, store, raw, v.raw)
		say(raw.Origin, what, err)
	}
	for _, f := range found.Found {
		if f.Origin != "" {
			continue // written as the Kubernetes object that it is a view of
		}
		what, err := v.put(ctx, store, f.Object)
		say(v3.KeyOf(f.Object).String(), what, err)
	}
	printForeign(app.Err, found.Foreign)
	return writeError(errs)
}

// putRaw stores a Kubernetes object as it is, where the datastore takes those.
func putRaw(ctx context.Context, store datastore.Store, raw local.Raw, mode local.PutMode) (string, error) {
	s, ok := store.(*local.Store)
	if !ok {
		return "", fmt.Errorf("Kubernetes' own objects are written with kubectl: %w", datastore.ErrUnsupported)
	}
	return s.PutRaw(ctx, raw, mode)
}

// writeError has the status of the worst: refused is 3 where the datastore could not be reached, else 1.
func writeError(errs []error) error {
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, datastore.ErrUnreachable):
		return unreachable(err)
	}
	return no(err)
}

func create(ctx context.Context, s datastore.Store, o v3.Object) (string, error) {
	_, err := s.Create(ctx, o)
	return "created", err
}

func replace(ctx context.Context, s datastore.Store, o v3.Object) (string, error) {
	old, err := s.Get(ctx, v3.KeyOf(o))
	if err != nil {
		return "", err
	}
	return "replaced", update(ctx, s, old, o)
}

func apply(ctx context.Context, s datastore.Store, o v3.Object) (string, error) {
	old, err := s.Get(ctx, v3.KeyOf(o))
	if errors.Is(err, datastore.ErrNotFound) {
		return create(ctx, s, o)
	}
	if err != nil {
		return "", err
	}
	return "applied", update(ctx, s, old, o)
}

// update puts o in the place of old. The revision is that of the file if it gives one, so that a file got earlier does not undo what
// others did since; else that of old.
func update(ctx context.Context, s datastore.Store, old, o v3.Object) error {
	if errs := v3.ValidateUpdate(old, o); v3.Failed(errs) {
		return errors.Join(asErrors(errs)...)
	}
	if o.GetResourceVersion() == "" {
		o = o.Copy()
		o.SetResourceVersion(old.GetResourceVersion())
	}
	_, err := s.Update(ctx, o)
	return err
}

func asErrors(faults []v3.FieldError) []error {
	out := make([]error, len(faults))
	for i, f := range faults {
		out[i] = f
	}
	return out
}

func newDelete(app *App) *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use:   "delete KIND NAME… | -f FILE|DIR|-",
		Short: "Delete resources, by name or as named in files",
	}
	in := addInput(c, app)
	addNamespace(c, &namespace)
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, raws, err := in.keysToDelete(args, namespace)
		if err != nil {
			return err
		}
		store, err := in.open()
		if err != nil {
			return err
		}
		defer store.Close()
		return deleteAll(c.Context(), app, store, keys, raws)
	}
	return c
}

func (in *input) keysToDelete(args []string, namespace string) ([]v3.Key, []local.Raw, error) {
	if (len(args) >= 2) == (len(in.files) > 0) {
		return nil, nil, usage(errors.New("give a kind and names, or files with -f"))
	}
	var keys []v3.Key
	if len(args) >= 2 {
		info, err := findKind(args[0])
		if err != nil {
			return nil, nil, err
		}
		for _, name := range args[1:] {
			keys = append(keys, keyArg(info, namespace, name))
		}
		return keys, nil, nil
	}
	found, faults, err := local.ReadFiles(in.files...)
	if err != nil {
		return nil, nil, usage(err)
	}
	if err := printFaults(in.app, "table", faults); err != nil || v3.Failed(faults) {
		return nil, nil, no(errors.Join(err, errors.New("nothing was deleted")))
	}
	for _, f := range found.Found {
		if f.Origin == "" {
			keys = append(keys, v3.KeyOf(f.Object))
		}
	}
	return keys, found.Raw, nil
}

func deleteAll(ctx context.Context, app *App, store datastore.Store, keys []v3.Key, raws []local.Raw) error {
	var errs []error
	for _, key := range keys {
		err := errors.Join(asErrors(v3.ValidateDelete(key))...)
		if err == nil {
			err = store.Delete(ctx, key, "")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
			continue
		}
		fmt.Fprintf(app.Out, "%s deleted\n", key)
	}
	for _, raw := range raws {
		what, err := putRaw(ctx, store, raw, local.PutDelete)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", raw.Origin, err))
			continue
		}
		fmt.Fprintf(app.Out, "%s %s\n", raw.Origin, what)
	}
	return writeError(errs)
}

func newLabel(app *App) *cobra.Command {
	var namespace string
	var overwrite bool
	c := &cobra.Command{
		Use:   "label KIND NAME KEY=VALUE… KEY-…",
		Short: "Set and remove labels of a resource",
		Args:  cobra.MinimumNArgs(3),
	}
	in := addInput(c, app)
	addNamespace(c, &namespace)
	c.Flags().BoolVar(&overwrite, "overwrite", false, "change labels that have another value")
	c.RunE = func(c *cobra.Command, args []string) error {
		info, err := findKind(args[0])
		if err != nil {
			return err
		}
		change, err := parseLabels(args[2:])
		if err != nil {
			return usage(err)
		}
		store, err := in.open()
		if err != nil {
			return err
		}
		defer store.Close()
		key := keyArg(info, namespace, args[1])
		if err := label(c.Context(), store, key, change, overwrite); err != nil {
			return writeError([]error{fmt.Errorf("%s: %w", key, err)})
		}
		fmt.Fprintf(app.Out, "%s labelled\n", key)
		return nil
	}
	return c
}

// parseLabels reads "key=value" and "key-"; nil removes.
func parseLabels(args []string) (map[string]*string, error) {
	change := map[string]*string{}
	for _, arg := range args {
		key, value, set := strings.Cut(arg, "=")
		if name, remove := strings.CutSuffix(arg, "-"); remove && !set {
			change[name] = nil
			continue
		}
		if !set || key == "" {
			return nil, fmt.Errorf("%q is not a label; valid: KEY=VALUE, or KEY- to remove it", arg)
		}
		change[key] = &value
	}
	return change, nil
}

// label changes labels of a stored object, again where somebody else was quicker.
func label(ctx context.Context, store datastore.Store, key v3.Key, change map[string]*string, overwrite bool) error {
	for {
		old, err := store.Get(ctx, key)
		if err != nil {
			return err
		}
		o := old.Copy()
		labels := maps.Clone(o.GetLabels())
		if err := changeLabels(&labels, change, overwrite); err != nil {
			return err
		}
		o.SetLabels(labels)
		if _, err = store.Update(ctx, o); !errors.Is(err, datastore.ErrConflict) {
			return err
		}
	}
}

func changeLabels(labels *map[string]string, change map[string]*string, overwrite bool) error {
	if *labels == nil {
		*labels = map[string]string{}
	}
	for key, value := range change {
		old, there := (*labels)[key]
		switch {
		case value == nil:
			delete(*labels, key)
		case there && old != *value && !overwrite:
			return fmt.Errorf("label %s is %q; --overwrite changes it: %w", key, old, datastore.ErrExists)
		default:
			(*labels)[key] = *value
		}
	}
	return nil
}
