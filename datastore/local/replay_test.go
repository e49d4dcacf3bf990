package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// TestReplaySeesWhatChangesMeanwhile: to replay one object its file is read, which may show that another one has changed since.
func TestReplaySeesWhatChangesMeanwhile(t *testing.T) {
	dir := t.TempDir()
	write := func(a, b string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "tiers.yaml"), []byte(tierYAML("a", a)+"---\n"+tierYAML("b", b)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("1", "1")
	s, err := Open(dir, Options{Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil || len(list.Objects) != 2 {
		t.Fatal(list, err)
	}
	write("2", "1")
	if _, err := s.Get(t.Context(), tierKey("a")); err != nil { // reads the file
		t.Fatal(err)
	}
	write("2", "2")
	events, err := s.Watch(t.Context(), v3.KindTier, list.Revision)
	if err != nil {
		t.Fatal(err)
	}
	orders := map[string]float64{}
	for deadline := time.After(10 * time.Second); orders["a"] != 2 || orders["b"] != 2; {
		select {
		case e := <-events:
			if tier, ok := e.Object.(*v3.Tier); ok {
				orders[tier.Name] = *tier.Spec.Order
			}
		case <-deadline:
			t.Fatalf("missed: %v", orders)
		}
	}
}
