package agent

import "github.com/felid-net/felid/api/v1alpha1"

// Prober is a Dataplane that has tried on its host what it takes for granted.
type Prober interface {
	// Probed is what was found false, or could not be tried. It stays the same.
	Probed() []v1alpha1.Assumption
}
