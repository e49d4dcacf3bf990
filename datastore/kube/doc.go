// Package kube is the datastore of a Kubernetes cluster: resources of felid's own are custom resources of the API server, and
// Kubernetes' own objects are read as the views that policy/kube makes of them.
package kube
