package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// keepFresh is how long what the scan decoded is kept for those who have not listed it.
const keepFresh = 10 * time.Second

// maxFile bounds what is read of one file.
const maxFile = 64 << 20

// readFile reads a file, with the signature that it had before it was read.
func (s *Store) readFile(rel string) ([]byte, signature, error) {
	f, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(rel)))
	if err != nil {
		return nil, signature{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, signature{}, err
	}
	sig := signatureOf(info)
	if !info.Mode().IsRegular() {
		return nil, sig, fmt.Errorf("is not a regular file")
	}
	if info.Size() > maxFile {
		return nil, sig, fmt.Errorf("has %d bytes; valid: at most %d", info.Size(), maxFile)
	}
	data := make([]byte, info.Size(), info.Size()+1)
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // it became shorter meanwhile: another notice follows
	}
	return data[:n], sig, err
}

// scan decodes the whole directory, watching it from before. The caller holds mu.
func (s *Store) scan() error {
	s.startNotify()
	var paths []string
	err := s.walk("", func(rel string, d fs.DirEntry) { paths = append(paths, rel) })
	if err != nil {
		return fmt.Errorf("local datastore: %w", err)
	}
	read := s.readAll(paths)
	s.fresh = make(map[string]*contents, len(paths))
	for i, rel := range paths {
		r := &read[i]
		switch {
		case errors.Is(r.err, os.ErrNotExist):
		case r.err != nil:
			s.applyUnreadable(rel, r.signature, r.err)
		default:
			f := &file{signature: r.signature, sum: r.sum, foreign: r.contents.foreign, faults: faultsOf(rel, r.contents)}
			s.apply(rel, f, r.contents)
			s.fresh[rel] = r.contents
		}
	}
	s.scanned = true
	s.ended.Go(func() {
		select {
		case <-time.After(keepFresh):
		case <-s.done:
		}
		s.mu.Lock()
		s.fresh = nil
		s.mu.Unlock()
	})
	return nil
}

// readResult is a file that was read and decoded.
type readResult struct {
	signature signature
	sum       string
	contents  *contents
	err       error
}

// readAll reads and decodes files on all processors.
func (s *Store) readAll(paths []string) []readResult {
	results := make([]readResult, len(paths))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(paths); i = int(next.Add(1)) - 1 {
				r := &results[i]
				var data []byte
				if data, r.signature, r.err = s.readFile(paths[i]); r.err == nil {
					r.sum, r.contents = revisionOf(data), parse(paths[i], data, false)
				}
			}
		})
	}
	workers.Wait()
	return results
}

// forget drops what the scan decoded of a kind, which has been listed now.
func (s *Store) forget(kind v3.Kind) {
	for rel, c := range s.fresh {
		left := 0
		for i := range c.items {
			if it := &c.items[i]; it.key.Kind == kind {
				it.object = nil
			} else if it.object != nil {
				left++
			}
		}
		if left == 0 {
			delete(s.fresh, rel)
		}
	}
}

// walk calls visit for each file that may hold resources, below rel, and watches each directory.
func (s *Store) walk(rel string, visit func(rel string, d fs.DirEntry)) error {
	s.watchDir(rel)
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, d := range entries {
		below := path.Join(rel, d.Name())
		switch {
		case isHidden(d.Name()):
		case d.IsDir():
			if err := s.walk(below, visit); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		case isManifest(d.Name()):
			visit(below, d)
		}
	}
	return nil
}

// compareAll brings the index in line with the directory, reading the files that have another signature.
func (s *Store) compareAll() {
	s.compare("", slices.Sorted(maps.Keys(s.index.files)))
}

// compareKind does so with the folder of a kind alone.
func (s *Store) compareKind(kind v3.Kind) {
	prefix := string(kind) + "/"
	var known []string
	for _, e := range s.index.entries[kind] {
		for i := range e.places {
			if strings.HasPrefix(e.places[i].path, prefix) {
				known = append(known, e.places[i].path)
			}
		}
	}
	for rel := range s.index.faulty {
		if strings.HasPrefix(rel, prefix) {
			known = append(known, rel)
		}
	}
	s.compare(string(kind), known)
}

// compare walks a directory ("": all) of which these files are known.
func (s *Store) compare(dir string, known []string) {
	there := map[string]bool{}
	err := s.walk(dir, func(rel string, d fs.DirEntry) {
		there[rel] = true
		if f := s.index.files[rel]; f != nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil && signatureOf(info) == f.signature {
				return
			}
		}
		s.sync(rel, true)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.o.Log.Error("local datastore: can't list a directory; what is known of it stays", "directory", path.Join(s.dir, dir), "error", err)
		return
	}
	for _, rel := range known {
		if !there[rel] {
			s.sync(rel, true)
		}
	}
}
