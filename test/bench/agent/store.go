//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

// backing is the datastore of a world.
type backing interface {
	flag() string // the agent's --datastore
	fill(objects []v3.Object) error
	open() (datastore.Store, error) // of its own, which the caller closes
	// replace writes an object whole, whether it is there or not, and returns when that is accepted: from then on nothing but the agent, and how
	// the store tells it, is waited for. Writers, by number, write beside each other.
	replace(writer int, o v3.Object) error
	close() error
}

// stores by the name that -store has.
var stores = map[string]func(dir string) (backing, error){
	"local": func(dir string) (backing, error) { return directory{dir}, nil },
	"etcd":  func(dir string) (backing, error) { return startEtcd(dir) },
}

// directory is the store of package local, below dir.
type directory struct{ dir string }

func (d directory) store() string { return filepath.Join(d.dir, "store") }

func (d directory) flag() string { return "local:" + d.store() }

func (d directory) path(elements ...string) string {
	return filepath.Join(append([]string{d.store()}, elements...)...)
}

// fill puts objects where the local store keeps its own.
func (d directory) fill(objects []v3.Object) error {
	for _, o := range objects {
		data, err := v3.Encode(o)
		if err == nil {
			err = d.writeFile(data, string(o.GetKind()), o.GetNamespace(), o.GetName()+".json")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d directory) writeFile(data []byte, elements ...string) error {
	path := d.path(elements...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func (d directory) open() (datastore.Store, error) { return local.Open(d.store(), local.Options{}) }

// replace writes as programs do that want a file read whole: beside the store, then renamed into it.
func (d directory) replace(writer int, o v3.Object) error {
	data, err := v3.Encode(o)
	if err != nil {
		return err
	}
	temporary := filepath.Join(d.dir, fmt.Sprintf("new-%d", writer))
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, d.path(string(o.GetKind()), o.GetNamespace(), o.GetName()+".json"))
}

func (d directory) close() error { return nil }
