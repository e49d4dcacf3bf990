// Package kube measures felid on a real API server: how soon a change of the cluster is in the kernel, what a start against a large cluster
// costs, and what an agent's watches bring it. It has benchmarks alone, to be run one at a time on an idle machine:
//
//	go test -run '^$' -bench . -benchtime 1x ./test/bench/kube
//
// The agents are processes in network namespaces. A large cluster is written into etcd directly, as the API server would have.
package kube
