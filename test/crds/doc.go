// Package crds holds, by tests, that a real API server with the CRDs and the admission policies of deploy judges objects as felid does: a
// corpus with good and bad objects for each rule, the examples and the shared cases go through `felid validate` and through the API
// server, and the verdicts are equal but for what Beyond lists.
package crds
