package local

import (
	"errors"
	"os"
	"path/filepath"
)

// errGone: what was in the directory is not thereby deleted.
var errGone = errors.New("the directory was taken away, or is not the one that was opened")

// there tells whether the directory is still the one that was opened: the lock in it is the open one.
func (s *Store) there() bool {
	now, err := os.Stat(filepath.Join(s.dir, privateDir, "lock"))
	if err != nil {
		return false
	}
	opened, err := s.lock.Stat()
	return err == nil && os.SameFile(now, opened)
}
