package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

func newImport(app *App) *cobra.Command {
	im := &importer{app: app, counts: map[string]int{}}
	c := &cobra.Command{
		Use:   "import -f FILE|DIR|-",
		Short: "Put all resources of an export into a datastore",
		Long: "Put all resources of an export into a datastore, each kind after those that it leans on. They are taken as they were stored: an unknown\n" +
			"field is an error, but nothing is judged besides. One that can't be put is named, and keeps back none of the others. The datastore must be empty,\n" +
			"but for what it has of itself, unless --merge or --replace say otherwise.",
		Args: cobra.NoArgs,
	}
	in := addStore(c, app)
	addFiles(c, &in.files, "file or folder, or - for standard input (repeatable)")
	c.Flags().BoolVar(&im.merge, "merge", false, "the datastore may hold resources; one that is there and differs stays, and is named as an error")
	c.Flags().BoolVar(&im.replace, "replace", false, "the datastore may hold resources; one that is there and differs is replaced")
	c.Flags().BoolVar(&im.dry, "dry-run", false, "change nothing, and say what would be done")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(in.files) == 0 {
			return usage(errors.New("give files with -f"))
		}
		found, faults, err := local.ReadFilesFrom(app.In, in.files...)
		if err != nil {
			return usage(err)
		}
		store, err := in.open(!im.dry)
		if err != nil {
			return err
		}
		defer store.Close()
		im.store = store
		return im.all(c.Context(), found, faults)
	}
	return c
}

// importer puts objects into a store.
type importer struct {
	app                 *App
	store               datastore.Store
	merge, replace, dry bool
	counts              map[string]int
	errs                []error
}

// all puts every object that can be put.
func (im *importer) all(ctx context.Context, found *local.Objects, faults []v3.FieldError) error {
	if !im.merge && !im.replace {
		if err := im.empty(ctx); err != nil {
			return err
		}
	}
	im.errs = asErrors(faults)
	var objects []v3.Object
	for i := range found.Found {
		if found.Found[i].Origin == "" {
			objects = append(objects, portable(found.Found[i].Object))
		}
	}
	inOrder(objects)
	for len(objects) > 0 {
		kind := objects[0].GetKind()
		end := slices.IndexFunc(objects, func(o v3.Object) bool { return o.GetKind() != kind })
		if end < 0 {
			end = len(objects)
		}
		im.kind(ctx, objects[:end])
		objects = objects[end:]
		if lost := errors.Join(im.errs...); errors.Is(lost, datastore.ErrUnreachable) {
			break // and the rest with it
		}
	}
	if len(found.Raw) > 0 {
		fmt.Fprintf(im.app.Err, "%d of Kubernetes itself left alone: kubectl writes them\n", len(found.Raw))
	}
	fmt.Fprintf(im.app.Out, "%d created, %d replaced, %d unchanged, %d left out, %d failed\n",
		im.counts["created"], im.counts["replaced"], im.counts["unchanged"], im.counts[leftOut], len(im.errs))
	return writeError(errors.Join(im.errs...))
}

// leftOut is said of what the datastore makes from Kubernetes objects itself.
const leftOut = "left out: made from Kubernetes objects"

// empty says why the datastore is not, but for what is there by itself.
func (im *importer) empty(ctx context.Context) error {
	for _, kind := range movedKinds {
		list, err := im.store.List(ctx, kind, "")
		if err != nil {
			return unreachable(err)
		}
		if len(list.Faults) > 0 {
			return no(fmt.Errorf("the datastore is not empty: %s; valid: an empty one, --merge or --replace", list.Faults[0]))
		}
		for _, o := range list.Objects {
			key := v3.KeyOf(o)
			if builtin := len(v3.ValidateDelete(key)) > 0; !builtin && !isDerived(im.store, key) {
				return no(fmt.Errorf("the datastore is not empty: it has %s; valid: an empty one, --merge or --replace", key))
			}
		}
	}
	return nil
}

// importWorkers bounds how many writes wait for the datastore at a time.
const importWorkers = 8

// kind puts objects of one kind, several at a time, and says what became of each in their order.
func (im *importer) kind(ctx context.Context, objects []v3.Object) {
	type outcome struct {
		what string
		err  error
	}
	outcomes := make([]outcome, len(objects))
	var workers sync.WaitGroup
	for worker := range importWorkers {
		workers.Go(func() {
			for i := worker; i < len(objects); i += importWorkers {
				outcomes[i].what, outcomes[i].err = im.put(ctx, objects[i])
				if errors.Is(outcomes[i].err, datastore.ErrUnreachable) {
					return
				}
			}
		})
	}
	workers.Wait()
	for i, o := range outcomes {
		key := v3.KeyOf(objects[i])
		switch {
		case o.err != nil:
			im.errs = append(im.errs, named(key.String(), o.err))
			continue
		case o.what == "":
			im.errs = append(im.errs, fmt.Errorf("%s: not tried", key))
			continue
		}
		im.counts[o.what]++
		if im.dry && o.what != "unchanged" {
			o.what = "would be " + o.what
		}
		fmt.Fprintf(im.app.Out, "%s %s\n", key, o.what)
	}
}

// put says what it did to one object, or would do.
func (im *importer) put(ctx context.Context, o v3.Object) (string, error) {
	key := v3.KeyOf(o)
	if isDerived(im.store, key) {
		return leftOut, nil
	}
	if err := datastore.Storable(key); err != nil {
		return "", err
	}
	old, err := im.store.Get(ctx, key)
	switch {
	case errors.Is(err, datastore.ErrNotFound):
		if !im.dry {
			_, err = im.store.Create(ctx, o)
			return "created", err
		}
		return "created", nil
	case errors.Is(err, datastore.ErrInvalid) && im.replace: // what can't be read
	case err != nil:
		return "", err
	case same(old, o):
		return "unchanged", nil
	case !im.replace:
		return "", fmt.Errorf("%w, and differs; valid: --replace to put this in its place", datastore.ErrExists)
	}
	if !im.dry {
		_, err = im.store.Update(ctx, o)
		return "replaced", err
	}
	return "replaced", nil
}
