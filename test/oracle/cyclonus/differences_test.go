package cyclonus

import (
	"net/netip"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/felid-net/felid/policy"
)

// differences are what cyclonus reads otherwise than Kubernetes, found by reading its matcher; no generated case comes near them.
var differences = []struct {
	name     string
	selector metav1.LabelSelector
	matches  bool // a pod without the label "role", by Kubernetes
	why      string
}{
	{
		name: "NotIn of a label that is not there",
		selector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "role", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}},
		}},
		matches: true,
		why:     "Kubernetes, Labels and Selectors: notin selects values that are not listed, and all resources that have no such key",
	},
	{
		name:     "an empty value of a label that is not there",
		selector: metav1.LabelSelector{MatchLabels: map[string]string{"role": ""}},
		matches:  false,
		why:      "LabelSelector.matchLabels: a pair is the same as operator In, which an absent key does not match, not even for an empty value",
	},
}

// TestDifferencesStand holds each difference: felid is with Kubernetes' own selectors, and cyclonus is not. One that is gone has to
// leave the table.
func TestDifferencesStand(t *testing.T) {
	for _, d := range differences {
		t.Run(d.name, func(t *testing.T) {
			world := newCluster(netip.MustParseAddr("10.65.0.0"))
			np := allowFrom(d.selector)
			world.policies[policyKey(np)] = np
			f := flow{from: world.peer(t, "y/b"), to: world.peer(t, "x/a"), protocol: corev1.ProtocolTCP, port: 80, name: "serve-80-tcp"}
			byKubernetes, err := metav1.LabelSelectorAsSelector(&d.selector)
			if err != nil {
				t.Fatal(err)
			}
			if got := byKubernetes.Matches(labels.Set(f.from.Internal.PodLabels)); got != d.matches {
				t.Errorf("Kubernetes' selector says %v, want %v: %s", got, d.matches, d.why)
			}
			state, _ := policy.Resolve(world.list(t), options)
			if got := f.byFelid(t, state).ingress; got != d.matches {
				t.Errorf("felid lets it in: %v, want %v: %s", got, d.matches, d.why)
			}
			if got := f.byOracle(matcher.BuildNetworkPolicies(true, []*networkingv1.NetworkPolicy{np})).ingress; got == d.matches {
				t.Errorf("cyclonus now lets it in: %v, as Kubernetes does: take the difference out of the table", got)
			}
		})
	}
}

// allowFrom lets pods of every namespace that the selector matches into x/a, and nobody else.
func allowFrom(pods metav1.LabelSelector) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "allow-from"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"pod": "a"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{PodSelector: &pods, NamespaceSelector: &metav1.LabelSelector{}}},
			}},
		},
	}
}
