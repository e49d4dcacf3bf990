package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

func newDatastore(app *App) *cobra.Command {
	return newGroup("datastore", "Copy all resources out of a datastore, and into another", newExport(app), newImport(app))
}

// movedKinds are the kinds that are stored, each after those that it leans on: tiers before policies, pools before blocks.
var movedKinds = []v3.Kind{
	"ClusterInformation", "FelixConfiguration", "KubeControllersConfiguration", "BGPConfiguration", "BGPFilter", "BGPPeer", "CalicoNodeStatus",
	v3.KindTier, v3.KindIPAMConfiguration, v3.KindIPPool, v3.KindIPReservation, v3.KindNode, v3.KindProfile,
	v3.KindGlobalNetworkSet, v3.KindNetworkSet, v3.KindHostEndpoint, v3.KindWorkloadEndpoint,
	v3.KindGlobalNetworkPolicy, v3.KindNetworkPolicy,
	v3.KindStagedGlobalNetworkPolicy, v3.KindStagedNetworkPolicy, v3.KindStagedKubernetesNetworkPolicy,
	v3.KindBlockAffinity, v3.KindIPAMBlock, v3.KindIPAMHandle,
}

func newExport(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "export",
		Short: "Print all resources of a datastore, addresses handed out included, for import",
		Long: "Print all resources that a datastore keeps, by kind, namespace and name: tiers before policies, pools before blocks. What identifies them\n" +
			"there alone is left out: revisions, ids, times, owners, finalizers and status. So is what is made from Kubernetes' own objects, which kubectl copies.\n" +
			"What can't be read whole is named, and the exit status is 1. Stop agents and controller first where addresses must not change meanwhile.",
		Args: cobra.NoArgs,
	}
	in := addStore(c, app)
	addOutput(c, &output, "yaml", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		store, err := in.open(false)
		if err != nil {
			return err
		}
		defer store.Close()
		w := &documents{w: app.Out, json: output == "json"}
		lacking, err := export(c.Context(), store, w, app.Err)
		if err != nil {
			return err
		}
		if len(lacking) > 0 {
			return no(errors.Join(append(lacking, errors.New("the export is not whole"))...))
		}
		return nil
	}
	return c
}

// export writes what a store keeps, and names what of it can't be.
func export(ctx context.Context, store datastore.Store, w *documents, notes io.Writer) (lacking []error, err error) {
	for _, kind := range movedKinds {
		list, err := store.List(ctx, kind, "")
		if err != nil {
			return nil, unreachable(err)
		}
		for _, f := range list.Faults {
			lacking = append(lacking, errors.New(f.String()))
		}
		derived := 0
		for _, o := range list.Objects {
			switch lacks := v3.Lacks(o); {
			case isDerived(store, v3.KeyOf(o)):
				derived++
			case lacks != "":
				lacking = append(lacking, fmt.Errorf("%s: %s, which would be lost", v3.KeyOf(o), lacks))
			default:
				if err := w.add(portable(o)); err != nil {
					return nil, err
				}
			}
		}
		if derived > 0 {
			fmt.Fprintf(notes, "%d of %s left out: made from Kubernetes objects\n", derived, kind)
		}
	}
	return lacking, w.end()
}

// isDerived tells whether a store makes such an object from Kubernetes' own.
func isDerived(store datastore.Store, key v3.Key) bool {
	s, ok := store.(datastore.Deriver)
	return ok && s.Derived(key)
}

// portable is o without what is of one datastore alone.
func portable(o v3.Object) v3.Object {
	o = asGiven(o)
	o.SetSelfLink("")
	o.SetOwnerReferences(nil)
	o.SetFinalizers(nil)
	o.SetDeletionTimestamp(nil)
	o.SetDeletionGracePeriodSeconds(nil)
	if notes := o.GetAnnotations(); notes != nil {
		delete(notes, "kubectl.kubernetes.io/last-applied-configuration")
	}
	return o
}

// asGiven is a copy of o without what datastores add by themselves, and without its status.
func asGiven(o v3.Object) v3.Object {
	o = o.Copy()
	o.SetResourceVersion("")
	o.SetUID("")
	o.SetGeneration(0)
	o.SetManagedFields(nil)
	o.SetCreationTimestamp(metav1.Time{})
	if status := reflect.ValueOf(o).Elem().FieldByName("Status"); status.IsValid() {
		status.SetZero()
	}
	if u, ok := o.(*v3.Unenforced); ok {
		delete(u.Content, "status")
	}
	return o
}

// documents writes objects as YAML documents, or as one List in JSON, an item a line.
type documents struct {
	w    io.Writer
	json bool
	n    int
}

func (d *documents) add(o v3.Object) error {
	data, err := v3.Encode(o)
	if err != nil {
		return err
	}
	before := "---\n"
	switch {
	case d.json && d.n == 0:
		before = `{"apiVersion":"v1","kind":"List","items":[` + "\n"
	case d.json:
		before = ",\n"
	}
	if !d.json {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
	}
	d.n++
	_, err = fmt.Fprintf(d.w, "%s%s", before, data)
	return err
}

func (d *documents) end() error {
	var err error
	switch {
	case d.json && d.n == 0:
		_, err = fmt.Fprintln(d.w, `{"apiVersion":"v1","kind":"List","items":[]}`)
	case d.json:
		_, err = fmt.Fprintln(d.w, "\n]}")
	}
	return err
}

// inOrder sorts objects as they are moved.
func inOrder(objects []v3.Object) {
	rank := map[v3.Kind]int{}
	for i, kind := range movedKinds {
		rank[kind] = i
	}
	slices.SortStableFunc(objects, func(a, b v3.Object) int {
		return cmp.Or(cmp.Compare(rank[a.GetKind()], rank[b.GetKind()]),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
}

// same tells whether two objects say the same, as they are in any datastore.
func same(a, b v3.Object) bool {
	a, b = portable(a), portable(b)
	v3.SetDefaults(a)
	v3.SetDefaults(b)
	return equal(a, b)
}

func equal(a, b v3.Object) bool {
	x, errX := v3.Encode(a)
	y, errY := v3.Encode(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
