package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNodeCleanup(t *testing.T) {
	bin, conf := t.TempDir(), t.TempDir()
	for _, path := range []string{
		filepath.Join(bin, "felid-cni"), filepath.Join(bin, "felid-ipam"), filepath.Join(bin, "portmap"),
		filepath.Join(conf, "00-felid.conflist"), filepath.Join(conf, "10-azure.conflist"),
	} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call(t).ok("node", "cleanup", "--cni-bin-dir", bin, "--cni-conf-dir", conf)
	var left []string
	for _, dir := range []string{bin, conf} {
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range names {
			left = append(left, d.Name())
		}
	}
	if got := strings.Join(left, " "); got != "portmap 10-azure.conflist" {
		t.Errorf("left: %s", got)
	}
	if o := call(t).run("node", "cleanup"); o.status != exitUsage || !strings.Contains(o.err, "which folders?") {
		t.Errorf("status %d: %s", o.status, o.err)
	}
}
