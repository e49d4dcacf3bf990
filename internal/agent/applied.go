package agent

import (
	"maps"
	"strconv"

	v3 "github.com/felid-net/felid/api/v3"
)

// progress is how far the loop is with each kind of policy, by the datastore's revisions: numbers that grow, in a cluster. Elsewhere they may be
// none, and then there is nothing to say.
//
// It holds because a kind's changes come in the order of their revisions: who has seen one has seen all before it.
type progress struct {
	taken, applied map[v3.Kind]uint64
	generations    map[v3.Key]int64
	// news counts what changed as somebody wrote it; newsApplied how many of these have been applied. A change of status is no news.
	news, newsApplied uint64
}

func newProgress() *progress {
	return &progress{taken: map[v3.Kind]uint64{}, applied: map[v3.Kind]uint64{}, generations: map[v3.Key]int64{}}
}

// take notes a policy as the datastore shows it; o is nil where it is gone.
func (p *progress) take(key v3.Key, o v3.Object) {
	if o == nil {
		delete(p.generations, key)
		p.news++
		return
	}
	if revision, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64); err == nil {
		p.taken[key.Kind] = max(p.taken[key.Kind], revision)
	}
	if before, known := p.generations[key]; !known || before != o.GetGeneration() || before == 0 {
		p.generations[key] = o.GetGeneration()
		p.news++
	}
}

// apply notes that all that was taken is applied. It returns how far each kind is, which is not changed later.
func (p *progress) apply() map[v3.Kind]uint64 {
	p.newsApplied = p.news
	if !maps.Equal(p.applied, p.taken) {
		p.applied = maps.Clone(p.taken)
	}
	return p.applied
}

// isPolicy tells kinds that are enforced policies.
func isPolicy(kind v3.Kind) bool {
	switch kind {
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy:
		return true
	}
	return false
}
