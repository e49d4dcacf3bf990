package cli

import (
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/kube"
)

// promote is the resources as they would be if the staged policies were in force; false where none would change anything.
func promote(objects []v3.Object) ([]v3.Object, bool) {
	return policy.Promote(objects, func(o *v3.StagedKubernetesNetworkPolicy) *v3.NetworkPolicy {
		p, _ := kube.StagedNetworkPolicy(o) // what is wrong is in the policy too, and so in the report
		return p
	})
}

// withStaged is the answer, with what it would be with the staged policies, where there are any.
func (in *input) withStaged(args *flowArgs, all *cluster, port uint16, now policy.Answer) (policy.Answer, error) {
	objects, changes := promote(all.objects)
	if !changes {
		return now, nil
	}
	conn, err := args.find(in.clusterOf(objects))
	if err != nil {
		return now, err
	}
	return now.WithStaged(conn.explain(port)), nil
}
