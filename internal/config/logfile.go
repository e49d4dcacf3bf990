package config

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// logFile is a file of at most max bytes, and the one before it. What is written at once stays together.
type logFile struct {
	path string
	max  int64
	mu   sync.Mutex
	file *os.File // nil: closed
	size int64
}

// openLogFile goes on with the file where there is one, and makes its folder where there is none.
func openLogFile(path string, max int64) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	l := &logFile{path: path, max: max}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends p, after turning the file over where it would get too long.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return 0, os.ErrClosed
	}
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		if err := l.turnOver(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// turnOver renames the file and begins anew. Where it can't be renamed, as when somebody on Windows holds either open, it begins anew all the
// same, and what was in it goes: a log must not fill the disk of a node.
func (l *logFile) turnOver() error {
	err := l.file.Close()
	l.file = nil
	if renamed := os.Rename(l.path, l.path+".1"); renamed != nil {
		err = errors.Join(err, os.Truncate(l.path, 0))
	}
	return errors.Join(err, l.open())
}

// Close ends the file; what is written after it is lost.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
