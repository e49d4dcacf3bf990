package agent

import (
	"maps"
	"strconv"

	v3 "github.com/felid-net/felid/api/v3"
)

// progress is how far the loop is with each kind of policy, by the datastore's revisions: numbers that grow, in a cluster. Elsewhere they may be
// none, and then there is nothing to say.
//
// It holds because a kind's changes come in the order of their revisions, those of one list in one batch: who has seen one has seen all before it.
type progress struct {
	taken, applied map[v3.Kind]uint64
	known          map[v3.Key]version
	restored       map[v3.Kind]struct{} // kinds whose revisions have gone back
	// news counts what changed as somebody wrote it; newsApplied how many of these have been applied. A change of status is no news.
	news, newsApplied uint64
}

// version of a policy.
type version struct {
	generation int64
	revision   uint64
}

func newProgress() *progress {
	return &progress{
		taken: map[v3.Kind]uint64{}, applied: map[v3.Kind]uint64{}, known: map[v3.Key]version{}, restored: map[v3.Kind]struct{}{},
	}
}

// take notes a policy as the datastore shows it; o is nil where it is gone.
func (p *progress) take(key v3.Key, o v3.Object) {
	if o == nil {
		delete(p.known, key)
		p.news++
		return
	}
	revision, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		revision = 0
	}
	before, known := p.known[key]
	if known && revision < before.revision {
		p.restored[key.Kind] = struct{}{}
	}
	p.known[key] = version{o.GetGeneration(), revision}
	if revision > 0 {
		p.taken[key.Kind] = max(p.taken[key.Kind], revision)
	}
	if !known || before.generation != o.GetGeneration() || before.generation == 0 {
		p.news++
	}
}

// apply notes that all that was taken is applied. p.applied is not changed in place.
func (p *progress) apply() {
	for kind := range p.restored {
		p.taken[kind] = p.latest(kind)
		p.news++
	}
	clear(p.restored)
	p.newsApplied = p.news
	if !maps.Equal(p.applied, p.taken) {
		p.applied = maps.Clone(p.taken)
	}
}

// latest is the highest revision that is known of a kind, after the datastore was restored from a backup: those from before it count no more.
func (p *progress) latest(kind v3.Kind) uint64 {
	highest := uint64(0)
	for key, v := range p.known {
		if key.Kind == kind {
			highest = max(highest, v.revision)
		}
	}
	return highest
}

// isPolicy tells kinds that are enforced policies.
func isPolicy(kind v3.Kind) bool {
	switch kind {
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy:
		return true
	}
	return false
}
