// Program crds writes what is generated from the types of the API: deploy/crds, by controller-gen at the version that build/tools pins,
// and the deep copies in api/v3 and api/v1alpha1. `make generate` runs it in the folder of go.mod; a test holds that running it changes
// nothing.
//
// To what controller-gen makes it adds the kinds that felid knows by name alone (accepted as written), the label by which an
// installation knows its CRDs, and nulls in the list of a block's allocations, for which controller-gen has no marker. It leaves out
// what is never stored in the API server.
package main
