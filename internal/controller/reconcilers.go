package controller

import (
	"time"

	"github.com/felid-net/felid/datastore"
)

// Settings are what an operator chooses.
type Settings struct {
	// Status: the Store has status and finalizers apart from the rest (datastore.StatusStore). Without, neither is written.
	Status bool
	// Owner: felid is the network, and hands out the addresses. Without, nobody's blocks and pools are touched.
	Owner bool
	// AutoHostEndpoints is "Enabled", "Disabled", or "Config" for what KubeControllersConfiguration default says (Disabled where it says nothing).
	AutoHostEndpoints string
	// LeakGracePeriod is how long an address must have nobody, and a node must be gone, before anything is freed. 0: what
	// KubeControllersConfiguration default says, or 15 minutes; negative: nothing is freed.
	LeakGracePeriod time.Duration
	// Reports is where nodes tell what is in force; nil: nowhere.
	Reports datastore.Reports

	claimSettles time.Duration // 0: the usual one
}

// All are the reconcilers of one term of leadership: they know nothing yet.
func All(s Settings) []Reconciler {
	list := []Reconciler{newTiers(s), newHostEndpoints(s)}
	if s.Status {
		list = append(list, newJudgements(), newPolicyStatuses(s.Reports))
	}
	if s.Owner {
		list = append(list, newPools(s), newAddresses(s), newAffinities(s), newRequests(s), newHandles(s))
	}
	return list
}
