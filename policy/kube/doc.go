// Package kube says what Kubernetes objects mean, in terms of api/v3: namespaces and service accounts are profiles that lend their
// labels, pods are workload endpoints, network policies are policies of the tier "default", cluster network policies global ones of the tiers
// "kube-admin" and "kube-baseline".
//
// A pod's addresses come from its status alone, never from its annotations, which a tenant can write; nor may a tenant's labels
// speak for the namespace or the service account. Conversion of a NetworkPolicy fails closed: its rules can only allow, so what
// can't be converted is left out and reported, and the rest stays. So does that of a ClusterNetworkPolicy, a rule of which that denies or passes
// denies all that it might cover.
//
// Every function is pure: the same object gives the same result, arguments are not changed, and results may share parts with
// them. Objects that come out are not held to the limits of stored ones (number of rules, length of selectors).
package kube
