package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// youngest is the age from which on a change gives a file another signature for sure: file systems count time in ticks of up to 10 ms.
const youngest = 20 * time.Millisecond

// young tells of a file that was looked at then whether its signature may hide a change of afterwards.
func (s signature) young(then time.Time) bool {
	return then.UnixNano()-max(s.changed, s.modified) < int64(youngest)
}

// walk calls visit for each file that may hold resources, below rel, and enter for each directory before it is listed: false passes it by.
func (s *Store) walk(rel string, enter func(rel string) bool, visit func(rel string, d fs.DirEntry)) error {
	if !enter(rel) {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, d := range entries {
		below := path.Join(rel, d.Name())
		switch {
		case isHidden(d.Name()):
		case d.IsDir():
			if err := s.walk(below, enter, visit); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		case isManifest(d.Name()):
			visit(below, d)
		}
	}
	return nil
}

// watchAny enters a directory, watching it. The caller holds mu.
func (s *Store) watchAny(rel string) bool {
	s.watchDir(rel)
	return true
}

// seen is a file as a walk found it; the signature is zero where it can't be told.
type seen struct {
	rel       string
	signature signature
}

// look walks the directory, which holds about so many files.
func (s *Store) look(about int, enter func(rel string) bool) ([]seen, error) {
	files := make([]seen, 0, about)
	err := s.walk("", enter, func(rel string, d fs.DirEntry) {
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
	files, err := s.look(about, func(rel string) bool { s.locked(func() { s.watchDir(rel) }); return true })
	s.locked(func() {
		for _, rel := range s.compare(files, err, maps.Keys(s.index.files)) {
			s.later(rel)
		}
	})
}

// compareKind does so where objects of a kind are: in its own folders, and in those that are not felid's. An object in the folder of another
// kind, where only people can have put it, is found by the notice of it. What it returns are files that may still be being written, which
// are left as they are known; with final they are taken as they are. The caller holds mu.
func (s *Store) compareKind(kind v3.Kind, final bool) (unsettled []string) {
	files, err := s.look(len(s.index.entries[kind]), func(rel string) bool {
		folder, _, _ := strings.Cut(rel, "/")
		if of, ours := folders[folder]; ours && of != kind {
			return false
		}
		return s.watchAny(rel)
	})
	unsettled = s.compare(files, err, s.filesOf(kind))
	if final {
		for _, rel := range unsettled {
			s.sync(rel, true)
		}
		return nil
	}
	return unsettled
}

// settleRounds bounds how long a call waits for files that are written to again and again.
const settleRounds = 5

// arrivals is how long the first scan waits for the calls that are about to be made, each of which would have to look again otherwise.
const arrivals = time.Millisecond

// enterCompared takes mu with a kind compared, once nothing of it is being written; files whose comparison is at least the one returned are
// as they were when the call began, or newer.
func (s *Store) enterCompared(ctx context.Context, kind v3.Kind) (since uint64, err error) {
	call := s.calls.Add(1)
	for round := 1; ; round++ {
		if err := s.enter(ctx); err != nil {
			return 0, err
		}
		if call <= s.scannedFor { // the scan began after this call
			return 0, nil
		}
		if unsettled := s.compareKind(kind, round == settleRounds); len(unsettled) == 0 {
			return s.index.compared, nil
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-s.done:
		case <-time.After(settleTime):
		}
	}
}

// folders are those that felid itself writes into, with the kind that it finds there.
var folders = ownFolders()

func ownFolders() map[string]v3.Kind {
	own := map[string]v3.Kind{}
	for _, info := range v3.Kinds() {
		own[string(info.Kind)] = info.Kind
	}
	for origin, kind := range map[string]v3.Kind{
		"Pod": v3.KindWorkloadEndpoint, "Namespace": v3.KindProfile, "ServiceAccount": v3.KindProfile, "Node": v3.KindNode,
		"Service": v3.KindServiceEndpoints, "EndpointSlice": v3.KindServiceEndpoints,
		"NetworkPolicy": v3.KindKubernetesNetworkPolicy, "ClusterNetworkPolicy": v3.KindClusterNetworkPolicy,
	} {
		own[rawFolder(origin)] = kind
	}
	return own
}

// filesOf are the files that are known to hold objects of a kind, or faults.
func (s *Store) filesOf(kind v3.Kind) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, e := range s.index.entries[kind] {
			for i := range e.places {
				if !yield(e.places[i].path) {
					return
				}
			}
		}
		maps.Keys(s.index.faulty)(yield)
	}
}

// compare takes in what a look at the directory showed, and looks for what of the known files it did not show. What it returns are files
// that may still be being written, and that it has left. The caller holds mu.
func (s *Store) compare(files []seen, err error, known iter.Seq[string]) (unsettled []string) {
	if err != nil {
		s.o.Log.Error("local datastore: can't list a directory; what is known of it stays", "directory", s.dir, "error", err)
	}
	s.index.compared++
	began := time.Now()
	for _, now := range files {
		f := s.index.files[now.rel]
		switch {
		case f != nil && !f.young && now.signature == f.signature && now.signature != (signature{}):
		case (f == nil || now.signature != f.signature) && now.unsettled(began):
			unsettled = append(unsettled, now.rel)
		default:
			s.sync(now.rel, true)
			f = s.index.files[now.rel]
		}
		if f != nil {
			f.compared = s.index.compared
		}
	}
	if err != nil {
		return unsettled
	}
	var missing []string // in order, and outside of the loop over what it changes
	for rel := range known {
		if s.index.files[rel].compared != s.index.compared {
			missing = append(missing, rel)
		}
	}
	slices.Sort(missing)
	for _, rel := range slices.Compact(missing) {
		s.sync(rel, true)
	}
	return unsettled
}

// unsettled tells whether a file may still be being written: part of a JSON file is no JSON, but part of a YAML file may be YAML.
func (f *seen) unsettled(now time.Time) bool {
	return !strings.HasSuffix(f.rel, ".json") && now.UnixNano()-f.signature.modified < int64(settleTime)
}
