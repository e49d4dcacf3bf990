package install

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
)

var update = flag.Bool("update", false, "write the golden files")

const socket = "/run/felid/cni.sock"

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

// runtimeTypes are the plugins that a runtime would call, in order.
func runtimeTypes(t *testing.T, data []byte) []string {
	t.Helper()
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		t.Fatalf("a runtime can't read it: %v\n%s", err, data)
	}
	var types []string
	for _, p := range list.Plugins {
		types = append(types, p.Network.Type)
	}
	return types
}

func TestOwnList(t *testing.T) {
	golden(t, "own", ownList(socket, true))
	golden(t, "own-without-portmap", ownList(socket, false))
	if got := runtimeTypes(t, ownList(socket, true)); !slices.Equal(got, []string{"felid-cni", "portmap"}) {
		t.Errorf("plugins %v", got)
	}
}

func TestCopies(t *testing.T) {
	for name, want := range map[string][]string{
		"10-azure.conflist":   {"azure-vnet", "portmap", "felid-cni"},
		"10-kindnet.conflist": {"ptp", "portmap", "bandwidth", "felid-cni"},
		"10-bridge.conf":      {"bridge", "felid-cni"},
		// As PowerShell writes it: a byte order mark, and lines that end with CR LF.
		"10-azure-windows.conflist": {"azure-vnet", "felid-cni"},
		"05-gated.conflist":         {"ptp", "tuning", "felid-cni"},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := copyOf(File{Name: name, Data: data}, socket)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, name, got)
		if types := runtimeTypes(t, got); !slices.Equal(types, want) {
			t.Errorf("%s: plugins %v, want %v", name, types, want)
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	for _, tt := range []struct{ name, data, says string }{
		{"a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":`, "a.conflist: not a JSON object"},
		{"a.conflist", `[]`, "not a JSON object"},
		{"a.conflist", `{"name":"n","plugins":[{"type":"ptp"}]}`, `cniVersion: ""`},
		{"a.conflist", `{"cniVersion":"0.2.0","name":"n","plugins":[{"type":"ptp"}]}`, `cniVersion: "0.2.0" is not one that felid can follow another plugin in; valid: 0.3.0, `},
		{"a.conflist", `{"cniVersion":1,"name":"n","plugins":[{"type":"ptp"}]}`, "cniVersion: 1 is not a string"},
		{"a.conflist", `{"cniVersion":"1.0.0","plugins":[{"type":"ptp"}]}`, "name: is missing"},
		{"a.conflist", `{"cniVersion":"1.0.0","name":"n"}`, "plugins: not a list"},
		{"a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[]}`, "plugins: is empty"},
		{"a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[null]}`, "plugins[0].type: is missing"},
		{"a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"felid-cni"}]}`, "felid-cni is its only plugin"},
		{"a.conf", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}`, "belongs into a file *.conflist"},
		{"a.conf", `{"cniVersion":"1.0.0","name":"n"}`, "plugins[0].type: is missing"},
	} {
		if got, err := copyOf(File{Name: tt.name, Data: []byte(tt.data)}, socket); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %s: %v, want %q\n%s", tt.name, tt.data, err, tt.says, got)
		}
	}
}

// TestByteOrderMark: it makes no difference, in a file of a single plugin neither.
func TestByteOrderMark(t *testing.T) {
	for name, text := range map[string]string{
		"10-a.conflist": "{\"cniVersion\":\"1.0.0\",\r\n\"name\":\"n\",\"plugins\":[{\"type\":\"ptp\"}]}",
		"10-a.conf":     "{\"cniVersion\":\"1.0.0\",\r\n\"name\":\"n\",\"type\":\"ptp\"}",
	} {
		without, err := copyOf(File{Name: name, Data: []byte(strings.ReplaceAll(text, "\r\n", ""))}, socket)
		if err != nil {
			t.Fatal(err)
		}
		with, err := copyOf(File{Name: name, Data: []byte("\ufeff" + text)}, socket)
		if err != nil || !bytes.Equal(with, without) {
			t.Errorf("%s: %v\n%s\nwant:\n%s", name, err, with, without)
		}
		if !upToDate(append([]byte("\ufeff"), with...), without) {
			t.Errorf("%s: felid's own list with a byte order mark is not taken for what it is", name)
		}
	}
}

func TestBaseIsTheFirstByName(t *testing.T) {
	files := []File{{Name: "99-loopback.conf"}, {Name: ListName}, {Name: "20-b.conflist"}, {Name: "10-azure.conflist.bak"}, {Name: "15-a.json"}}
	if got := baseOf(files); got == nil || got.Name != "15-a.json" {
		t.Errorf("%+v", got)
	}
	if got := baseOf(files[1:2]); got != nil {
		t.Errorf("felid's own file is its base: %+v", got)
	}
}

// TestUpToDate: what is compared is what the list was made of, and not what somebody else has added to it.
func TestUpToDate(t *testing.T) {
	base := func(text string) File { return File{Name: "10-a.conflist", Data: []byte(text)} }
	made := func(f File, socket string) []byte {
		data, err := copyOf(f, socket)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	was := made(base(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}`), socket)
	same := made(base(`{"name":"n", "cniVersion":"1.0.0","plugins":[{"type":"ptp"}, {"type":"felid-cni","mode":"gate"}]}`), socket)
	added := bytes.Replace(was, []byte("\n  ]"), []byte(`, {"type": "third"}]`), 1)
	for _, tt := range []struct {
		name      string
		now, want []byte
		is        bool
	}{
		{"itself", was, was, true},
		{"written otherwise, or with felid in it", was, same, true},
		{"another plugin's settings", was, made(base(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp","mtu":1400}]}`), socket), false},
		{"another socket", was, made(base(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}`), "/x.sock"), false},
		{"a third plugin added", added, was, true},
		{"felid taken out", bytes.Replace(was, []byte("felid-cni"), []byte("other-cni"), 1), was, false},
		{"not JSON", was[:20], was, false},
		{"from guest to owner", was, ownList(socket, true), false},
		{"from owner to guest", ownList(socket, true), was, false},
		{"portmap came", ownList(socket, false), ownList(socket, true), false},
	} {
		if got := upToDate(tt.now, tt.want); got != tt.is {
			t.Errorf("%s: %v, want %v\n%s", tt.name, got, tt.is, tt.now)
		}
	}
	if !json.Valid(added) || bytes.Equal(added, was) {
		t.Fatalf("the third plugin was not added: %s", added)
	}
}

// FuzzCopy: a copy has the same plugins, as they were written, and felid's after them; a copy of it is the same list; runtimes can
// read it if they could read its source.
func FuzzCopy(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.con*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.HasSuffix(path, ".conf"), data)
	}
	f.Fuzz(func(t *testing.T, single bool, data []byte) {
		base := File{Name: "10-a.conflist", Data: data}
		if single {
			base.Name = "10-a.conf"
		}
		made, err := copyOf(base, socket)
		if err != nil {
			return
		}
		_, before, err := parseList(base)
		if err != nil {
			t.Fatal(err)
		}
		before = slices.DeleteFunc(before, func(p plugin) bool { return p.Type == pluginName })
		_, after, err := parseList(File{Name: ListName, Data: made})
		if err != nil {
			t.Fatalf("%v\n%s", err, made)
		}
		if len(after) != len(before)+1 || after[len(before)].Mode != gate {
			t.Fatalf("%d plugins became %d\n%s", len(before), len(after), made)
		}
		for i := range before {
			if !bytes.Equal(compact(before[i].text), compact(after[i].text)) {
				t.Errorf("plugin %d: %s became %s", i, before[i].text, after[i].text)
			}
		}
		again, err := copyOf(File{Name: "10-a.conflist", Data: made}, socket)
		if err != nil || !single && !bytes.Equal(again, made) {
			t.Errorf("a copy of the copy: %v\n%s\nwant:\n%s", err, again, made)
		}
		if !upToDate(made, made) {
			t.Errorf("not up to date with itself: %s", made)
		}
	})
}

// compact is JSON text without what does not matter: spaces, and how characters are written.
func compact(text []byte) []byte {
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		panic(err)
	}
	var escaped bytes.Buffer
	json.HTMLEscape(&escaped, out.Bytes())
	return escaped.Bytes()
}
