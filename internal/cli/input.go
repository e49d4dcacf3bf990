package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/selector"
)

// input is where a command's resources come from: files, or a datastore.
type input struct {
	app   *App
	files []string
	flags *pflag.FlagSet
}

// addInput registers -f and --datastore.
func addInput(c *cobra.Command, app *App) *input {
	in := &input{app: app, flags: c.Flags()}
	c.Flags().StringArrayVarP(&in.files, "filename", "f", nil, "work offline on this file or folder, or - for standard input (repeatable)")
	config.Flags(c.Flags(), "datastore")
	return in
}

// open opens the datastore.
func (in *input) open() (datastore.Store, error) {
	// Load checks what an agent needs too; a command needs the datastore alone.
	cfg, _, err := config.Load(in.flags, in.app.Env)
	if cfg.Datastore == "" {
		return nil, usage(errors.New("no resources: give files with -f, or a datastore with --datastore or FELID_DATASTORE"))
	}
	if err != nil {
		return nil, usage(err)
	}
	store, err := config.Open(cfg, slog.New(slog.NewTextHandler(in.app.Err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, openError(err)
	}
	return store, nil
}

// openError tells a datastore that is named wrongly from one that can't be reached.
func openError(err error) error {
	if errors.Is(err, datastore.ErrInvalid) || errors.Is(err, datastore.ErrUnsupported) {
		return usage(err)
	}
	return unreachable(err)
}

// objects are all resources, with the defaults filled in. Faults of single objects are printed, and the command goes on with the rest:
// strict is for commands whose answer would be wrong without them.
func (in *input) objects(ctx context.Context, strict bool) ([]v3.Object, error) {
	if len(in.files) == 0 {
		return in.stored(ctx)
	}
	found, faults, err := readValid(in.files)
	if err != nil {
		return nil, usage(err)
	}
	for _, f := range faults {
		fmt.Fprintln(in.app.Err, f.Error())
	}
	if strict && v3.Failed(faults) {
		return nil, no(errors.New("the answer would be wrong without what can't be read"))
	}
	return found.All(), nil
}

// stored lists what an agent would watch.
func (in *input) stored(ctx context.Context) ([]v3.Object, error) {
	store, err := in.open()
	if err != nil {
		return nil, err
	}
	defer store.Close()
	var objects []v3.Object
	for _, kind := range agent.Kinds {
		list, err := store.List(ctx, kind, "")
		if err != nil {
			return nil, unreachable(err)
		}
		for _, f := range list.Faults {
			fmt.Fprintln(in.app.Err, "warning:", f.String())
		}
		objects = append(objects, list.Objects...)
	}
	return objects, nil
}

// readValid reads files, fills in defaults and validates.
func readValid(files []string) (*local.Objects, []v3.FieldError, error) {
	found, faults, err := local.ReadFiles(files...)
	if err != nil {
		return nil, nil, err
	}
	found.Found = slices.DeleteFunc(found.Found, func(f local.Found) bool {
		errs := judge(&f)
		faults = append(faults, errs...)
		return v3.Failed(errs)
	})
	return found, faults, nil
}

// judge defaults and validates one object of a file. Views are Kubernetes' to judge.
func judge(f *local.Found) []v3.FieldError {
	if f.Origin != "" {
		return nil
	}
	v3.SetDefaults(f.Object)
	errs := v3.Validate(f.Object, v3.WithSelectors(checkSelector))
	for i := range errs {
		errs[i].File, errs[i].Line = f.File, f.Line
	}
	return errs
}

// checkSelector is how api/v3, which does not know the language, has selectors judged.
func checkSelector(text string) error {
	_, err := selector.Parse(text)
	return err
}

// offlineHost is the host as answers without an agent see it: felid is the network, and everything is as by default.
func offlineHost(node string) dataplane.Host {
	return dataplane.Host{Node: dataplane.NodeName(node), Owner: true, InterfacePrefix: "fld", IPv6: true, WorkloadToHost: dataplane.Pass}
}

// resolve is the State that holds every node's endpoints.
func resolve(objects []v3.Object) (*dataplane.State, *policy.Report) {
	return policy.Resolve(objects, policy.Options{Host: offlineHost("")})
}
