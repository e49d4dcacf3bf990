package cli

import (
	"context"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// addStatus adds what the controller has said of policies: in their own status, or in the PolicyReports of those that have none. Files, and
// datastores without reports, have at most the former.
func (in *input) addStatus(ctx context.Context, objects []v3.Object, reports []v1alpha1.PolicyReport) error {
	said := map[v1alpha1.PolicyReference][]metav1.Condition{}
	for _, o := range objects {
		if c := statusConditions(o); len(c) > 0 {
			said[v1alpha1.PolicyReference{Kind: string(o.GetKind()), Namespace: o.GetNamespace(), Name: o.GetName()}] = c
		}
	}
	if len(in.files) == 0 {
		stored, err := in.storedReports(ctx)
		if err != nil {
			return err
		}
		for _, r := range stored {
			if r.Status != nil {
				said[r.Policy] = r.Status.Conditions
			}
		}
	}
	for i := range reports {
		if c := said[reports[i].Policy]; len(c) > 0 {
			reports[i].Status = &v1alpha1.PolicyReportStatus{Conditions: c}
		}
	}
	return nil
}

func statusConditions(o v3.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		return o.Status.Conditions
	case *v3.GlobalNetworkPolicy:
		return o.Status.Conditions
	}
	return nil
}

// storedReports are the PolicyReports of a cluster; none of another datastore.
func (in *input) storedReports(ctx context.Context) ([]*v1alpha1.PolicyReport, error) {
	store, err := in.open(false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	s, ok := store.(interface{ Reports() datastore.Reports })
	if !ok {
		return nil, nil
	}
	all, err := s.Reports().PolicyReports(ctx, "")
	if err != nil {
		fmt.Fprintln(in.app.Err, "warning: what the controller says of Kubernetes' network policies is not known:", err)
	}
	return all, nil
}

// printProgrammed says on how many nodes a policy is in force, where that is known.
func printProgrammed(w io.Writer, r *v1alpha1.PolicyReport) {
	if r.Status == nil {
		return
	}
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.PolicyProgrammed); c != nil {
		fmt.Fprintf(w, "  %s (generation %d)\n", c.Message, c.ObservedGeneration)
	}
}
