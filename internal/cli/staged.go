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

// withStaged is the cluster as it would be with the staged policies; nil where none would change anything.
func (c *cluster) withStaged() *cluster {
	if c.staged == nil {
		return nil
	}
	return c.staged()
}

// answer is what explain gives, with what it would be with the staged policies, where there are any.
func (c *connection) answer(port uint16) policy.Answer {
	now := c.explain(port)
	then := c.cluster.withStaged()
	if then == nil {
		return now
	}
	other := *c
	other.cluster = then // the ends are the same
	return now.WithStaged(other.explain(port))
}
