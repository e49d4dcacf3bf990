package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// maxRaces bounds how often a write is tried again because people changed the file meanwhile.
const maxRaces = 20

// errRaced: the file was changed between being read and being replaced.
var errRaced = errors.New("file changed while it was about to be written")

// Create implements datastore.Store.
func (s *Store) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	return s.put(ctx, o, func() (*place, error) {
		if at, err := s.writable(key); err != nil || at != nil {
			if err == nil {
				err = fmt.Errorf("%s: %w (in %s)", key, datastore.ErrExists, at.path)
			}
			return nil, err
		}
		return nil, nil
	})
}

// Update implements datastore.Store. An object in a file with others keeps its place there. A WorkloadEndpoint that is known from its
// Pod alone gets a record.
func (s *Store) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	return s.put(ctx, o, func() (*place, error) {
		at, err := s.writable(key)
		if err != nil {
			return nil, err
		}
		return at, s.current(key, at, o.GetResourceVersion())
	})
}

// Delete implements datastore.Store. A file that holds nothing else is removed.
func (s *Store) Delete(ctx context.Context, key v3.Key, revision string) error {
	_, err := s.write(ctx, key, func() (change, error) {
		at, err := s.writable(key)
		if err == nil && at == nil {
			err = fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
		}
		if err == nil {
			err = s.current(key, at, revision)
		}
		if err != nil {
			return change{}, err
		}
		return s.splice(at, key, nil)
	})
	return err
}

// put writes an object where find says: in place of what is there, or, nil, in a file of its own.
func (s *Store) put(ctx context.Context, o v3.Object, find func() (*place, error)) (v3.Object, error) {
	key := v3.KeyOf(o)
	if err := datastore.Storable(key); err != nil {
		return nil, err
	}
	if lacks := v3.Lacks(o); lacks != "" { // an Allow would be written without what narrows it
		return nil, fmt.Errorf("%s: %w: %s, which would be lost: mend it first", key, datastore.ErrInvalid, lacks)
	}
	data, err := encode(o)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, key, func() (change, error) {
		at, err := find()
		if err != nil {
			return change{}, err
		}
		if at != nil {
			return s.splice(at, key, data)
		}
		path := pathOf(key)
		if s.index.files[path] != nil {
			return change{}, fmt.Errorf("%s: %s is in the way: it holds something else: %w", key, path, datastore.ErrInvalid)
		}
		return change{path: path, data: data}, nil
	})
}

// encode is o as it is stored: without a revision, which is a hash of the bytes.
func encode(o v3.Object) ([]byte, error) {
	if o.GetResourceVersion() != "" {
		o = o.Copy()
		o.SetResourceVersion("")
	}
	data, err := v3.Encode(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
	}
	return append(data, '\n'), nil
}

// writable finds the object of a key in the directory as it is now, nil if it is not there, or says why it can't be written. The
// caller holds mu and the lock of the directory.
func (s *Store) writable(key v3.Key) (*place, error) {
	path := pathOf(key)
	e := s.index.entry(key)
	if e == nil {
		s.sync(path, true) // somebody else may have just written it
		e = s.index.entry(key)
	}
	if e == nil {
		return nil, nil
	}
	for _, p := range append([]place(nil), e.places...) {
		s.sync(p.path, true)
	}
	if s.index.entry(key) == nil {
		return nil, nil
	}
	if s.index.twice[key] {
		return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, s.index.twiceError(key))
	}
	at := s.index.entry(key).first(func(p *place) bool { return p.role != podOf })
	switch {
	case at == nil:
		return nil, nil // a Pod alone: its record is another object
	case at.role == view:
		return nil, fmt.Errorf("%s: %w: it comes from a Kubernetes object in %s: change that", key, datastore.ErrUnsupported, at.path)
	case at.stale:
		return nil, fmt.Errorf("%s: %w: %s can't be read: mend it or remove it first", key, datastore.ErrInvalid, at.path)
	case at.inList:
		return nil, fmt.Errorf("%s: %w: it is an item of a List in %s: make it a document of its own", key, datastore.ErrUnsupported, at.path)
	}
	return at, nil
}

// current compares what is there with the revision that a write goes by, "" for any.
func (s *Store) current(key v3.Key, at *place, revision string) error {
	if at == nil {
		if e := s.index.entry(key); e != nil && (revision == "" || revision == e.revision) {
			return nil // a Pod alone
		} else if e != nil {
			return fmt.Errorf("%s: %w", key, datastore.ErrConflict)
		}
		return fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	if revision != "" && storedRevision(revision) != at.revision {
		return fmt.Errorf("%s: %w (%s)", key, datastore.ErrConflict, at.path)
	}
	return nil
}

// change is a file as it is to be.
type change struct {
	path   string
	data   []byte    // nil: remove it
	before signature // of the file that it replaces; zero: there must be none
}

// splice makes the change that puts an object (nil: nothing) in the place of one, leaving all other bytes of the file as they are.
func (s *Store) splice(at *place, key v3.Key, object []byte) (change, error) {
	data, signature, err := s.readFile(at.path)
	if err != nil {
		return change{}, fmt.Errorf("%s: %w: %w", key, errRaced, err)
	}
	c := parse(at.path, data, false)
	it := c.find(key, at)
	if it == nil {
		return change{}, fmt.Errorf("%s: %w", key, errRaced)
	}
	doc := c.docs[it.doc]
	alone := len(c.docs) == 1
	switch {
	case alone && object == nil:
		return change{path: at.path, before: signature}, nil
	case alone && doc.json:
		return change{at.path, object, signature}, nil
	case object != nil:
		if object, err = yaml.JSONToYAML(object); err != nil {
			return change{}, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, err)
		}
	}
	after := append([]byte{}, data[:doc.start]...)
	if n := len(after); object != nil && n > 0 && after[n-1] != '\n' {
		after = append(after, '\n') // "--- {…}" on one line
	}
	after = append(after, leadingComments(data[doc.start:doc.end])...)
	after = append(after, object...)
	after = append(after, data[doc.end:]...)
	return change{at.path, after, signature}, nil
}

// leadingComments are the comments before the first line of a document that holds something: they most often say what it is for.
func leadingComments(doc []byte) []byte {
	n := 0
	for line := range bytes.Lines(doc) {
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' && text[0] != '%' {
			break
		}
		n += len(line)
	}
	return doc[:n]
}

// write makes one change under the lock of the directory, and returns the object as it is stored then. plan is called with mu held, and
// again where people changed the file meanwhile.
func (s *Store) write(ctx context.Context, key v3.Key, plan func() (change, error)) (v3.Object, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.mu.Unlock()
	if err := lockFile(s.lock); err != nil {
		return nil, fmt.Errorf("local datastore: lock: %w: %w", datastore.ErrUnreachable, err)
	}
	defer func() { _ = unlockFile(s.lock) }() // fails only for a file that is not open
	var err error
	for range maxRaces {
		var c change
		if c, err = s.locking(plan); err == nil {
			var o v3.Object
			if o, err = s.commit(key, c); err == nil {
				return o, nil
			}
		}
		if !errors.Is(err, errRaced) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %w", datastore.ErrConflict, err)
}

func (s *Store) locking(plan func() (change, error)) (change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return plan()
}

// commit makes a change durable and visible.
func (s *Store) commit(key v3.Key, c change) (v3.Object, error) {
	full := filepath.Join(s.dir, filepath.FromSlash(c.path))
	temporary, err := "", error(nil)
	if c.data != nil {
		if temporary, err = s.writeTemporary(c, full); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	o, err := s.publish(key, c, temporary, full)
	if err != nil {
		if temporary != "" {
			err = errors.Join(err, ignoreMissing(os.Remove(temporary)))
		}
		return nil, err
	}
	if err := flushDir(filepath.Dir(full)); err != nil {
		return nil, fmt.Errorf("%s: written, but not known to be durable: %w", key, err)
	}
	return o, nil
}

// writeTemporary writes the new content beside the directory's own files, flushed.
func (s *Store) writeTemporary(c change, full string) (string, error) {
	folder := filepath.Dir(full)
	if _, err := os.Lstat(folder); errors.Is(err, os.ErrNotExist) {
		if err := makeFolder(s.dir, folder); err != nil {
			return "", err
		}
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(full); err == nil {
		mode = info.Mode().Perm()
	}
	// One name will do: whoever holds the lock is the only one who writes, and what is left over from a crash is overwritten.
	name := filepath.Join(s.dir, privateDir, "new")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return "", err
	}
	err = f.Chmod(mode) // one that a crash left has the mode of another file
	if err == nil {
		_, err = f.Write(c.data)
	}
	if err == nil {
		err = f.Sync()
	}
	return name, errors.Join(err, f.Close())
}

// makeFolder makes a folder and those above it, durably.
func makeFolder(root, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for at := folder; at != root && len(at) > len(root); at = filepath.Dir(at) {
		if err := flushDir(filepath.Dir(at)); err != nil {
			return err
		}
	}
	return nil
}

// publish puts the temporary file in place, or removes the file, unless somebody changed it meanwhile, and takes it into the index.
func (s *Store) publish(key v3.Key, c change, temporary, full string) (v3.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now signature
	info, err := os.Stat(full)
	if err == nil {
		now = signatureOf(info)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if now != c.before {
		return nil, fmt.Errorf("%s: %s: %w", key, c.path, errRaced)
	}
	if c.data == nil {
		if err := os.Remove(full); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		s.apply(c.path, nil, nil)
		return nil, nil
	}
	if err := os.Rename(temporary, full); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	s.watchDir(filepath.ToSlash(filepath.Dir(filepath.FromSlash(c.path))))
	l := s.loader()
	l.file(c.path)
	o, _ := s.compose(key, l) // nil after a Delete in a file with others
	return o, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
