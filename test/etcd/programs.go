package etcd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs are all etcds of this machine, the one that Start takes first; there is at least one, or the test fails.
func Programs(t testing.TB) []string {
	t.Helper()
	found, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Find is Programs for what is no test.
func Find() ([]string, error) {
	var found []string
	if named := os.Getenv("FELID_ETCD"); named != "" {
		found = append(found, named)
	}
	if path, err := exec.LookPath("etcd"); err == nil {
		found = append(found, path)
	}
	if cache, err := os.UserCacheDir(); err == nil {
		built := filepath.Join(cache, "felid", "cluster", "bin", "etcd")
		if _, err := os.Stat(built); err == nil {
			found = append(found, built)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there is no etcd: run build/install-debian or test/cluster/build, or name one in FELID_ETCD")
	}
	return found, nil
}
