package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

func newDelete(app *App) *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use:   "delete KIND NAME… | -f FILE|DIR|-",
		Short: "Delete resources, by name or as named in files",
	}
	in := addStore(c, app)
	addFiles(c, &in.files, "delete what is in this file or folder, or - for standard input (repeatable)")
	addNamespace(c, &namespace)
	c.RunE = func(c *cobra.Command, args []string) error {
		namespace, err := in.namespace(namespace)
		if err != nil {
			return err
		}
		in.into = namespace
		keys, raws, err := in.keysToDelete(args, namespace)
		if err != nil {
			return err
		}
		if err := checkDelete(keys); err != nil {
			return no(errors.Join(err, errors.New("nothing was deleted")))
		}
		store, err := in.open(false)
		if err != nil {
			return err
		}
		defer store.Close()
		return deleteAll(c.Context(), app, store, keys, raws)
	}
	return c
}

func (in *input) keysToDelete(args []string, namespace string) ([]v3.Key, []datastore.Raw, error) {
	switch {
	case len(in.files) > 0 && len(args) > 0:
		return nil, nil, usage(errors.New("give either a kind and names, or files with -f"))
	case len(in.files) == 0 && len(args) < 2:
		return nil, nil, usage(errors.New("give a kind and names, or files with -f"))
	case len(args) > 0:
		info, err := findKind(args[0])
		if err != nil {
			return nil, nil, err
		}
		var keys []v3.Key
		for _, name := range args[1:] {
			keys = append(keys, keyArg(info, namespace, name))
		}
		return keys, nil, nil
	}
	return in.keysOfFiles()
}

// keysOfFiles are the objects that files name. They need not be valid, but must be readable.
func (in *input) keysOfFiles() ([]v3.Key, []datastore.Raw, error) {
	found, faults, err := local.ReadFilesInto(in.into, in.app.In, in.files...)
	if err != nil {
		return nil, nil, usage(err)
	}
	printFaults(in.app.Err, faults)
	if v3.Failed(faults) {
		return nil, nil, no(errors.New("nothing was deleted"))
	}
	var keys []v3.Key
	for _, f := range found.Found {
		if f.Origin == "" {
			keys = append(keys, v3.KeyOf(f.Object))
		}
	}
	return keys, found.Raw, nil
}

func checkDelete(keys []v3.Key) error {
	var errs []error
	for _, key := range keys {
		errs = append(errs, asErrors(v3.ValidateDelete(key))...)
	}
	return errors.Join(errs...)
}

// deleteAll deletes what is there, and names what is not.
func deleteAll(ctx context.Context, app *App, store datastore.Store, keys []v3.Key, raws []datastore.Raw) error {
	var errs []error
	say := func(object string, err error) {
		if err != nil {
			errs = append(errs, named(object, err))
			return
		}
		fmt.Fprintf(app.Out, "%s deleted\n", object)
	}
	for _, key := range keys {
		say(key.String(), store.Delete(ctx, key, ""))
	}
	for _, raw := range raws {
		_, err := putRaw(ctx, store, raw, datastore.PutDelete)
		say(raw.Origin, err)
	}
	return writeError(errors.Join(errs...))
}
