package policy

import (
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Alone is what becomes of the rules of one policy, whether it selects anything or not, with the IP sets that they use, which have no
// members here. It is nil for what is no policy, or can't be read.
func Alone(o v3.Object) (*dataplane.Policy, map[dataplane.IPSetID]*dataplane.IPSet) {
	p := newPolicy(o, &reader{key: v3.KeyOf(o)})
	if p == nil {
		return nil, nil
	}
	c := compilePolicy(p)
	sets := make(map[dataplane.IPSetID]*dataplane.IPSet, len(c.sets))
	for id, spec := range c.sets {
		sets[id] = newIPSet(spec)
	}
	return c.policy, sets
}
