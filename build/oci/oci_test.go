package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// archive is a tar archive of files, folders ending in "/", sorted by name.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// inputs writes what the program reads, and returns its first two arguments.
func inputs(t *testing.T, change func(files map[string]string)) (linux, windows string) {
	t.Helper()
	dir := t.TempDir()
	layer := string(archive(t, map[string]string{"usr/bin/felid": "ELF"}))
	files := map[string]string{
		"manifest.json": `[{"Config":"config.json","RepoTags":["felid.dev/felid:dev"],"Layers":["layer.tar"]}]`,
		"config.json":   `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["felid"]},"rootfs":{"type":"layers","diff_ids":["` + digest([]byte(layer)) + `"]}}`,
		"layer.tar":     layer,
	}
	if change != nil {
		change(files)
	}
	for name, data := range map[string]string{"linux.tar": string(archive(t, files)), "felid.exe": "MZ agent", "felid-cni.exe": "MZ plugin"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "linux.tar"), dir
}

// opened is a layout, read as a runtime does: everything by its digest, which must fit.
type opened struct {
	t     *testing.T
	files map[string][]byte
}

func open(t *testing.T, path string) *opened {
	t.Helper()
	files, err := readArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(files["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s", files["oci-layout"])
	}
	return &opened{t, files}
}

func (o *opened) blob(d descriptor, mediaType string) []byte {
	o.t.Helper()
	data, ok := o.files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
	if !ok || digest(data) != d.Digest || int64(len(data)) != d.Size || d.MediaType != mediaType {
		o.t.Fatalf("%+v: there %t, %d bytes of digest %s", d, ok, len(data), digest(data))
	}
	return data
}

func read[T any](o *opened, data []byte) T {
	o.t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		o.t.Fatalf("%v: %s", err, data)
	}
	return v
}

// layerFiles are the files of a manifest's one layer, whose contents must be what the configuration says.
func (o *opened) layerFiles(m manifest) (config, map[string][]byte) {
	o.t.Helper()
	c := read[config](o, o.blob(m.Config, typeConfig))
	if len(m.Layers) != 1 || len(c.RootFS.DiffIDs) != 1 {
		o.t.Fatalf("%+v of %+v", m, c)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(o.blob(m.Layers[0], typeLayer)))
	if err != nil {
		o.t.Fatal(err)
	}
	layer, err := io.ReadAll(unpacked)
	if err != nil || digest(layer) != c.RootFS.DiffIDs[0] {
		o.t.Fatalf("layer %s, want %s: %v", digest(layer), c.RootFS.DiffIDs[0], err)
	}
	path := filepath.Join(o.t.TempDir(), "layer.tar")
	if err := os.WriteFile(path, layer, 0o644); err != nil {
		o.t.Fatal(err)
	}
	files, err := readArchive(path)
	if err != nil {
		o.t.Fatal(err)
	}
	return c, files
}

func TestLayout(t *testing.T) {
	linux, windows := inputs(t, nil)
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := run(linux, windows, out, "felid.dev/felid:dev"); err != nil {
		t.Fatal(err)
	}
	o := open(t, out)
	top := read[index](o, o.files["index.json"])
	if len(top.Manifests) != 1 || top.Manifests[0].Annotations["io.containerd.image.name"] != "felid.dev/felid:dev" || top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "dev" {
		t.Fatalf("%+v", top)
	}
	all := read[index](o, o.blob(top.Manifests[0], typeIndex))
	var got []platform
	byOS := map[string]manifest{}
	for _, d := range all.Manifests {
		got = append(got, *d.Platform)
		byOS[d.Platform.OS] = read[manifest](o, o.blob(d, typeManifest))
	}
	want := []platform{{"amd64", "linux", ""}, {"amd64", "windows", ""}, {"amd64", "windows", "10.0.20348"}, {"amd64", "windows", "10.0.26100"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if c, files := o.layerFiles(byOS["linux"]); c.Config.Entrypoint[0] != "felid" || string(files["usr/bin/felid"]) != "ELF" {
		t.Errorf("Linux: %+v, %v", c, files)
	}
	judgeWindows(t, o, byOS["windows"])
}

func judgeWindows(t *testing.T, o *opened, m manifest) {
	t.Helper()
	c, files := o.layerFiles(m)
	if c.OS != "windows" || c.Architecture != "amd64" || c.Config.Entrypoint[0] != "felid.exe" {
		t.Errorf("Windows: %+v", c)
	}
	if string(files["Files/felid.exe"]) != "MZ agent" || string(files["Files/felid-cni.exe"]) != "MZ plugin" {
		t.Errorf("programs: %q, %q", files["Files/felid.exe"], files["Files/felid-cni.exe"])
	}
	for _, name := range []string{"DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"} {
		judgeHive(t, files["Files/Windows/System32/config/"+name])
	}
	for name := range files {
		if !strings.HasPrefix(name, "Files/") {
			t.Errorf("%s is not below Files", name)
		}
	}
}

// judgeHive walks a hive as the registry does: header and checksum, a bin full of cells, a root key, its security descriptor.
func judgeHive(t *testing.T, h []byte) {
	t.Helper()
	number := func(at int) int { return int(int32(binary.LittleEndian.Uint32(h[at:]))) }
	if len(h) != 8192 || string(h[:4]) != "regf" || number(4) != number(8) || string(h[4096:4100]) != "hbin" || number(40) != number(4096+8) {
		t.Fatalf("not a hive: %d bytes, %q", len(h), h[:min(4, len(h))])
	}
	sum := 0
	for at := 0; at < 508; at += 4 {
		sum ^= number(at)
	}
	if sum != number(508) {
		t.Errorf("checksum %x, want %x", number(508), sum)
	}
	cells := map[int]string{}
	at := 4096 + 32
	for at < len(h) {
		size := number(at)
		if size == 0 || size%8 != 0 {
			t.Fatalf("a cell of %d bytes at %d", size, at)
		}
		if size < 0 {
			cells[at-4096], size = string(h[at+4:at+6]), -size
		}
		at += size
	}
	root := number(36)
	security := number(4096 + root + 4 + 44)
	if at != len(h) || cells[root] != "nk" || cells[security] != "sk" || len(cells) != 2 {
		t.Errorf("cells %v, root at %d, security at %d, end at %d", cells, root, security, at)
	}
	if s := 4096 + security + 4; number(s+4) != security || number(s+8) != security || number(s+12) != 1 || number(s+16) != len(securityDescriptor()) {
		t.Errorf("security cell %x", h[s:s+20])
	}
}

func TestSameProgramsSameArchive(t *testing.T) {
	linux, windows := inputs(t, nil)
	var first []byte
	for range 2 {
		out := filepath.Join(t.TempDir(), "image.tar")
		if err := run(linux, windows, out, "felid.dev/felid:dev"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, data) {
			t.Error("two runs, two archives")
		}
		first = data
	}
}

func TestBadInput(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"not the layer":   func(f map[string]string) { f["layer.tar"] += "more" },
		"manifest.json":   func(f map[string]string) { delete(f, "manifest.json") },
		"config.json":     func(f map[string]string) { f["config.json"] = "{" },
		"in the config":   func(f map[string]string) { f["config.json"] = `{"rootfs":{"diff_ids":[]}}` },
		"is not the laye": func(f map[string]string) { delete(f, "layer.tar") },
	} {
		linux, windows := inputs(t, change)
		out := filepath.Join(t.TempDir(), "image.tar")
		if err := run(linux, windows, out, "x:y"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if files, err := os.ReadDir(filepath.Dir(out)); err != nil || len(files) != 0 {
			t.Errorf("%s: left %v, %v", name, files, err)
		}
	}
	linux, _ := inputs(t, nil)
	if err := run(linux, t.TempDir(), filepath.Join(t.TempDir(), "i"), "x:y"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make build writes it") {
		t.Errorf("without programs: %v", err)
	}
}
