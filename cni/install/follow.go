package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// pollEvery is how often the folder is looked at without a notice of a change.
	pollEvery = 30 * time.Second
	// goneFor is how long another plugin's file may be missing before the copy of it goes: some are replaced by removing them first.
	goneFor = 30 * time.Second
	// again is how soon a fault is looked at again, before it is reported.
	again = time.Second
	// calm is how long a list of felid's must have stood for the next rewrite to be without delay.
	calm = time.Minute
	// slowest is how long a rewrite waits at most.
	slowest = 5 * time.Minute
)

const onWindows = runtime.GOOS == "windows"

// Options say what is installed, and where.
type Options struct {
	BinDir  string // the host's folder of plugins; "": programs are somebody else's matter
	ConfDir string // the host's folder of configuration; "": lists are somebody else's matter
	From    string // where the programs are copied from
	Socket  string // of the agent, as the host sees it
	Guest   bool   // another plugin is the network: felid's is the gate
	Log     *slog.Logger

	poll, gone time.Duration // for tests; 0: pollEvery, goneFor
}

// Run installs the plugin and keeps it installed until ctx ends; the files then stay. To be called when the agent answers on the
// socket: from then on the runtime starts pods with felid.
func Run(ctx context.Context, o Options) {
	f := newFollower(o)
	w := f.watch()
	defer w.Close()
	for {
		timer := time.NewTimer(f.turn(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.Events:
		case <-w.Errors: // notices were lost, perhaps: looking is the answer to that too
		}
		timer.Stop()
	}
}

// Remove takes the list and the programs of felid away again, the list first. Where felid was the network, pods can't be started or
// stopped from then on until another plugin's list is there. loopback and portmap stay: others may use them.
func Remove(binDir, confDir string) error {
	if err := remove(binFolder{dir: binDir, windows: onWindows}, confDir); err != nil {
		return fmt.Errorf("uninstalling the CNI plugin: %w", err)
	}
	return nil
}

func remove(bin binFolder, confDir string) error {
	if confDir != "" {
		if err := os.Remove(filepath.Join(confDir, ListName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := dropTemps(confDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if bin.dir == "" {
		return nil
	}
	if err := bin.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// follower keeps the folders as they should be. It is one goroutine's.
type follower struct {
	o         Options
	bin       binFolder
	portmap   bool
	installed bool      // the programs
	missing   time.Time // since when there is nothing to copy; zero: there is
	pace      pacer
	lastErr   string // of the last turn
	reported  bool   // it has been
	before    string // the file that comes before felid's, once that has been reported
}

func newFollower(o Options) *follower {
	if o.poll == 0 {
		o.poll = pollEvery
	}
	if o.gone == 0 {
		o.gone = goneFor
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &follower{o: o, bin: binFolder{dir: o.BinDir, from: o.From, windows: onWindows}}
}

// watch tells when something in the folder of configuration moves; never, where the system can't.
func (f *follower) watch() *fsnotify.Watcher {
	if f.o.ConfDir == "" {
		return &fsnotify.Watcher{}
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(f.o.ConfDir); err == nil {
			return w
		}
		_ = w.Close()
	}
	f.o.Log.Warn("no notices of changes of CNI configuration; looking now and then", "folder", f.o.ConfDir, "every", f.o.poll, "error", err)
	return &fsnotify.Watcher{}
}

// turn brings both folders in line, and returns how long to wait for the next. A file that is being written can't be read for a moment: a
// fault is only reported when it is still there a little later.
func (f *follower) turn(now time.Time) time.Duration {
	wait, err := f.step(now)
	switch {
	case err == nil:
		f.lastErr, f.reported = "", false
	case err.Error() != f.lastErr:
		f.lastErr, f.reported = err.Error(), false
		wait = min(wait, again)
	case !f.reported:
		f.reported = true
		f.o.Log.Error("the CNI plugin is not installed as it should be; trying again", "error", err)
	}
	return wait
}

func (f *follower) step(now time.Time) (wait time.Duration, err error) {
	if err := f.putPrograms(); err != nil || f.o.ConfDir == "" {
		return f.o.poll, err
	}
	files, err := readFolder(f.o.ConfDir)
	if err != nil {
		return f.o.poll, err
	}
	return f.putList(now, files)
}

// putPrograms installs the programs, at the first turn and when they have gone.
func (f *follower) putPrograms() (err error) {
	if f.o.BinDir == "" {
		f.portmap = true // whoever installs the programs sees to it
	} else if _, gone := os.Stat(f.bin.path(pluginName)); gone != nil || !f.installed {
		if f.portmap, err = f.bin.install(f.o.Guest); err != nil {
			return err
		}
	}
	if !f.installed && f.o.ConfDir != "" {
		if err := dropTemps(f.o.ConfDir); err != nil {
			return fmt.Errorf("the folder of CNI configuration: %w", err)
		}
	}
	f.installed = true
	return nil
}

// putList writes or removes felid's list, as the files of the folder ask for.
func (f *follower) putList(now time.Time, files []File) (wait time.Duration, err error) {
	base := baseOf(files)
	f.warnOfFirst(base)
	want, err := f.wanted(base)
	if err != nil {
		return f.o.poll, err
	}
	path := filepath.Join(f.o.ConfDir, ListName)
	own := find(files, ListName)
	if want == nil {
		return f.removeList(now, path, own != nil)
	}
	f.missing = time.Time{}
	if own != nil && upToDate(own.Data, want) {
		return f.o.poll, nil
	}
	if wait := f.pace.wait(now); wait > 0 {
		return wait, nil
	}
	if err := put(path, want, 0o644, os.Rename); err != nil {
		return f.o.poll, fmt.Errorf("writing the CNI configuration list: %w", err)
	}
	f.pace.wrote(now)
	f.o.Log.Info("CNI configuration list written", "file", path, "of", nameOf(base, f.o.Guest))
	return f.o.poll, nil
}

// wanted is the list that there should be; nil for none.
func (f *follower) wanted(base *File) ([]byte, error) {
	switch {
	case !f.o.Guest:
		return ownList(f.o.Socket, f.portmap), nil
	case base == nil:
		return nil, nil
	}
	return copyOf(*base, f.o.Socket)
}

// removeList removes a copy of what has been gone for a while.
func (f *follower) removeList(now time.Time, path string, there bool) (wait time.Duration, err error) {
	if !there {
		f.missing = time.Time{}
		return f.o.poll, nil
	}
	if f.missing.IsZero() {
		f.missing = now
	}
	if left := f.missing.Add(f.o.gone).Sub(now); left > 0 {
		return left, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.o.poll, fmt.Errorf("removing the copy of a CNI configuration that has gone: %w", err)
	}
	f.o.Log.Info("CNI configuration list removed: what it was a copy of has gone", "file", path)
	return f.o.poll, nil
}

// warnOfFirst says once when another file comes before felid's: the runtime would use that.
func (f *follower) warnOfFirst(base *File) {
	if base == nil || base.Name > ListName {
		f.before = ""
		return
	}
	if f.before != base.Name {
		f.before = base.Name
		f.o.Log.Warn("a CNI configuration sorts before felid's: the runtime uses that one, and pods come without felid", "file", base.Name, "felid", ListName)
	}
}

func find(files []File, name string) *File {
	for i := range files {
		if files[i].Name == name {
			return &files[i]
		}
	}
	return nil
}

func nameOf(base *File, guest bool) string {
	if !guest || base == nil {
		return Network
	}
	return base.Name
}

// pacer slows writing down where somebody else undoes it.
type pacer struct {
	last  time.Time
	pause time.Duration
}

// wait is how long the next write has to wait; 0: it need not.
func (p *pacer) wait(now time.Time) time.Duration {
	return max(0, p.last.Add(p.pause).Sub(now))
}

// wrote notes a write. The pause after it doubles unless the one before has stood for long.
func (p *pacer) wrote(now time.Time) {
	if p.last.IsZero() || now.Sub(p.last) > p.pause+calm {
		p.pause = 100 * time.Millisecond
	} else {
		p.pause = min(2*p.pause, slowest)
	}
	p.last = now
}
