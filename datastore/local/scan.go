package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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
	time.Sleep(arrivals)
	s.scannedFor = s.calls.Load()
	s.startNotify()
	var paths []string
	err := s.walk("", s.watchAny, func(rel string, d fs.DirEntry) { paths = append(paths, rel) })
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
			f := &file{signature: r.signature, young: r.young, sum: r.sum, foreign: r.contents.foreign, faults: faultsOf(rel, r.contents)}
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
	young     bool
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
				began := time.Now()
				if data, r.signature, r.err = s.readFile(paths[i]); r.err == nil {
					r.sum, r.contents = revisionOf(data), parse(paths[i], data, false)
					r.young = r.signature.young(began)
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
