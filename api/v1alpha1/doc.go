// Package v1alpha1 holds felid's own reports, group felid.dev: what becomes of resources, as agents and the command line say it.
//
// Names of JSON fields are stable within a version. Types here have no behaviour; nothing of ours is imported. A report is made anew
// each time, from resources and what a node says of itself, and is never read back to decide anything.
//
// +kubebuilder:object:generate=true
// +groupName=felid.dev
package v1alpha1
