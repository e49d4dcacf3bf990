package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

func newLabel(app *App) *cobra.Command {
	var namespace string
	var overwrite bool
	c := &cobra.Command{
		Use:   "label KIND NAME KEY=VALUE… KEY-…",
		Short: "Set and remove labels of a resource",
		Args:  cobra.MinimumNArgs(3),
	}
	in := addStore(c, app)
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
		if namespace, err = in.namespace(namespace); err != nil {
			return err
		}
		store, err := in.open(false)
		if err != nil {
			return err
		}
		defer store.Close()
		key := keyArg(info, namespace, args[1])
		if err := label(c.Context(), store, key, change, overwrite); err != nil {
			return writeError(named(key.String(), err))
		}
		fmt.Fprintf(app.Out, "%s labelled\n", key)
		return nil
	}
	return c
}

// parseLabels reads "key=value" and "key-"; nil removes.
func parseLabels(args []string) (map[string]*string, error) {
	change := map[string]*string{}
	var errs []error
	for _, arg := range args {
		key, value, set := strings.Cut(arg, "=")
		to := &value
		if !set {
			var remove bool
			if key, remove = strings.CutSuffix(arg, "-"); !remove {
				key = ""
			}
			to = nil
		}
		switch _, again := change[key]; {
		case key == "":
			errs = append(errs, fmt.Errorf("%q is not a label; valid: KEY=VALUE, or KEY- to remove it", arg))
		case again:
			errs = append(errs, fmt.Errorf("label %s is given twice; valid: once", key))
		}
		change[key] = to
	}
	return change, errors.Join(errs...)
}

// label changes labels of a stored object, again where somebody else was quicker.
func label(ctx context.Context, store datastore.Store, key v3.Key, change map[string]*string, overwrite bool) error {
	for {
		old, err := store.Get(ctx, key)
		if err != nil {
			return err
		}
		if wep, ok := old.(*v3.WorkloadEndpoint); ok && wep.Spec.Pod != "" {
			return fmt.Errorf("%w: its labels come from its Pod; valid: labels of the Pod", datastore.ErrUnsupported)
		}
		o := old.Copy()
		labels, err := changeLabels(o.GetLabels(), change, overwrite)
		if err != nil {
			return err
		}
		o.SetLabels(labels)
		if errs := labelFaults(o); v3.Failed(errs) {
			return errors.Join(asErrors(errs)...)
		}
		if _, err := store.Update(ctx, o); !errors.Is(err, datastore.ErrConflict) {
			return err
		}
	}
}

// labelFaults are what is wrong with the labels, whatever else is wrong with the object.
func labelFaults(o v3.Object) []v3.FieldError {
	return slices.DeleteFunc(v3.Validate(o), func(e v3.FieldError) bool { return !strings.HasPrefix(e.Field, "metadata.labels") })
}

// changeLabels makes new labels of old ones.
func changeLabels(old map[string]string, change map[string]*string, overwrite bool) (map[string]string, error) {
	labels := maps.Clone(old)
	if labels == nil {
		labels = map[string]string{}
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(change)) {
		value := change[key]
		before, there := labels[key]
		switch {
		case value == nil:
			delete(labels, key)
		case there && before != *value && !overwrite:
			errs = append(errs, fmt.Errorf("metadata.labels.%s: %w, as %q; valid: --overwrite to change it", key, datastore.ErrExists, before))
		default:
			labels[key] = *value
		}
	}
	return labels, errors.Join(errs...)
}
