//go:build !windows

package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// program is a file of the folder of plugins.
func (h *host) program(name string) string {
	h.t.Helper()
	path := filepath.Join(h.o.BinDir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		h.t.Errorf("%s: %v, %v; want mode 0755", name, info.Mode(), err)
	}
	return string(data)
}

func TestOwnerInstalls(t *testing.T) {
	h := newHost(t, false)
	h.after(0)
	if got := h.list(); got != string(ownList(socket, true)) {
		t.Errorf("%s", got)
	}
	if h.program("felid-cni") != "the plugin" || h.program("felid-ipam") != "the plugin" || h.program("portmap") != "felid's portmap" ||
		h.program("loopback") != "felid's loopback" {
		t.Error("the programs are not what they were copied from")
	}
	left, err := filepath.Glob(filepath.Join(h.o.BinDir, tempPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestProgramsOfOthersStay: felid's own is replaced in an upgrade, portmap is only put where there is none.
func TestProgramsOfOthersStay(t *testing.T) {
	h := newHost(t, false)
	for _, name := range []string{"felid-cni", "portmap", tempPrefix + "123"} {
		if err := os.WriteFile(filepath.Join(h.o.BinDir, name), []byte("was there"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.after(0)
	if h.program("felid-cni") != "the plugin" || h.program("portmap") != "was there" {
		t.Errorf("felid-cni %q, portmap %q", h.program("felid-cni"), h.program("portmap"))
	}
	if _, err := os.Stat(filepath.Join(h.o.BinDir, tempPrefix+"123")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what an agent left half written is still there: %v", err)
	}
	if err := os.Remove(filepath.Join(h.o.BinDir, "felid-cni")); err != nil {
		t.Fatal(err)
	}
	h.after(h.o.poll)
	if h.program("felid-cni") != "the plugin" {
		t.Error("the plugin did not come back")
	}
}

func TestWithoutPortmap(t *testing.T) {
	h := newHost(t, false)
	if err := os.Remove(filepath.Join(h.o.From, "portmap")); err != nil {
		t.Fatal(err)
	}
	h.after(0)
	if got := h.list(); got != string(ownList(socket, false)) {
		t.Errorf("%s", got)
	}
}

func TestWarnsOfAnotherFileBefore(t *testing.T) {
	h := newHost(t, false)
	h.other("00-a.conflist", azure)
	h.after(0)
	h.after(time.Minute)
	if strings.Count(h.log.String(), "file=00-a.conflist") != 1 {
		t.Errorf("log: %s", h.log.String())
	}
}

func TestRemove(t *testing.T) {
	h := newHost(t, false)
	h.other("10-azure.conflist", azure)
	h.after(0)
	for range 2 { // what is gone already is no error
		if err := Remove(h.o.BinDir, h.o.ConfDir); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string][]string{h.o.BinDir: {"loopback", "portmap"}, h.o.ConfDir: {"10-azure.conflist"}} {
		var left []string
		names, err := os.ReadDir(dir)
		for _, d := range names {
			left = append(left, d.Name())
		}
		if err != nil || !slices.Equal(left, want) {
			t.Errorf("left: %v, %v; want %v", left, err, want)
		}
	}
}
