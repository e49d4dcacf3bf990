package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes files with their names for content.
func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// content of a folder, "name=text" in order of the names; what felid put aside by its text alone.
func content(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range names {
		data, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name := d.Name()
		if strings.HasPrefix(name, asidePrefix) {
			name = "aside"
		}
		all = append(all, name+"="+string(data))
	}
	return strings.Join(all, " ")
}

// TestWindowsPrograms: on Windows a host gets felid-cni.exe and nothing else, also where it could get more.
func TestWindowsPrograms(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	write(t, from, "felid-cni.exe", "felid-cni", "portmap.exe", "loopback.exe", "felid.exe")
	write(t, dir, "azure-vnet.exe", tempPrefix+"123", asidePrefix+"old-felid-cni.exe")
	bin := binFolder{dir: dir, from: from, windows: true}
	for range 2 {
		if hasPortmap, err := bin.install(true); err != nil || hasPortmap {
			t.Fatalf("%v, %v", hasPortmap, err)
		}
		if got, want := content(t, dir), "azure-vnet.exe=azure-vnet.exe felid-cni.exe=felid-cni.exe"; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if err := remove(bin, ""); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got != "azure-vnet.exe=azure-vnet.exe" {
		t.Errorf("after removing: %s", got)
	}
}

var errRuns = errors.New("it runs")

// asWindows renames as Windows does while a program runs: to be renamed it lets itself, but not replaced.
func asWindows(running string, refuse func(from, to string) bool) func(from, to string) error {
	return func(from, to string) error {
		if to == running {
			if _, err := os.Stat(to); err == nil {
				return errRuns
			}
		}
		if refuse != nil && refuse(from, to) {
			return fmt.Errorf("%s to %s: %w", filepath.Base(from), filepath.Base(to), fs.ErrPermission)
		}
		return os.Rename(from, to)
	}
}

func TestReplaceProgramThatRuns(t *testing.T) {
	never := func(string, string) bool { return false }
	for _, tt := range []struct {
		name   string
		refuse func(from, to string) bool
		fails  bool
		want   string
	}{
		{"it is put aside", never, false, "aside=felid-cni.exe felid-cni.exe=new"},
		{"it can't be put aside", func(from, _ string) bool { return filepath.Base(from) == "felid-cni.exe" }, true, "felid-cni.exe=felid-cni.exe new=new"},
		{"the new one can't be moved: the old one comes back", func(from, _ string) bool { return filepath.Base(from) == "new" }, true,
			"felid-cni.exe=felid-cni.exe new=new"},
	} {
		dir := t.TempDir()
		write(t, dir, "felid-cni.exe", "new")
		path := filepath.Join(dir, "felid-cni.exe")
		err := replaceProgram(asWindows(path, tt.refuse), filepath.Join(dir, "new"), path)
		if got := content(t, dir); (err != nil) != tt.fails || got != tt.want {
			t.Errorf("%s: %v, %s; want %s", tt.name, err, got, tt.want)
		}
	}
}

func TestRemoveProgramThatRuns(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "felid-cni.exe")
	path := filepath.Join(dir, "felid-cni.exe")
	if err := removeProgram(func(string) error { return errRuns }, path); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got != "aside=felid-cni.exe" {
		t.Errorf("%s", got)
	}
	if err := removeProgram(os.Remove, path); err != nil {
		t.Errorf("what is gone already: %v", err)
	}
	if err := dropTemps(dir); err != nil || content(t, dir) != "" {
		t.Errorf("%v, left: %s", err, content(t, dir))
	}
}
