package local

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy/kube"
)

// signature tells whether a file may have changed without reading it.
type signature struct {
	size, modified, changed int64
	inode                   uint64
}

func signatureOf(info fs.FileInfo) signature {
	inode, changed := identity(info)
	return signature{info.Size(), info.ModTime().UnixNano(), changed, inode}
}

// file is what is remembered of a file.
type file struct {
	signature signature
	young     bool   // the signature may hide a change
	compared  uint64 // the last comparison that found it as it is known
	sum       string // hash of its bytes
	keys      []v3.Key
	faults    []datastore.Fault
	foreign   map[string]int
}

// place is one object of a file that has to do with a key.
type place struct {
	path     string
	role     role
	revision string
	pod      string // of the record of a sandbox: the name of its pod
	inList   bool
	stale    bool // the file can't be decoded any more: this was its last good revision
}

// entry is a key that is in some file.
type entry struct {
	number   uint64 // of its last change
	revision string
	places   []place // in order of path; more than one is a fault, but for a Pod and the record of its sandbox
}

// tombstone is a key that went.
type tombstone struct {
	number uint64
	key    v3.Key
}

// index knows which objects are in which file, and in which order they changed. It keeps no contents.
type index struct {
	files      map[string]*file
	entries    map[v3.Kind]map[v3.Key]*entry
	secondary  map[v3.Key]map[v3.Key]bool // by the key of a pod: the records of its interfaces that have other keys
	faulty     map[string]bool            // files with faults
	twice      map[v3.Key]bool
	number     uint64
	compared   uint64 // comparisons with the directory, so far
	tombstones []tombstone
	forgotten  uint64 // the number of the last tombstone that is not kept any more
}

// keptTombstones is how many deletions a watch may be behind.
const keptTombstones = 10000

func newIndex() index {
	return index{
		files: map[string]*file{}, entries: map[v3.Kind]map[v3.Key]*entry{}, secondary: map[v3.Key]map[v3.Key]bool{},
		faulty: map[string]bool{}, twice: map[v3.Key]bool{},
	}
}

func (x *index) entry(key v3.Key) *entry { return x.entries[key.Kind][key] }

// replace takes what a file holds now (next nil: it is gone), and returns the keys that it touches, in order. Where it is
// partial, what is missing in it stays, stale.
func (x *index) replace(path string, next *file, items []item, partial bool) []v3.Key {
	before := x.files[path]
	var touched []v3.Key
	var stale []place
	var staleKeys []v3.Key
	if before != nil {
		for _, key := range before.keys {
			was := x.removePlaces(key, path)
			if len(was) > 0 && partial && !slices.ContainsFunc(items, func(it item) bool { return it.key == key }) {
				stale, staleKeys = append(stale, was[0]), append(staleKeys, key)
			}
			touched = append(touched, key)
		}
	}
	if next == nil {
		delete(x.files, path)
		delete(x.faulty, path)
		return x.withSecondary(touched)
	}
	x.files[path] = next
	for i := range items {
		x.addPlace(items[i].key, placeOf(path, &items[i]))
		next.keys = append(next.keys, items[i].key)
	}
	for i, key := range staleKeys {
		stale[i].stale = true
		x.addPlace(key, stale[i])
		next.keys = append(next.keys, key)
		next.faults = append(next.faults, staleFault(key, path, next.faults))
	}
	touched = append(touched, next.keys...)
	delete(x.faulty, path)
	if len(next.faults) > 0 {
		x.faulty[path] = true
	}
	return x.withSecondary(touched)
}

func placeOf(path string, it *item) place {
	p := place{path: path, role: it.role, revision: it.revision, inList: it.inList}
	if wep, ok := it.object.(*v3.WorkloadEndpoint); ok && it.role == stored {
		p.pod = wep.Spec.Pod
	}
	return p
}

// staleFault names an object whose file can't be decoded any more; the line is that of the file's first fault.
func staleFault(key v3.Key, path string, faults []datastore.Fault) datastore.Fault {
	f := datastore.Fault{Key: key, File: path, Err: errors.New("the file can't be read; what was known of the object stays")}
	if len(faults) > 0 {
		f.Line = faults[0].Line
	}
	return f
}

// removePlaces removes and returns the places of a key in a file.
func (x *index) removePlaces(key v3.Key, path string) []place {
	e := x.entry(key)
	if e == nil {
		return nil
	}
	var was []place
	e.places = slices.DeleteFunc(e.places, func(p place) bool {
		if p.path == path {
			was = append(was, p)
		}
		return p.path == path
	})
	for _, p := range was {
		if podKey := podKeyOf(key, p.pod); p.pod != "" && podKey != key {
			delete(x.secondary[podKey], key)
			if len(x.secondary[podKey]) == 0 {
				delete(x.secondary, podKey)
			}
		}
	}
	return was
}

func (x *index) addPlace(key v3.Key, p place) {
	kind := x.entries[key.Kind]
	if kind == nil {
		kind = map[v3.Key]*entry{}
		x.entries[key.Kind] = kind
	}
	e := kind[key]
	if e == nil {
		e = &entry{}
		kind[key] = e
	}
	at := 0
	for at < len(e.places) && e.places[at].path <= p.path {
		at++
	}
	e.places = slices.Insert(e.places, at, p)
	if podKey := podKeyOf(key, p.pod); p.pod != "" && podKey != key {
		if x.secondary[podKey] == nil {
			x.secondary[podKey] = map[v3.Key]bool{}
		}
		x.secondary[podKey][key] = true
	}
}

func podKeyOf(record v3.Key, pod string) v3.Key {
	return v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: record.Namespace, Name: pod}
}

// withSecondary adds the records that a touched pod lends its labels to, and drops duplicates.
func (x *index) withSecondary(touched []v3.Key) []v3.Key {
	var all []v3.Key
	for _, key := range touched {
		all = append(all, key)
		if more := x.secondary[key]; len(more) > 0 {
			all = append(all, slices.SortedFunc(maps.Keys(more), compareKeys)...)
		}
	}
	if len(all) < 2 {
		return all
	}
	seen := make(map[v3.Key]bool, len(all))
	return slices.DeleteFunc(all, func(key v3.Key) bool {
		again := seen[key]
		seen[key] = true
		return again
	})
}

// choose finds the places that make an object: the object itself, or the record of a sandbox and the Pod it belongs to.
func (x *index) choose(key v3.Key) (main, pod *place) {
	e := x.entry(key)
	if e == nil {
		return nil, nil
	}
	main = e.first(func(p *place) bool { return p.role != podOf })
	if key.Kind != v3.KindWorkloadEndpoint {
		return main, nil
	}
	if main != nil && main.pod != key.Name {
		if main.pod == "" {
			return main, nil
		}
		if e = x.entry(podKeyOf(key, main.pod)); e == nil {
			return main, nil
		}
	}
	return main, e.first(func(p *place) bool { return p.role == podOf })
}

func (e *entry) first(which func(*place) bool) *place {
	for i := range e.places {
		if which(&e.places[i]) {
			return &e.places[i]
		}
	}
	return nil
}

// revisionFrom is the revision of an object made from these places: of the record and the pod for a merged one, "-POD" for a pod alone.
func revisionFrom(main, pod *place) string {
	switch {
	case pod == nil:
		return main.revision
	case main == nil:
		return "-" + pod.revision
	}
	return main.revision + "-" + pod.revision
}

// storedRevision is the part of a revision that a write is compared with.
func storedRevision(revision string) string {
	record, _, _ := strings.Cut(revision, "-")
	return record
}

// note brings an entry in line with its places after they were touched. changed: its object is another one now, or gone.
func (x *index) note(key v3.Key) (changed, gone bool) {
	e := x.entry(key)
	if e == nil {
		return false, false
	}
	x.noteTwice(key, e)
	main, pod := x.choose(key)
	if main == nil && pod == nil {
		delete(x.entries[key.Kind], key)
		if e.number == 0 {
			return false, false // came and went unseen
		}
		x.number++
		x.tombstones = append(x.tombstones, tombstone{x.number, key})
		if len(x.tombstones) > 2*keptTombstones {
			x.forgotten = x.tombstones[keptTombstones-1].number
			x.tombstones = slices.Clone(x.tombstones[keptTombstones:])
		}
		return true, true
	}
	revision := revisionFrom(main, pod)
	if revision == e.revision {
		return false, false
	}
	x.number++
	e.number, e.revision = x.number, revision
	return true, false
}

// noteTwice keeps the list of keys that are in two files.
func (x *index) noteTwice(key v3.Key, e *entry) {
	mains, pods := 0, 0
	for i := range e.places {
		if e.places[i].role == podOf {
			pods++
		} else {
			mains++
		}
	}
	if mains > 1 || pods > 1 {
		x.twice[key] = true
	} else {
		delete(x.twice, key)
	}
}

// twiceError says where an object is that is in two files, or twice in one.
func (x *index) twiceError(key v3.Key) error {
	e := x.entry(key)
	return fmt.Errorf("is in %s and in %s; valid: an object in one file, once", e.places[0].path, e.places[len(e.places)-1].path)
}

// faults are all the faults of a kind; a file of which not even the kinds are known is a fault of every kind.
func (x *index) faults(kind v3.Kind) []datastore.Fault {
	faults := []datastore.Fault{}
	for _, path := range slices.Sorted(maps.Keys(x.faulty)) {
		for _, f := range x.files[path].faults {
			if f.Key.Kind == kind || f.Key.Kind == "" {
				faults = append(faults, f)
			}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(x.twice), compareKeys) {
		if key.Kind == kind {
			faults = append(faults, datastore.Fault{Key: key, File: x.entry(key).places[0].path, Err: x.twiceError(key)})
		}
	}
	return faults
}

// faultKinds adds the kinds that faults are of; "" is all of them.
func faultKinds(kinds map[v3.Kind]bool, faults []datastore.Fault) map[v3.Kind]bool {
	for i := range faults {
		if kinds == nil {
			kinds = map[v3.Kind]bool{}
		}
		kinds[faults[i].Key.Kind] = true
	}
	return kinds
}

// merge makes one object of a record and its pod; either may be nil.
func merge(pod, record v3.Object, revision string) v3.Object {
	switch {
	case pod == nil:
		return record
	case record == nil:
		o := *pod.(*v3.WorkloadEndpoint)
		o.ResourceVersion = revision
		return &o
	}
	o := *kube.Merge(pod.(*v3.WorkloadEndpoint), record.(*v3.WorkloadEndpoint))
	o.ResourceVersion = revision
	return &o
}

func compareKeys(a, b v3.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
