package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how often the directory is compared where notices can't be had.
const pollInterval = 2 * time.Second

// Of a stream of notices many are handled together, since each that wakes somebody wakes all who pass on what it brings: bursts begin
// burstEvery apart, and end where nothing more has come for burstEnd, or at burstMost notices. A notice that comes alone is handled at once.
const (
	burstEvery = 12 * time.Millisecond
	burstEnd   = 200 * time.Microsecond
	burstMost  = 256
)

// startNotify begins to watch, before anything is read. Without notices the directory is compared often. The caller holds mu.
func (s *Store) startNotify() {
	if s.notify != nil {
		return
	}
	interval := s.o.CompareInterval
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.o.Log.Warn("local datastore: no notices of changes; comparing instead", "error", err, "every", pollInterval)
		interval = pollInterval
		w = &fsnotify.Watcher{}
	}
	s.notify = w
	s.pending, s.lost = make(chan string, 64), make(chan struct{}, 1)
	s.ended.Go(func() { s.notices(w) })
	s.ended.Go(func() { s.comparisons(interval) })
}

// watchDir asks for notices of a directory. The caller holds mu.
func (s *Store) watchDir(rel string) {
	if s.dirs[rel] || s.notify.Events == nil {
		return
	}
	if err := s.notify.Add(filepath.Join(s.dir, filepath.FromSlash(rel))); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.o.Log.Warn("local datastore: no notices of a directory; it is compared now and then", "directory", rel, "error", err)
		}
		return
	}
	s.dirs[rel] = true
}

// later has a file looked at once it has been quiet for a while. The caller holds mu.
func (s *Store) later(rel string) {
	select {
	case s.pending <- rel:
	default:
		s.ended.Go(func() {
			select {
			case s.pending <- rel:
			case <-s.done:
			}
		})
	}
}

// comparisons compares the directory regularly, and when notices were lost. No notice waits for it.
func (s *Store) comparisons(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.lost:
		case <-tick.C:
		}
		s.compareAll()
	}
}

// notices handles what the system reports, and files that have become quiet.
func (s *Store) notices(w *fsnotify.Watcher) {
	settle := time.NewTimer(time.Hour)
	defer settle.Stop()
	quietSince := map[string]time.Time{}
	var began time.Time // the last burst
	for {
		select {
		case <-s.done:
			return
		case e := <-w.Events:
			if s.ignored(e) { // which a burst must not begin with: what it announces comes at once behind it
				continue
			}
			gap := time.Since(began)
			time.Sleep(burstEvery - gap)
			began = time.Now()
			if gap > 2*burstEvery {
				s.handle(e, quietSince)
			} else {
				s.burst(w, e, quietSince)
			}
		case err := <-w.Errors:
			s.noticeLost(err)
		case rel := <-s.pending:
			quietSince[rel] = time.Now()
		case <-settle.C:
			s.settled(quietSince)
		}
		if len(quietSince) > 0 {
			settle.Reset(settleTime)
		}
	}
}

// burst handles a notice and what comes close behind it, and then wakes the receivers. It takes them all before it handles any: else whoever
// reads them from the system would be woken after each.
func (s *Store) burst(w *fsnotify.Watcher, first fsnotify.Event, quietSince map[string]time.Time) {
	s.setBursting(true)
	defer s.setBursting(false)
	for _, e := range s.takeBurst(w, first) {
		s.handle(e, quietSince)
	}
}

func (s *Store) handle(e fsnotify.Event, quietSince map[string]time.Time) {
	if rel, ok := s.notice(e); ok {
		quietSince[rel] = time.Now()
	}
}

// takeBurst takes the notices of a burst, the same one once.
func (s *Store) takeBurst(w *fsnotify.Watcher, first fsnotify.Event) []fsnotify.Event {
	events := append(s.events[:0], first)
	quiet := time.NewTimer(burstEnd)
	defer quiet.Stop()
	for len(events) < burstMost {
		select {
		case e := <-w.Events:
			if e != events[len(events)-1] {
				events = append(events, e)
			}
			quiet.Reset(burstEnd)
			continue
		case <-quiet.C:
		case <-s.done:
		}
		break
	}
	s.events = events
	return events
}

func (s *Store) setBursting(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bursting = on
	for w := range s.watches {
		w.ring()
	}
}

// locked runs f with mu held, unless the Store has been closed.
func (s *Store) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.scanned {
		f()
	}
}

// settled takes the files that have been quiet long enough.
func (s *Store) settled(quietSince map[string]time.Time) {
	for rel, since := range quietSince {
		if time.Since(since) >= settleTime*9/10 {
			delete(quietSince, rel)
			s.locked(func() { s.sync(rel, true) })
		}
	}
}

// noticeLost handles an error of the watcher: after an overflow nobody knows what has changed.
func (s *Store) noticeLost(err error) {
	if err == nil {
		return
	}
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		s.o.Log.Warn("local datastore: notices of changes fail; comparing", "error", err)
	}
	select {
	case s.lost <- struct{}{}:
	default: // a comparison is to begin already
	}
}

// notice handles one report. A JSON file is read at once: part of one is no JSON. Part of a YAML file may be YAML, so that one is
// taken when it has been quiet for a while: wait is true, and rel is its path.
func (s *Store) notice(e fsnotify.Event) (rel string, wait bool) {
	if s.ignored(e) {
		return "", false
	}
	rel = s.relative(e)
	if !isManifest(rel) || s.isDir(rel) {
		s.locked(func() { s.noticeDir(rel, e) })
		return "", false
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) || strings.HasSuffix(rel, ".json") {
		s.locked(func() { s.sync(rel, false) })
		return "", false
	}
	return rel, true
}

// ignored tells whether a report is of nothing that is or was a resource: of temporary files, for one.
func (s *Store) ignored(e fsnotify.Event) bool {
	rel := s.relative(e)
	return rel == "." || e.Op == fsnotify.Chmod || isHidden(rel) || strings.Contains(rel, "/.")
}

// relative is the path of a report in the Store's folder; "." of one outside of it.
func (s *Store) relative(e fsnotify.Event) string {
	rel, err := filepath.Rel(s.dir, e.Name)
	if err != nil {
		return "."
	}
	return filepath.ToSlash(rel)
}

func (s *Store) isDir(rel string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirs[rel]
}

// noticeDir handles a report of something that is, or was, a directory.
func (s *Store) noticeDir(rel string, e fsnotify.Event) {
	full := filepath.Join(s.dir, filepath.FromSlash(rel))
	if e.Has(fsnotify.Create) {
		if info, err := os.Lstat(full); err == nil && info.IsDir() {
			s.noticeNewDir(rel)
		}
		return
	}
	if !s.dirs[rel] || !e.Has(fsnotify.Remove) && !e.Has(fsnotify.Rename) {
		return
	}
	for dir := range s.dirs {
		if dir == rel || strings.HasPrefix(dir, rel+"/") {
			_ = s.notify.Remove(filepath.Join(s.dir, filepath.FromSlash(dir))) // gone already, most often
			delete(s.dirs, dir)
		}
	}
	for _, f := range s.filesBelow(rel) {
		s.sync(f, true)
	}
}

// noticeNewDir takes the files of a directory that is new. Some may be known already, from a call that looked for them, and gone again
// since: of that there was no notice.
func (s *Store) noticeNewDir(rel string) {
	there := map[string]bool{}
	err := s.walk(rel, s.watchAny, func(rel string, d fs.DirEntry) {
		there[rel] = true
		s.takeNew(rel)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.o.Log.Error("local datastore: can't list a directory", "directory", rel, "error", err)
	}
	for _, f := range s.filesBelow(rel) {
		if !there[f] {
			s.sync(f, true)
		}
	}
}

// filesBelow are the files below a directory that are known, in order.
func (s *Store) filesBelow(dir string) []string {
	var below []string
	for f := range s.index.files {
		if strings.HasPrefix(f, dir+"/") {
			below = append(below, f)
		}
	}
	slices.Sort(below)
	return below
}

// takeNew handles a file found in a new directory, as notice does.
func (s *Store) takeNew(rel string) {
	if strings.HasSuffix(rel, ".json") {
		s.sync(rel, false)
		return
	}
	s.later(rel)
}
