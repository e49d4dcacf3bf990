package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	v3 "github.com/felid-net/felid/api/v3"
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

// TestGoneBeforeItsDirectoryWasNoticed is of a file that a call has found in a new directory, and that goes before the notice of that
// directory is handled: no other notice tells of it.
func TestGoneBeforeItsDirectoryWasNoticed(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if _, err := s.List(t.Context(), v3.KindTier, ""); err != nil {
		t.Fatal(err)
	}
	s.locked(func() { // the notices have to wait
		write(t, dir, "Tier/a.json", `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"}}`)
		s.sync("Tier/a.json", true)
		if s.index.entry(tierKey("a")) == nil {
			t.Fatal("the file was not read")
		}
		if err := os.Remove(filepath.Join(dir, "Tier", "a.json")); err != nil {
			t.Fatal(err)
		}
		s.noticeDir("Tier", fsnotify.Event{Name: filepath.Join(dir, "Tier"), Op: fsnotify.Create})
		if s.index.entry(tierKey("a")) != nil {
			t.Error("the object is still there")
		}
	})
}
