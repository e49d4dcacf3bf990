package datastore

import (
	"context"
	"time"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
)

// Reports is where nodes and the controller say what has become of resources. Nothing is decided by what is in it.
type Reports interface {
	// PutNodeReport makes the report what is stored of its name. Nodes write theirs alone.
	PutNodeReport(ctx context.Context, r *v1alpha1.NodeReport) error
	// FollowNodeReports calls each with all reports there are, then once with "" and nil, then with each report that comes, changes or goes
	// (nil), until ctx ends, whose error it returns, or each returns an error. It survives outages by itself. A report that each was given is
	// never changed.
	FollowNodeReports(ctx context.Context, each func(node string, r *v1alpha1.NodeReport) error) error
	// PutPolicyReport makes the report what is stored of its namespace and name. ErrNotFound: there is no such namespace.
	PutPolicyReport(ctx context.Context, r *v1alpha1.PolicyReport) error
	// DeletePolicyReport takes it away; that it is not there is no error.
	DeletePolicyReport(ctx context.Context, namespace, name string) error
	// PolicyReports are those stored, of a namespace or of all (""), sorted by namespace and name.
	PolicyReports(ctx context.Context, namespace string) ([]*v1alpha1.PolicyReport, error)
	// PodEvent notes that something happened to a pod. ErrNotFound: there is no such pod.
	PodEvent(ctx context.Context, e *PodEvent) error
}

// PodEvent is something that happened to a pod, for those who look at the pod.
type PodEvent struct {
	Namespace, Pod string
	Node           string // whose agent says so
	Warning        bool
	Reason         string // "DeniedEgress": one word, for programs
	Action         string // "Denied": what was done
	Message        string // at most 1024 bytes count
	Time           time.Time
}

// Outage is a kind of which a store is not heard at present: what was known of it goes on to count.
type Outage struct {
	Kind   v3.Kind   `json:"kind"`
	Since  time.Time `json:"since"` // when it was last heard of
	Reason string    `json:"reason,omitempty"`
}
