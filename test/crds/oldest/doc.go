// Package oldest holds, by tests, that the API server of the oldest Kubernetes that felid runs on, 1.31, takes the CRDs and admission
// policies of deploy: that version's own validation judges them. It estimates the cost of rules otherwise than later ones do. A
// module of its own, since it needs that version's libraries.
package oldest
