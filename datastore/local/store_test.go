package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// picture is what a Syncer has delivered.
type picture struct {
	t       *testing.T
	out     chan datastore.Batch
	objects map[v3.Key]v3.Object
	faults  []datastore.Fault
	updates int
	gone    []v3.Key // ever
}

var pictureKinds = []v3.Kind{v3.KindTier, v3.KindProfile, v3.KindNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindWorkloadEndpoint,
	v3.KindNode, v3.KindServiceEndpoints, v3.KindNetworkSet}

// follow starts a Syncer and waits until it is in sync.
func follow(t *testing.T, s *Store) *picture {
	p := &picture{t: t, out: make(chan datastore.Batch), objects: map[v3.Key]v3.Object{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- datastore.NewSyncer(s, pictureKinds, testLog(t)).Run(ctx, p.out) }()
	t.Cleanup(func() { cancel(); <-ended })
	for b := range p.out {
		p.take(b)
		if b.InSync {
			return p
		}
	}
	return p
}

func (p *picture) take(b datastore.Batch) {
	for _, u := range b.Updates {
		p.updates++
		if p.objects[u.Key] = u.Object; u.Object == nil {
			delete(p.objects, u.Key)
			p.gone = append(p.gone, u.Key)
		}
	}
	if b.Faults != nil {
		p.faults = b.Faults
	}
}

// until takes batches until done.
func (p *picture) until(what string, done func() bool) {
	p.t.Helper()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case b := <-p.out:
			p.take(b)
		case <-deadline:
			p.t.Fatalf("never: %s; have %v, faults %v", what, p.objects, p.faults)
		}
	}
}

func (p *picture) order(name string) float64 {
	if o, ok := p.objects[tierKey(name)].(*v3.Tier); ok && o.Spec.Order != nil {
		return *o.Spec.Order
	}
	return -1
}

func (p *picture) fault(text string) bool {
	for _, f := range p.faults {
		if strings.Contains(f.String(), text) {
			return true
		}
	}
	return false
}

func tierKey(name string) v3.Key { return v3.Key{Kind: v3.KindTier, Name: name} }

func tierYAML(name, order string) string {
	return "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: " + name + "\nspec:\n  order: " + order + "\n"
}

func TestHandWrittenFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "people/tiers.yaml", "# first\n"+tierYAML("a", "1")+"---\n# second\n"+tierYAML("b", "2"))
	p := follow(t, openStore(t, dir))
	if p.order("a") != 1 || p.order("b") != 2 {
		t.Fatal(p.objects)
	}
	write(t, dir, "people/tiers.yaml", "# first\n"+tierYAML("a", "1")+"---\n# second\n"+tierYAML("b", "3"))
	p.until("b changed", func() bool { return p.order("b") == 3 })
	if p.updates != 3 {
		t.Errorf("%d updates; want 3: a did not change", p.updates)
	}
	write(t, dir, "new/deep/folder/c.yml", tierYAML("c", "4"))
	p.until("c in a new folder", func() bool { return p.order("c") == 4 })
	write(t, dir, "new/deep/folder/c.yml", tierYAML("c", "5"))
	p.until("c changed", func() bool { return p.order("c") == 5 })
	if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	p.until("c gone", func() bool { return p.order("c") == -1 })
	if err := os.Rename(filepath.Join(dir, "people"), filepath.Join(t.TempDir(), "people")); err != nil {
		t.Fatal(err)
	}
	p.until("a and b gone with their folder", func() bool { return len(p.objects) == 0 })
	write(t, dir, "new/deep/folder/c.yml", tierYAML("c", "6"))
	p.until("c back", func() bool { return p.order("c") == 6 })
}

func TestBrokenFileKeepsWhatWasInForce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiers.yaml", tierYAML("a", "1")+"---\n"+tierYAML("b", "2"))
	s := openStore(t, dir)
	p := follow(t, s)
	broken := []struct{ name, text, want string }{
		{"syntax", tierYAML("a", "10") + "---\nkind: [\n", "tiers.yaml:8: not YAML"},
		{"empty", "", "tiers.yaml:1: is empty"},
		{"not an object", "hello\n", "tiers.yaml:1: is not an object"},
	}
	for _, test := range broken {
		write(t, dir, "tiers.yaml", test.text)
		p.until(test.name, func() bool { return p.fault(test.want) && p.fault("Tier b: the file can't be read") })
		if p.order("b") != 2 || len(p.gone) > 0 {
			t.Fatalf("%s: b is %v, gone %v; want what was there", test.name, p.order("b"), p.gone)
		}
		if _, err := s.Get(t.Context(), tierKey("b")); !errors.Is(err, datastore.ErrInvalid) {
			t.Errorf("%s: Get says %v, want ErrInvalid", test.name, err)
		}
		o := &v3.Tier{}
		o.Name = "b"
		if _, err := s.Update(t.Context(), o); !errors.Is(err, datastore.ErrInvalid) {
			t.Errorf("%s: Update says %v, want ErrInvalid: it would overwrite an edit", test.name, err)
		}
	}
	write(t, dir, "other.yaml", tierYAML("c", "3"))
	p.until("others go on", func() bool { return p.order("c") == 3 })
	write(t, dir, "tiers.yaml", tierYAML("a", "11"))
	p.until("readable without b", func() bool { return p.order("a") == 11 && p.order("b") == -1 && len(p.faults) == 0 })
	write(t, dir, "tiers.yaml", "kind: [")
	p.until("broken again", func() bool { return p.fault("not YAML") })
	if err := os.Remove(filepath.Join(dir, "tiers.yaml")); err != nil {
		t.Fatal(err)
	}
	p.until("removed", func() bool { return p.order("a") == -1 && len(p.faults) == 0 })
}

func TestHalfWrittenFileIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	text := `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"},"spec":{"order":1}}`
	write(t, dir, "Tier/a.json", text)
	p := follow(t, openStore(t, dir))
	f, err := os.OpenFile(filepath.Join(dir, "Tier/a.json"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, part := range []string{text[:40], text[40:80], text[80:91] + `2}}`} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "Tier/other.json", strings.ReplaceAll(text, `"a"`, `"other"`)) // gives the parts time to be seen
		p.until("other", func() bool { return p.order("other") == 1 })
		if err := os.Remove(filepath.Join(dir, "Tier/other.json")); err != nil {
			t.Fatal(err)
		}
		p.until("no other", func() bool { return p.order("other") == -1 })
	}
	p.until("the whole file", func() bool { return p.order("a") == 2 })
	for _, key := range p.gone {
		if key == tierKey("a") {
			t.Error("a was gone in between")
		}
	}
}

func TestObjectInTwoFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.yaml", tierYAML("x", "2"))
	s := openStore(t, dir)
	p := follow(t, s)
	write(t, dir, "c.yaml", tierYAML("x", "3"))
	p.until("a fault naming both", func() bool { return p.fault("b.yaml: Tier x: is in b.yaml and in c.yaml") })
	if p.order("x") != 2 {
		t.Errorf("order %v; want that of the first file", p.order("x"))
	}
	o := &v3.Tier{}
	o.Name = "x"
	if _, err := s.Update(t.Context(), o); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), "c.yaml") {
		t.Errorf("Update: %v; want ErrInvalid naming the files", err)
	}
	if _, err := s.Create(t.Context(), o); err == nil {
		t.Error("Create of an object that is there twice succeeded")
	}
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	p.until("one is left", func() bool { return p.order("x") == 3 && len(p.faults) == 0 })
}

func TestApplyRewritesOneDocument(t *testing.T) {
	dir := t.TempDir()
	before := "# tiers of the team\n" + tierYAML("a", "1") + "---\n# the second,\n# explained\n" + tierYAML("b", "2") +
		"--- # third\n" + tierYAML("c", "3") + "...\n# the end\n"
	path := write(t, dir, "team/tiers.yaml", before)
	s := openStore(t, dir)
	o, err := s.Get(t.Context(), tierKey("b"))
	if err != nil {
		t.Fatal(err)
	}
	changed := o.Copy().(*v3.Tier)
	order := 20.5
	changed.Spec.Order = &order
	stored, err := s.Update(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	after := readFile(t, path)
	want := strings.Replace(before, tierYAML("b", "2"), "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: b\nspec:\n  order: 20.5\nstatus: {}\n", 1)
	if after != want {
		t.Fatalf("got\n%s\nwant\n%s", after, want)
	}
	if err := s.Delete(t.Context(), tierKey("b"), stored.GetResourceVersion()); err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil || len(list.Objects) != 2 || len(list.Faults) > 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	if after = readFile(t, path); !strings.Contains(after, "# third") || !strings.Contains(after, "# tiers of the team") || !strings.Contains(after, "# the end") {
		t.Errorf("comments are lost:\n%s", after)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHandEditIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := &v3.Tier{}
	o.Name = "a"
	stored, err := s.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, "Tier/a.json", tierYAML("a", "7"))
	if _, err := s.Update(t.Context(), stored); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("Update over an edit: %v; want ErrConflict", err)
	}
	if err := s.Delete(t.Context(), tierKey("a"), stored.GetResourceVersion()); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("Delete of an edit: %v; want ErrConflict", err)
	}
	if readFile(t, path) != tierYAML("a", "7") {
		t.Error("the edit is lost")
	}
	got, err := s.Get(t.Context(), tierKey("a"))
	if err != nil || *got.(*v3.Tier).Spec.Order != 7 {
		t.Errorf("Get after an edit: %v, %v", got, err)
	}
}

func TestTwoStoresShareADirectory(t *testing.T) {
	dir := t.TempDir()
	one, two := openStore(t, dir), openStore(t, dir)
	p := follow(t, two)
	o := &v3.Tier{}
	o.Name = "a"
	stored, err := one.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := two.Get(t.Context(), tierKey("a"))
	if err != nil || got.GetResourceVersion() != stored.GetResourceVersion() {
		t.Fatalf("the other store has %v, %v", got, err)
	}
	if list, err := two.List(t.Context(), v3.KindTier, ""); err != nil || len(list.Objects) != 1 {
		t.Fatalf("the other store lists %+v, %v", list, err)
	}
	if _, err := two.Create(t.Context(), o); !errors.Is(err, datastore.ErrExists) {
		t.Errorf("Create in both: %v", err)
	}
	p.until("seen by the other", func() bool { return p.objects[tierKey("a")] != nil })
	if err := one.Delete(t.Context(), tierKey("a"), ""); err != nil {
		t.Fatal(err)
	}
	p.until("gone for the other", func() bool { return p.objects[tierKey("a")] == nil })
}

func TestLeftOverTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ".felid/new", `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"half`)
	s := openStore(t, dir)
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil || len(list.Objects)+len(list.Faults) > 0 {
		t.Fatalf("%+v, %v; want nothing of a write that never happened", list, err)
	}
	o := &v3.Tier{}
	o.Name = "a"
	if _, err := s.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestMissedNoticesAreMadeUpFor(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", tierYAML("a", "1"))
	write(t, dir, "b.yaml", tierYAML("b", "1"))
	s, err := Open(dir, Options{Log: testLog(t), CompareInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p := follow(t, s)
	if err := s.notify.Remove(dir); err != nil { // from now on the system says nothing
		t.Fatal(err)
	}
	write(t, dir, "a.yaml", tierYAML("a", "2"))
	write(t, dir, "c.yaml", tierYAML("c", "3"))
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	p.until("all three changes", func() bool { return p.order("a") == 2 && p.order("c") == 3 && p.order("b") == -1 })
}

func TestOverflowOfNotices(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", tierYAML("a", "1"))
	s := openStore(t, dir)
	p := follow(t, s)
	if err := s.notify.Remove(dir); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.yaml", tierYAML("a", "2"))
	s.noticeLost(fsnotify.ErrEventOverflow)
	p.until("the change", func() bool { return p.order("a") == 2 })
}

func TestForeignObjectsAreCounted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "x.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: v1\nkind: ConfigMap\n---\n"+
		"apiVersion: projectcalico.org/v3\nkind: Nonsense\nmetadata: {name: n}\n")
	s := openStore(t, dir)
	counts, err := s.Foreign(t.Context())
	if err != nil || counts["apps/v1 Deployment"] != 1 || counts["v1 ConfigMap"] != 1 || len(counts) != 2 {
		t.Errorf("%v, %v", counts, err)
	}
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil || len(list.Faults) != 1 || list.Faults[0].Line != 9 || !strings.Contains(list.Faults[0].String(), "Nonsense") {
		t.Errorf("faults %v, %v; want one of the unknown kind, at line 8", list.Faults, err)
	}
}
