package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/kube"
	"github.com/felid-net/felid/policy/selector"
)

// input is where a command's resources come from: files, or a datastore.
type input struct {
	app    *App
	files  []string
	into   string // the namespace of objects of files that name none; "": "default"
	flags  *pflag.FlagSet
	warned map[policy.Condition]bool
}

// addStore registers --datastore, and what goes with it.
func addStore(c *cobra.Command, app *App) *input {
	config.Flags(c.Flags(), config.StoreKeys...)
	return &input{app: app, flags: c.Flags()}
}

// addInput registers -f and --datastore.
func addInput(c *cobra.Command, app *App) *input {
	in := addStore(c, app)
	addFiles(c, &in.files, "work offline on this file or folder, or - for standard input (repeatable)")
	return in
}

func addFiles(c *cobra.Command, files *[]string, help string) {
	c.Flags().StringArrayVarP(files, "filename", "f", nil, help)
}

// config is which datastore is meant.
func (in *input) config() (*config.Config, error) {
	cfg, err := config.LoadOnly(in.flags, in.app.Env, config.StoreKeys...)
	if err != nil {
		return nil, usage(err)
	}
	if cfg.Datastore == "" && in.app.Plugin {
		cfg.Datastore = "kube"
	}
	return cfg, nil
}

// namespace is the one that is named or, where none is, that of kubectl's current context, if its API server is the datastore.
func (in *input) namespace(named string) (string, error) {
	if named != "" || in.flags == nil {
		return cmp.Or(named, "default"), nil
	}
	cfg, err := in.config()
	if err != nil {
		return "", err
	}
	namespace, err := config.Namespace(cfg)
	if err != nil {
		return "", openError(err)
	}
	return namespace, nil
}

// open opens the datastore. Only a command that writes makes a directory that is not there.
func (in *input) open(writes bool) (datastore.Store, error) {
	cfg, err := in.config()
	if err != nil {
		return nil, err
	}
	if cfg.Datastore == "" {
		return nil, usage(errors.New("no datastore: name one with --datastore or FELID_DATASTORE; commands that only read also take files, with -f"))
	}
	if dir, ok := strings.CutPrefix(cfg.Datastore, "local:"); ok && dir != "" && !writes {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, unreachable(fmt.Errorf("datastore %s: %w", cfg.Datastore, err))
		}
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

// objects are all resources, with the defaults filled in. A file with a fault has no answer: it could be wrong without what is
// missing. Of a datastore what can't be read is named, and the answer is for the rest, as agents enforce it.
func (in *input) objects(ctx context.Context) ([]v3.Object, error) {
	if len(in.files) == 0 {
		return in.stored(ctx)
	}
	found, err := in.readAll()
	if err != nil {
		return nil, err
	}
	return found.All(), nil
}

// readAll reads the files, which must have no fault.
func (in *input) readAll() (*local.Objects, error) {
	found, faults, err := in.read()
	if err != nil {
		return nil, err
	}
	printFaults(in.app.Err, faults)
	if v3.Failed(faults) {
		return nil, no(errors.New("no answer: it could be wrong without what is invalid"))
	}
	return found, nil
}

// stagedKinds are those that agents have no use for, and answers have.
var stagedKinds = []v3.Kind{v3.KindStagedNetworkPolicy, v3.KindStagedGlobalNetworkPolicy, v3.KindStagedKubernetesNetworkPolicy}

// stored lists what an agent would watch, and the staged policies.
func (in *input) stored(ctx context.Context) ([]v3.Object, error) {
	store, err := in.open(false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	var objects []v3.Object
	for _, kind := range append(slices.Clone(agent.Kinds), stagedKinds...) {
		list, err := in.list(ctx, store, kind, "")
		if err != nil {
			return nil, err
		}
		objects = append(objects, list...)
	}
	return objects, nil
}

// list lists one kind in one namespace, or in all (""), and names what can't be read.
func (in *input) list(ctx context.Context, store datastore.Store, kind v3.Kind, namespace string) ([]v3.Object, error) {
	list, err := store.List(ctx, kind, namespace)
	if err != nil {
		return nil, unreachable(err)
	}
	for _, f := range list.Faults {
		fmt.Fprintln(in.app.Err, "warning:", f.String())
	}
	return list.Objects, nil
}

// read reads the files, fills in defaults and validates. What is invalid is not among the objects.
func (in *input) read() (*local.Objects, []v3.FieldError, error) {
	found, faults, err := local.ReadFilesInto(cmp.Or(in.into, "default"), in.app.In, in.files...)
	if err != nil {
		return nil, nil, usage(err)
	}
	for i := range found.Refused {
		faults = append(faults, besides(faults, judge(&found.Refused[i]))...)
	}
	found.Found = slices.DeleteFunc(found.Found, func(f local.Found) bool {
		errs := judge(&f)
		faults = append(faults, errs...)
		return v3.Failed(errs)
	})
	slices.SortStableFunc(faults, func(a, b v3.FieldError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return found, faults, nil
}

// besides are the faults of a refused object that are not about a field which could not be read at all: what stands there is not what was
// written.
func besides(known, more []v3.FieldError) []v3.FieldError {
	return slices.DeleteFunc(more, func(e v3.FieldError) bool {
		return slices.ContainsFunc(known, func(k v3.FieldError) bool {
			return k.File == e.File && k.Object == e.Object && (strings.HasPrefix(e.Field, k.Field) || strings.HasPrefix(k.Field, e.Field))
		})
	})
}

// judge defaults and validates one object of a file. Views are Kubernetes' to judge.
func judge(f *local.Found) []v3.FieldError {
	if f.Origin != "" {
		return nil
	}
	v3.SetDefaults(f.Object)
	errs := v3.Validate(f.Object, v3.WithSelectors(checkSelector))
	if staged, ok := f.Object.(*v3.StagedKubernetesNetworkPolicy); ok && !v3.Failed(errs) {
		_, wrong := kube.StagedNetworkPolicy(staged)
		errs = append(errs, wrong...)
	}
	f.Locate(errs)
	return errs
}

// checkSelector is how api/v3, which does not know the language, has selectors judged.
func checkSelector(text string) error {
	_, err := selector.Parse(text)
	return err
}

// offlineHost is the host as answers without an agent see it: felid is the network, and everything is as by default.
func offlineHost(node string) dataplane.Host {
	c := config.Defaults()
	c.Node = node
	return agent.HostOf(c)
}

// resolve is the State that holds every node's endpoints.
func resolve(objects []v3.Object) (*dataplane.State, *policy.Report) {
	r := newResolver(objects)
	state, _ := r.Flush()
	return state, r.Report()
}

func newResolver(objects []v3.Object) *policy.Resolver {
	r := policy.NewResolver(policy.Options{Host: offlineHost("")})
	for _, o := range objects {
		r.Update(v3.KeyOf(o), o)
	}
	return r
}

// cluster is all resources, and what comes of them on all nodes together.
type cluster struct {
	objects []v3.Object
	state   *dataplane.State
	answers *policy.Explainer // of state; nil until it is asked for
	staged  func() *cluster   // see withStaged
}

func (c *cluster) explainer() *policy.Explainer {
	if c.answers == nil {
		c.answers = policy.NewExplainer(c.state)
	}
	return c.answers
}

// cluster reads and resolves all resources, and says what of them does not count as written.
func (in *input) cluster(ctx context.Context) (*cluster, error) {
	objects, err := in.objects(ctx)
	if err != nil {
		return nil, err
	}
	return in.clusterOf(objects), nil
}

func (in *input) clusterOf(objects []v3.Object) *cluster {
	state, report := resolve(objects)
	in.warn(report)
	return &cluster{objects: objects, state: state, staged: sync.OnceValue(func() *cluster {
		promoted, changes := promote(objects)
		if !changes {
			return nil
		}
		return in.clusterOf(promoted)
	})}
}

func (in *input) warn(report *policy.Report) {
	for _, c := range report.Conditions {
		if in.warned[c] {
			continue // said already, of the other side of a comparison
		}
		if in.warned == nil {
			in.warned = map[policy.Condition]bool{}
		}
		in.warned[c] = true
		fmt.Fprintf(in.app.Err, "warning: %s: %s: %s: %s\n", c.Object, c.Field, c.Type, c.Message)
	}
}
