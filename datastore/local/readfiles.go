package local

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy/kube"
)

// Found is an object of a file.
type Found struct {
	Object v3.Object
	File   string
	Line   int // of its document
	// Origin is the Kubernetes object that this is a view of ("Namespace web-ns"); "" for an object of projectcalico.org/v3.
	Origin string
	// Revision is the resourceVersion that the file gives; the object's own is empty.
	Revision string

	source []byte // of its document
	field  string // of the document: "items[2]"; "" for the whole of it
}

// Locate writes file and line into errors about the object, from their fields: the nearest line that can be found.
func (f *Found) Locate(errs []v3.FieldError) {
	for i := range errs {
		field := errs[i].Field
		if f.field != "" {
			field = f.field + "." + field
		}
		errs[i].File, errs[i].Line = f.File, f.Line+locate(f.source, field)-1
	}
}

// Objects is what ReadFiles found.
type Objects struct {
	// Found, in order of files and documents. The view of a Pod and the record of its sandbox are one WorkloadEndpoint.
	Found []Found
	// Refused are objects with errors, as far as they could be read: to say what else is wrong with them, and for nothing else.
	Refused []Found
	// Foreign counts the objects that felid has no use for, by "apiVersion kind".
	Foreign map[string]int
	// NotEnforced are objects of kinds that are stored but have no effect yet; they are in Found too.
	NotEnforced []v3.Key
	// Raw are the documents of Kubernetes objects as JSON, with the place they came from, for storing them.
	Raw []Raw
}

// Raw is a Kubernetes object as it was given.
type Raw = datastore.Raw

// All are the objects alone, in order.
func (o *Objects) All() []v3.Object {
	all := make([]v3.Object, len(o.Found))
	for i := range o.Found {
		all[i] = o.Found[i].Object
	}
	return all
}

// ReadFiles reads resources from files, from directories (recursively: .yaml, .yml and .json) and from standard input ("-"), as
// people write them: strictly decoded, so that an unknown field is an error, but neither defaulted nor validated. The errors
// name file, line and object; an object with an error is not among the objects. An object that is there twice is an error; a
// file that is named twice is not.
// The error is of the call itself: a path that can't be read.
func ReadFiles(paths ...string) (*Objects, []v3.FieldError, error) {
	return ReadFilesFrom(os.Stdin, paths...)
}

// ReadFilesFrom is ReadFiles with another standard input.
func ReadFilesFrom(stdin io.Reader, paths ...string) (*Objects, []v3.FieldError, error) {
	return ReadFilesInto(defaultNamespace, stdin, paths...)
}

// ReadFilesInto is ReadFilesFrom with a namespace for objects that belong into one and name none.
func ReadFilesInto(namespace string, stdin io.Reader, paths ...string) (*Objects, []v3.FieldError, error) {
	r := newReader()
	r.namespace, r.stdin = namespace, stdin
	var errs []error
	for _, path := range paths {
		if err := r.path(path); err != nil {
			errs = append(errs, err)
		}
	}
	r.mergePods()
	return r.out, r.errs, errors.Join(errs...)
}

// Parse reads resources from text, as ReadFiles does from a file of that name.
func Parse(name string, text []byte) (*Objects, []v3.FieldError) {
	r := newReader()
	r.data(name, text)
	r.mergePods()
	return r.out, r.errs
}

// reader gathers what files hold.
type reader struct {
	namespace string
	stdin     io.Reader
	read      map[string]bool // files, by clean path: one that is named twice is read once
	out       *Objects
	errs      []v3.FieldError
	seen      map[v3.Key]int // index into out.Found
	pods      map[v3.Key]*v3.WorkloadEndpoint
}

func newReader() *reader {
	return &reader{
		namespace: defaultNamespace, read: map[string]bool{}, out: &Objects{Foreign: map[string]int{}}, seen: map[v3.Key]int{}, pods: map[v3.Key]*v3.WorkloadEndpoint{},
	}
}

func (r *reader) path(path string) error {
	if path == "-" {
		data, err := io.ReadAll(r.stdin)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		r.data("-", data)
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return r.file(path)
	}
	return filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && isHidden(d.Name()) && len(d.Name()) > 2:
			return filepath.SkipDir
		case d.IsDir() || !isManifest(d.Name()):
			return nil
		}
		return r.file(path)
	})
}

func (r *reader) file(path string) error {
	clean := filepath.Clean(path)
	if r.read[clean] {
		return nil
	}
	r.read[clean] = true
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.data(path, data)
	return nil
}

func (r *reader) data(path string, data []byte) {
	c := parseInto(r.namespace, path, data, true)
	r.errs = append(r.errs, c.errs...)
	for name, n := range c.foreign {
		r.out.Foreign[name] += n
	}
	for i := range c.items {
		it := &c.items[i]
		doc := c.docs[it.doc]
		found := Found{
			Object: it.object, File: path, Line: doc.line, Origin: it.origin, Revision: it.given,
			source: data[doc.start:doc.end], field: it.field,
		}
		found.Object.SetResourceVersion("")
		r.add(it, found)
	}
	for i := range c.refused {
		it := &c.refused[i]
		doc := c.docs[it.doc]
		r.out.Refused = append(r.out.Refused, Found{
			Object: it.object, File: path, Line: doc.line, source: data[doc.start:doc.end], field: it.field,
		})
	}
	for _, raw := range c.raw {
		r.out.Raw = append(r.out.Raw, Raw{Origin: raw.origin, JSON: raw.text, File: path, Line: c.docs[raw.doc].line})
	}
}

// add takes one object, unless there is one of its key already.
func (r *reader) add(it *item, found Found) {
	if it.role == podOf {
		if r.pods[it.key] == nil {
			r.pods[it.key] = it.object.(*v3.WorkloadEndpoint)
			if _, ok := r.seen[it.key]; !ok {
				r.append(it.key, found)
			}
			return
		}
	} else if at, ok := r.seen[it.key]; ok && r.pods[it.key] != nil && r.out.Found[at].Origin != "" {
		r.out.Found[at] = found // the record, to be merged
		return
	} else if !ok {
		r.append(it.key, found)
		return
	}
	first := r.out.Found[r.seen[it.key]]
	r.errs = append(r.errs, v3.FieldError{
		File: found.File, Line: found.Line, Object: cmp.Or(found.Origin, it.key.String()),
		Problem: fmt.Sprintf("is also in %s:%d", first.File, first.Line), Valid: "an object once",
	})
}

func (r *reader) append(key v3.Key, found Found) {
	r.seen[key] = len(r.out.Found)
	r.out.Found = append(r.out.Found, found)
	if info, ok := v3.InfoOf(key.Kind); ok && !info.Enforced {
		r.out.NotEnforced = append(r.out.NotEnforced, key)
	}
}

// mergePods joins the records of sandboxes with their pods.
func (r *reader) mergePods() {
	if len(r.pods) == 0 {
		return
	}
	for i := range r.out.Found {
		record, ok := r.out.Found[i].Object.(*v3.WorkloadEndpoint)
		if !ok || r.out.Found[i].Origin != "" || record.Spec.Pod == "" {
			continue
		}
		pod := r.pods[v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: record.Namespace, Name: record.Spec.Pod}]
		r.out.Found[i].Object = kube.Merge(pod, record)
	}
}

// isManifest says whether a file may hold resources. Hidden files, and what editors leave, do not.
func isManifest(name string) bool {
	return !isHidden(name) && slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(name))
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }
