package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// deaf has the system say nothing to a store that has scanned its directory, as if no notice had been handled yet.
func deaf(t *testing.T, s *Store) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir := range s.dirs {
		if err := s.notify.Remove(filepath.Join(s.dir, dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// tierOrders is what a store lists.
func tierOrders(t *testing.T, s *Store) map[string]float64 {
	t.Helper()
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil {
		t.Fatal(err)
	}
	orders := map[string]float64{}
	for _, o := range list.Objects {
		orders[o.GetName()] = *o.(*v3.Tier).Spec.Order
	}
	return orders
}

// stages are what a store may be at when somebody else writes.
var stages = []struct {
	name string
	make func(t *testing.T, dir string) *Store
}{
	{"before it was scanned", openStore},
	{"scanned, with what was decoded not listed yet", func(t *testing.T, dir string) *Store {
		s := openStore(t, dir)
		if _, err := s.Foreign(t.Context()); err != nil {
			t.Fatal(err)
		}
		deaf(t, s)
		return s
	}},
	{"scanned and listed", func(t *testing.T, dir string) *Store {
		s := openStore(t, dir)
		tierOrders(t, s)
		deaf(t, s)
		return s
	}},
	{"long after its scan", func(t *testing.T, dir string) *Store {
		s := openStore(t, dir)
		tierOrders(t, s)
		deaf(t, s)
		s.mu.Lock()
		s.fresh = nil
		s.mu.Unlock()
		return s
	}},
	{"in a burst", func(t *testing.T, dir string) *Store {
		s := openStore(t, dir)
		tierOrders(t, s)
		deaf(t, s)
		s.setBursting(true)
		return s
	}},
}

// TestListAndGetAreOfNow: what another process wrote before a call began is in its answer, whether the notice of it has been handled or not.
func TestListAndGetAreOfNow(t *testing.T) {
	for _, stage := range stages {
		for _, call := range []struct {
			name  string
			check func(*testing.T, *Store)
		}{{"Get", wantGets}, {"List", wantList}} {
			t.Run(stage.name+"/"+call.name, func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "Tier/changed.json", tierYAML("changed", "1"))
				write(t, dir, "Tier/gone.json", tierYAML("gone", "1"))
				write(t, dir, "people/tiers.yaml", tierYAML("lost", "1")+"---\n"+tierYAML("kept", "1"))
				s := stage.make(t, dir)
				write(t, dir, "Tier/changed.json", tierYAML("changed", "2")) // of the same length, perhaps in the same tick of the clock
				write(t, dir, "Tier/new.json", tierYAML("new", "2"))
				write(t, dir, "people/tiers.yaml", tierYAML("kept", "2"))
				write(t, dir, "people/more/new.yaml", tierYAML("yours", "2"))
				if err := os.Remove(filepath.Join(dir, "Tier/gone.json")); err != nil {
					t.Fatal(err)
				}
				call.check(t, s)
			})
		}
	}
}

func wantGets(t *testing.T, s *Store) {
	for _, name := range []string{"changed", "new", "kept", "yours"} {
		if o, err := s.Get(t.Context(), tierKey(name)); err != nil || *o.(*v3.Tier).Spec.Order != 2 {
			t.Errorf("Get %s: %v, %v; want order 2", name, o, err)
		}
	}
	for _, name := range []string{"gone", "lost"} {
		if o, err := s.Get(t.Context(), tierKey(name)); !errors.Is(err, datastore.ErrNotFound) {
			t.Errorf("Get %s: %v, %v; want ErrNotFound", name, o, err)
		}
	}
}

func wantList(t *testing.T, s *Store) {
	if got := fmt.Sprint(tierOrders(t, s)); got != "map[changed:2 kept:2 new:2 yours:2]" {
		t.Errorf("List: %s", got)
	}
}

// TestPodOfNow: the view of a Pod, and the record merged with it, are of now too.
func TestPodOfNow(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	tierOrders(t, s)
	deaf(t, s)
	key := v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "default", Name: "web"}
	write(t, dir, "Pod/default/web.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","labels":{"app":"a"}},"spec":{"nodeName":"n"}}`)
	if o, err := s.Get(t.Context(), key); err != nil || o.GetLabels()["app"] != "a" {
		t.Fatalf("%v, %v; want the view of the Pod", o, err)
	}
	write(t, dir, "WorkloadEndpoint/default/web.json", `{"apiVersion":"projectcalico.org/v3","kind":"WorkloadEndpoint","metadata":{"name":"web","namespace":"default"},`+
		`"spec":{"pod":"web","containerID":"c1"}}`)
	if o, err := s.Get(t.Context(), key); err != nil || o.GetLabels()["app"] != "a" || o.(*v3.WorkloadEndpoint).Spec.ContainerID != "c1" {
		t.Errorf("%v, %v; want the record with the labels of the Pod", o, err)
	}
	write(t, dir, "Pod/default/late.json", strings.ReplaceAll(readFile(t, filepath.Join(dir, "Pod/default/web.json")), `"web"`, `"late"`))
	if list, err := s.List(t.Context(), v3.KindWorkloadEndpoint, ""); err != nil || len(list.Objects) != 2 {
		t.Errorf("%v, %v; want both", list, err)
	}
}

// TestHalfWrittenFileIsLeft: what an editor may be writing is not taken for all that there is, until it has had its time.
func TestHalfWrittenFileIsLeft(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "people/tiers.yaml", tierYAML("a", "1")+"---\n"+tierYAML("b", "1"))
	s := openStore(t, dir)
	tierOrders(t, s)
	deaf(t, s)
	write(t, dir, "people/tiers.yaml", tierYAML("a", "2"))
	soon := time.Now().Add(time.Minute) // as young as can be, however busy the machine is
	if err := os.Chtimes(path, soon, soon); err != nil {
		t.Fatal(err)
	}
	s.locked(func() {
		if left := s.compareKind(v3.KindTier, false); !slices.Equal(left, []string{"people/tiers.yaml"}) || s.index.entry(tierKey("b")) == nil {
			t.Errorf("left %v; b is known as %+v", left, s.index.entry(tierKey("b")))
		}
	})
	if got := fmt.Sprint(tierOrders(t, s)); got != "map[a:2]" {
		t.Errorf("List, at the end of its patience: %s", got)
	}
}

// TestListDuringAStream: while one store writes without end, what it has written is in the next answers of another that follows it.
func TestListDuringAStream(t *testing.T) {
	dir := t.TempDir()
	writer := openStore(t, dir)
	order := 0.0
	next := func(name string) {
		t.Helper()
		order++
		o := &v3.Tier{Spec: v3.TierSpec{Order: &order}}
		o.Name = name
		if _, err := writer.Create(t.Context(), o); err != nil {
			if _, err = writer.Update(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	next("first")
	reader := openStore(t, dir)
	p := follow(t, reader)
	var follower sync.WaitGroup
	done := make(chan struct{})
	follower.Go(func() {
		for {
			select {
			case b := <-p.out:
				p.take(b)
			case <-done:
				return
			}
		}
	})
	defer follower.Wait()
	defer close(done)
	for i := range 400 {
		name := fmt.Sprintf("t%d", i%7)
		next(name)
		if got := tierOrders(t, reader)[name]; got != order {
			t.Fatalf("write %d: List has order %v of %s; want %v", i, got, name, order)
		}
		next(name)
		if o, err := reader.Get(t.Context(), tierKey(name)); err != nil || *o.(*v3.Tier).Spec.Order != order {
			t.Fatalf("write %d: Get: %v, %v; want order %v", i, o, err, order)
		}
	}
}
