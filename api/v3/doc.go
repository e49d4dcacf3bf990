// Package v3 holds the stored resources of felid, exactly as written in YAML, in CRDs, in etcd and in the local store: the
// projectcalico.org/v3 API, and the internal views of nodes, workload endpoints and services that the core consumes.
//
// It decodes them strictly for people (an unknown field is an error that names the field) and leniently for agents (what is broken is
// left out where it stands, per element and per rule; see DecodeJSON), defaults them and validates them (Validate, ValidateRule).
//
// Invariants: types here have no behaviour beyond decoding, printing, defaulting and validation; no I/O; nothing of ours is
// imported. What a resource means is decided in package policy.
//
// +kubebuilder:object:generate=true
// +groupName=projectcalico.org
package v3
