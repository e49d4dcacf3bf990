package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felid-net/felid/datastore"
)

// TestDirectoryTakenAway: a directory that was moved, or whose file system is not mounted, deletes nothing.
func TestDirectoryTakenAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, Options{Log: testLog(t), CompareInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(tierYAML("a", "1")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := follow(t, s)
	away := dir + ".away"
	for _, replaced := range []bool{false, true} {
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if replaced { // as an empty mount point
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		p.until("a fault", func() bool { return p.fault("the directory was taken away") })
		if len(p.gone) > 0 || p.order("a") != 1 {
			t.Fatalf("replaced %v: gone %v, order %v", replaced, p.gone, p.order("a"))
		}
		if _, err := s.Get(t.Context(), tierKey("a")); !errors.Is(err, datastore.ErrInvalid) {
			t.Errorf("replaced %v: Get: %v", replaced, err)
		}
		if replaced {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		p.until("no fault", func() bool { return len(p.faults) == 0 })
	}
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	p.until("the deletion", func() bool { return len(p.gone) == 1 })
}
