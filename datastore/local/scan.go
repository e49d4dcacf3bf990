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
	"syscall"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// keepFresh is how long what the scan decoded is kept for those who have not listed it.
const keepFresh = 10 * time.Second

// maxFile bounds what is read of one file.
const maxFile = 64 << 20

// readFile reads a file, with the signature that it had before it was read.
func (s *Store) readFile(rel string) ([]byte, signature, error) {
	// O_NONBLOCK: a FIFO must not hold us up.
	f, err := os.OpenFile(filepath.Join(s.dir, filepath.FromSlash(rel)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
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
	err := s.walk("", s.watchDir, func(rel string, d fs.DirEntry) { paths = append(paths, rel) })
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
			if items := r.contents.items; len(items) == 1 && items[0].revision == r.sum {
				r.sum = items[0].revision // one string for both
			}
			f := &file{signature: r.signature, sum: r.sum, foreign: r.contents.foreign, faults: faultsOf(rel, r.contents)}
			s.apply(rel, f, r.contents)
			s.fresh[rel] = r.contents.objects()
		}
		*r = readResult{}
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

// objects are the contents without what only the file's own sake needs.
func (c *contents) objects() *contents { return &contents{items: c.items, partial: c.partial} }

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

// walk calls visit for each file that may hold resources, below rel, and watch for each directory before it is listed.
func (s *Store) walk(rel string, watch func(rel string), visit func(rel string, d fs.DirEntry)) error {
	watch(rel)
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, d := range entries {
		below := path.Join(rel, d.Name())
		switch {
		case isHidden(d.Name()):
		case d.IsDir():
			if err := s.walk(below, watch, visit); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		case isManifest(d.Name()):
			visit(below, d)
		}
	}
	return nil
}

// seen is a file as a walk found it; the signature is zero where it can't be told.
type seen struct {
	rel       string
	signature signature
}

// look walks a directory that holds about so many files.
func (s *Store) look(dir string, about int, watch func(rel string)) ([]seen, error) {
	files := make([]seen, 0, about)
	err := s.walk(dir, watch, func(rel string, d fs.DirEntry) {
		f := seen{rel: rel}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				f.signature = signatureOf(info)
			}
		}
		files = append(files, f)
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return files, err
}

// compareAll brings the index in line with the directory, reading the files that have another signature. To look at them all takes a
// while, in which nobody should have to wait: it is done without mu. What changes meanwhile is noticed like any change.
func (s *Store) compareAll() {
	about := 0
	s.locked(func() { about = len(s.index.files) })
	files, err := s.look("", about, func(rel string) { s.locked(func() { s.watchDir(rel) }) })
	s.locked(func() {
		s.compare("", files, err, func() []string { return slices.Sorted(maps.Keys(s.index.files)) })
	})
}

// compareKind does so with the folder of a kind alone. The caller holds mu.
func (s *Store) compareKind(kind v3.Kind) {
	files, err := s.look(string(kind), len(s.index.entries[kind]), s.watchDir)
	s.compare(string(kind), files, err, func() []string { return s.filesOf(kind) })
}

// filesOf are the files in the folder of a kind that are known.
func (s *Store) filesOf(kind v3.Kind) []string {
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
	return known
}

// compare takes in what a look at a directory ("": all) showed, where these files are known. The caller holds mu.
func (s *Store) compare(dir string, files []seen, err error, known func() []string) {
	if err != nil {
		s.o.Log.Error("local datastore: can't list a directory; what is known of it stays", "directory", path.Join(s.dir, dir), "error", err)
	}
	matched := 0
	for _, now := range files {
		if f := s.index.files[now.rel]; f == nil || now.signature == (signature{}) || now.signature != f.signature {
			s.sync(now.rel, true)
		}
		if s.index.files[now.rel] != nil {
			matched++
		}
	}
	if err != nil || matched == len(s.index.files) {
		return // most often: nothing is missing
	}
	there := make(map[string]bool, len(files))
	for _, now := range files {
		there[now.rel] = true
	}
	for _, rel := range known() {
		if !there[rel] {
			s.sync(rel, true)
		}
	}
}
