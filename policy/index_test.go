package policy

import (
	"fmt"
	"testing"

	"github.com/felid-net/felid/policy/selector"
	"pgregory.net/rapid"
)

// indexWorld is some peers with own and inherited labels, and some selectors, that come and go.
type indexWorld struct {
	peers     *peerIndex
	selectors *selectorIndex[*selector.Selector]
	profiles  profileSet
	alive     []*livePeer
	kept      []*selector.Selector
}

func drawLabels(t *rapid.T) labelSet {
	m := map[string]string{}
	for range rapid.IntRange(0, 3).Draw(t, "labels") {
		m[rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")] = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "value")
	}
	return makeLabelSet(m)
}

func drawSelector(t *rapid.T) *selector.Selector {
	text := rapid.SampledFrom([]string{
		"all()", "a == 'x'", "b == 'y'", "has(c)", "!has(a)", "a == 'x' && b == 'y'", "a == 'x' || b == 'x'", "a in {'x', 'y'}", "a == 'x' && a == 'y'",
		"has(a) && c != 'x'", "a starts with 'x'", "(a == 'x' && b == 'x') || (a == 'y' && c == 'x')",
	}).Draw(t, "selector")
	s, err := selector.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestIndex holds both indices to a linear scan.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &indexWorld{
			peers: newPeerIndex(), selectors: newSelectorIndex[*selector.Selector](), profiles: profileSet{},
		}
		w.peers.many = rapid.IntRange(0, 4).Draw(t, "many")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step(t)
		}
		w.check(t)
	})
}

func (w *indexWorld) step(t *rapid.T) {
	switch rapid.IntRange(0, 5).Draw(t, "step") {
	case 0, 1:
		p := &livePeer{peer: &peer{own: drawLabels(t)}}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p", "q", "r"}), 0, 2, rapid.ID).Draw(t, "parents") {
			parent := w.profiles.named(name)
			p.parents = append(p.parents, parent)
			if parent.children == nil {
				parent.children = map[*livePeer]struct{}{}
			}
			parent.children[p] = struct{}{}
		}
		w.peers.add(p)
		w.alive = append(w.alive, p)
	case 2:
		if len(w.alive) > 0 {
			p := w.alive[0]
			for _, parent := range p.parents {
				delete(parent.children, p)
			}
			w.peers.remove(p)
			w.alive = w.alive[1:]
		}
	case 3:
		p := w.profiles.named(rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "profile"))
		w.peers.removeProfile(p)
		p.labels = drawLabels(t)
		w.peers.addProfile(p)
	case 4:
		s := drawSelector(t)
		w.selectors.add(s, s)
		w.kept = append(w.kept, s)
		w.check(t)
	case 5:
		if len(w.kept) > 0 {
			w.selectors.remove(w.kept[0])
			w.kept = w.kept[1:]
		}
	}
}

func (w *indexWorld) check(t *rapid.T) {
	for _, s := range w.kept {
		found := map[*livePeer]int{}
		w.peers.matches(s, w.profiles, func(p *livePeer) { found[p]++ })
		for _, p := range w.alive {
			want := 0
			if s.Evaluate(p) {
				want = 1
			}
			if found[p] != want {
				t.Fatalf("selector %s: a peer with %s is visited %d times, want %d", s, describe(p), found[p], want)
			}
			delete(found, p)
		}
		if len(found) > 0 {
			t.Fatalf("selector %s: visits %d peers that are gone", s, len(found))
		}
	}
	for _, p := range w.alive {
		found := map[*selector.Selector]int{}
		w.selectors.candidates(p.peer, func(s *selector.Selector) { found[s]++ })
		for _, s := range w.kept {
			if s.Evaluate(p) && found[s] == 0 || found[s] > 1 {
				t.Fatalf("a peer with %s: selector %s is visited %d times", describe(p), s, found[s])
			}
			delete(found, s)
		}
		if len(found) > 0 {
			t.Fatalf("visits %d selectors that are gone", len(found))
		}
	}
}

func describe(p *livePeer) string {
	text := ""
	p.eachLabel(func(l label) { text += fmt.Sprintf("%s=%s ", l.key.Value(), l.value) })
	return text
}
