package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// getOptions are the arguments of get.
type getOptions struct {
	namespace string
	all       bool
	output    string
}

func newGet(app *App) *cobra.Command {
	var o getOptions
	c := &cobra.Command{
		Use:   "get KIND [NAME…]",
		Short: "Print resources",
		Args:  cobra.MinimumNArgs(1),
	}
	in := addInput(c, app)
	addNamespace(c, &o.namespace)
	c.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "of all namespaces")
	addOutput(c, &o.output, "table", "yaml", "json", "wide", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		info, err := findKind(args[0])
		if err != nil {
			return err
		}
		if o.all && len(args) > 1 {
			return usage(errors.New("a name is of one namespace; valid: names, or --all-namespaces"))
		}
		if len(in.files) == 0 {
			if o.namespace, err = in.namespace(o.namespace); err != nil {
				return err
			}
		}
		objects, err := in.selected(c.Context(), info, &o, args[1:])
		if err != nil {
			return err
		}
		if !info.Enforced && len(objects) > 0 && o.output != "table" && o.output != "wide" {
			fmt.Fprintf(app.Err, "%s: %s\n", info.Kind, notEnforced)
		}
		return printObjects(app.Out, info, objects, &o, len(args) == 2)
	}
	return c
}

func addNamespace(c *cobra.Command, namespace *string) {
	c.Flags().StringVarP(namespace, "namespace", "n", "", "namespace (default: that of the kubeconfig's context, or \"default\")")
}

// addOutput registers -o; the first of valid is the default.
func addOutput(c *cobra.Command, output *string, valid ...string) {
	c.Flags().StringVarP(output, "output", "o", valid[0], "one of: "+strings.Join(valid, ", "))
	c.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(valid, *output) {
			return usage(fmt.Errorf("-o %s; valid: %s", *output, strings.Join(valid, ", ")))
		}
		return nil
	}
}

// selected finds the objects asked for; a name that is not there is the answer no.
func (in *input) selected(ctx context.Context, info v3.KindInfo, o *getOptions, names []string) ([]v3.Object, error) {
	namespace := keyArg(info, o.namespace, "").Namespace
	if o.all {
		namespace = ""
	}
	if len(in.files) > 0 {
		all, err := in.objects(ctx)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(obj v3.Object) bool { return obj.GetKind() != info.Kind })
		if len(names) > 0 {
			return pick(all, info, o.namespace, names)
		}
		return slices.DeleteFunc(all, func(obj v3.Object) bool { return namespace != "" && obj.GetNamespace() != namespace }), nil
	}
	store, err := in.open(false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if len(names) > 0 {
		return getAll(ctx, store, info, o.namespace, names)
	}
	return in.list(ctx, store, info.Kind, namespace)
}

// getAll asks for objects by name, and for nothing else: who may see these need not be allowed to see all.
func getAll(ctx context.Context, store datastore.Store, info v3.KindInfo, namespace string, names []string) ([]v3.Object, error) {
	var out []v3.Object
	var errs []error
	for _, name := range names {
		key := keyArg(info, namespace, name)
		o, err := store.Get(ctx, key)
		if err != nil {
			errs = append(errs, named(key.String(), err))
			continue
		}
		out = append(out, o)
	}
	return out, writeError(errors.Join(errs...))
}

func pick(objects []v3.Object, info v3.KindInfo, namespace string, names []string) ([]v3.Object, error) {
	var out []v3.Object
	var errs []error
	for _, name := range names {
		key := keyArg(info, namespace, name)
		i := slices.IndexFunc(objects, func(obj v3.Object) bool { return v3.KeyOf(obj) == key })
		if i < 0 {
			errs = append(errs, fmt.Errorf("%s: %w", key, datastore.ErrNotFound))
			continue
		}
		out = append(out, objects[i])
	}
	if len(errs) > 0 {
		return nil, no(errors.Join(errs...))
	}
	return out, nil
}

func printObjects(w io.Writer, info v3.KindInfo, objects []v3.Object, o *getOptions, single bool) error {
	switch o.output {
	case "json", "yaml":
		return printDocument(w, o.output, objects, single)
	case "name":
		for _, obj := range objects {
			fmt.Fprintln(w, nameOf(info, obj))
		}
		return nil
	}
	if len(objects) == 0 {
		fmt.Fprintf(w, "no %s\n", info.Plural)
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header, row := columns(info, o.output == "wide")
	if info.Namespaced {
		header = append([]string{"NAMESPACE"}, header...)
	}
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, obj := range objects {
		cells := row(obj)
		if info.Namespaced {
			cells = append([]string{obj.GetNamespace()}, cells...)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func nameOf(info v3.KindInfo, o v3.Object) string {
	name := o.GetName()
	if o.GetNamespace() != "" {
		name = o.GetNamespace() + "/" + name
	}
	return strings.ToLower(string(info.Kind)) + "/" + name
}

// printDocument prints one object, or a List of them.
func printDocument(w io.Writer, output string, objects []v3.Object, single bool) error {
	items := make([]json.RawMessage, len(objects))
	for i, o := range objects {
		data, err := v3.Encode(o)
		if err != nil {
			return err
		}
		items[i] = data
	}
	var doc any = map[string]any{"apiVersion": "v1", "kind": "List", "items": items}
	if single {
		doc = items[0]
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if output == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(data), "\n"))
	return err
}

// columns are the header of a kind's table, and what makes a row of an object.
func columns(info v3.KindInfo, wide bool) ([]string, func(v3.Object) []string) {
	header := []string{"NAME"}
	row := func(o v3.Object) []string { return []string{o.GetName()} }
	add := func(title string, cell func(v3.Object) string) {
		before := row
		header = append(header, title)
		row = func(o v3.Object) []string { return append(before(o), cell(o)) }
	}
	switch info.Kind {
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy:
		add("TIER", func(o v3.Object) string { return policySpec(o).Tier })
		add("ORDER", func(o v3.Object) string { return orderText(policySpec(o).Order) })
		add("SELECTOR", func(o v3.Object) string { return policySpec(o).Selector })
	case v3.KindClusterNetworkPolicy:
		add("TIER", func(o v3.Object) string { return policySpec(o).Tier })
		add("PRIORITY", func(o v3.Object) string { return orderText(policySpec(o).Order) })
	case v3.KindStagedNetworkPolicy, v3.KindStagedGlobalNetworkPolicy, v3.KindStagedKubernetesNetworkPolicy:
		add("ACTION", stagedAction)
	case v3.KindTier:
		add("ORDER", func(o v3.Object) string { return orderText(o.(*v3.Tier).Spec.Order) })
		add("DEFAULT", func(o v3.Object) string { return string(o.(*v3.Tier).Spec.DefaultAction) })
	case v3.KindNetworkSet:
		add("NETS", func(o v3.Object) string { return strings.Join(o.(*v3.NetworkSet).Spec.Nets, ",") })
	case v3.KindGlobalNetworkSet:
		add("NETS", func(o v3.Object) string { return strings.Join(o.(*v3.GlobalNetworkSet).Spec.Nets, ",") })
	case v3.KindHostEndpoint:
		add("NODE", func(o v3.Object) string { return o.(*v3.HostEndpoint).Spec.Node })
		add("INTERFACE", func(o v3.Object) string { return o.(*v3.HostEndpoint).Spec.InterfaceName })
		add("ADDRESSES", func(o v3.Object) string { return strings.Join(o.(*v3.HostEndpoint).Spec.ExpectedIPs, ",") })
	case v3.KindIPPool:
		add("CIDR", func(o v3.Object) string { return o.(*v3.IPPool).Spec.CIDR })
		add("NAT", func(o v3.Object) string { return strconv.FormatBool(o.(*v3.IPPool).Spec.NATOutgoing) })
	case v3.KindIPAMBlock:
		add("CIDR", func(o v3.Object) string { return o.(*v3.IPAMBlock).Spec.CIDR })
		add("AFFINITY", func(o v3.Object) string { return deref(o.(*v3.IPAMBlock).Spec.Affinity) })
	case v3.KindWorkloadEndpoint:
		add("NODE", func(o v3.Object) string { return o.(*v3.WorkloadEndpoint).Spec.Node })
		add("NETWORKS", func(o v3.Object) string { return strings.Join(o.(*v3.WorkloadEndpoint).Spec.IPNetworks, ",") })
		add("INTERFACE", func(o v3.Object) string { return o.(*v3.WorkloadEndpoint).Spec.InterfaceName })
	}
	if !info.Enforced {
		add("STATUS", func(v3.Object) string { return notEnforced })
	}
	if wide {
		add("LABELS", func(o v3.Object) string { return labelsText(o.GetLabels()) })
	}
	return header, row
}

func stagedAction(o v3.Object) string {
	switch o := o.(type) {
	case *v3.StagedNetworkPolicy:
		return string(cmp.Or(o.Spec.StagedAction, v3.StagedActionSet))
	case *v3.StagedGlobalNetworkPolicy:
		return string(cmp.Or(o.Spec.StagedAction, v3.StagedActionSet))
	case *v3.StagedKubernetesNetworkPolicy:
		return string(cmp.Or(o.Spec.StagedAction, v3.StagedActionSet))
	}
	return ""
}

func policySpec(o v3.Object) *v3.PolicySpec {
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		return &o.Spec.PolicySpec
	case *v3.GlobalNetworkPolicy:
		return &o.Spec.PolicySpec
	}
	return &v3.PolicySpec{}
}

func orderText(order *float64) string {
	if order == nil {
		return ""
	}
	return strconv.FormatFloat(*order, 'g', -1, 64)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func labelsText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}
