package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/felid-net/felid/cni"
)

const (
	// ListName is the name of felid's file. Runtimes use the first file by name.
	ListName = "00-felid.conflist"
	// Network is the name of felid's own network.
	Network = "felid"

	pluginName = "felid-cni"
	gate       = "gate" // the mode
	// ownVersion is of the specification: the newest that every runtime of the supported versions of Kubernetes speaks.
	ownVersion = "1.0.0"
)

// File is a file of a runtime's folder of configuration.
type File struct {
	Name string
	Data []byte
}

// source says what a list was made from, in felid's entry of the list.
type source struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// entry is felid's own entry of a list.
type entry struct {
	Type   string `json:"type"`
	Mode   string `json:"mode,omitempty"`
	Socket string `json:"socket"`
	Source source `json:"felid.dev/source"`
}

func sourceOf(name string, data []byte) source {
	sum := sha256.Sum256(data)
	return source{File: name, SHA256: hex.EncodeToString(sum[:])}
}

// ownList is the list of a host whose network is felid.
func ownList(socket string, portmap bool) []byte {
	felid := entry{Type: pluginName, Socket: socket}
	text, _ := json.Marshal([]any{felid, portmap})
	felid.Source = sourceOf(Network, text)
	plugins := []any{felid}
	if portmap {
		plugins = append(plugins, map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}})
	}
	return encode(map[string]any{"cniVersion": ownVersion, "name": Network, "plugins": plugins})
}

// copyOf is the list of another plugin's file, with felid as a gate at its end. A file of a single plugin becomes a list of one.
func copyOf(base File, socket string) ([]byte, error) {
	list, plugins, err := parseList(base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base.Name, err)
	}
	others := slices.DeleteFunc(plugins, func(p plugin) bool { return p.Type == pluginName })
	if len(others) == 0 {
		return nil, fmt.Errorf("%s: %s is its only plugin, but felid is not the network of this host (network: guest)", base.Name, pluginName)
	}
	all := make([]any, 0, len(others)+1)
	for _, p := range others {
		all = append(all, p.text)
	}
	whole := map[string]any{"plugins": all}
	for key, value := range list {
		if key != "plugins" {
			whole[key] = value
		}
	}
	// Of what the others are: a file that is a copy of this copy, as a third plugin may make it, does not change with felid's entry.
	own := entry{Type: pluginName, Mode: gate, Socket: socket, Source: sourceOf(base.Name, encode(whole))}
	whole["plugins"] = append(all, own)
	return encode(whole), nil
}

func encode(list map[string]any) []byte {
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		panic("install: " + err.Error()) // its parts were read from JSON
	}
	return append(text, '\n')
}

// plugin is an entry of a list: its text, and what is looked at of it, which is its type, and all of felid's own.
type plugin struct {
	entry
	text json.RawMessage
}

// UnmarshalJSON keeps the text. Keys of felid's may mean something else to another plugin.
func (p *plugin) UnmarshalJSON(text []byte) error {
	var any struct{ Type string }
	if err := json.Unmarshal(text, &any); err != nil {
		return err
	}
	p.Type, p.text = any.Type, bytes.Clone(text)
	if p.Type != pluginName {
		return nil
	}
	return json.Unmarshal(text, &p.entry)
}

// byteOrderMark begins what PowerShell 5 and Windows editors write as UTF-8, and is no part of the JSON. Runtimes refuse it, so a copy without it is
// what they can read.
var byteOrderMark = []byte("\ufeff")

// parseList reads a configuration as far as it matters: that the plugins can be a list, for one. The keys of a single plugin's file that
// are a list's are those of its list too.
func parseList(f File) (list map[string]json.RawMessage, plugins []plugin, err error) {
	text := bytes.TrimPrefix(f.Data, byteOrderMark)
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if err := checkVersion(list["cniVersion"]); err != nil {
		return nil, nil, err
	}
	var name string
	if err := json.Unmarshal(list["name"], &name); err != nil || name == "" {
		return nil, nil, errors.New("name: is missing, or not a string")
	}
	if filepath.Ext(f.Name) != ".conflist" {
		list, err = listOfOne(text, list)
		if err != nil {
			return nil, nil, err
		}
	}
	if err := json.Unmarshal(list["plugins"], &plugins); err != nil {
		return nil, nil, fmt.Errorf("plugins: not a list of objects with a type: %w", err)
	}
	if len(plugins) == 0 {
		return nil, nil, errors.New("plugins: is empty")
	}
	for i, p := range plugins {
		if p.Type == "" {
			return nil, nil, fmt.Errorf("plugins[%d].type: is missing", i)
		}
	}
	return list, plugins, nil
}

// checkVersion refuses versions in which plugins can't follow each other, and those that felid-cni does not speak.
func checkVersion(text json.RawMessage) error {
	var version string
	if len(text) > 0 {
		if err := json.Unmarshal(text, &version); err != nil {
			return fmt.Errorf("cniVersion: %s is not a string", text)
		}
	}
	if !slices.Contains(cni.Versions, version) {
		return fmt.Errorf("cniVersion: %q is not one that felid can follow another plugin in; valid: %s", version, strings.Join(cni.Versions, ", "))
	}
	return nil
}

// listOfOne is the list of a single plugin's configuration, as runtimes make it.
func listOfOne(text []byte, conf map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	if _, is := conf["plugins"]; is {
		return nil, errors.New("plugins: this is a list, which belongs into a file *.conflist")
	}
	plugins, err := json.Marshal([]json.RawMessage{text})
	if err != nil {
		return nil, err
	}
	return map[string]json.RawMessage{"cniVersion": conf["cniVersion"], "name": conf["name"], "plugins": plugins}, nil
}

// isConfig tells whether runtimes look at a file of that name.
func isConfig(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".conflist" || ext == ".conf" || ext == ".json"
}

// baseOf is the file that the runtime would use without felid: the first by name. Nil: there is none.
func baseOf(files []File) *File {
	var base *File
	for i := range files {
		f := &files[i]
		if f.Name != ListName && isConfig(f.Name) && (base == nil || f.Name < base.Name) {
			base = f
		}
	}
	return base
}

// upToDate tells whether a list of felid's was made from the same as want, with the same socket, whatever somebody else has added since.
func upToDate(now, want []byte) bool {
	have, ok := ownEntry(now)
	wanted, _ := ownEntry(want)
	return ok && have == wanted
}

// ownEntry is felid's entry of a list, which must be where it was put: first, or after at least one other plugin.
func ownEntry(data []byte) (entry, bool) {
	_, plugins, err := parseList(File{Name: ListName, Data: data})
	if err != nil {
		return entry{}, false
	}
	i := slices.IndexFunc(plugins, func(p plugin) bool { return p.Type == pluginName })
	if i < 0 || (plugins[i].Mode == gate) != (i > 0) {
		return entry{}, false
	}
	return plugins[i].entry, true
}
