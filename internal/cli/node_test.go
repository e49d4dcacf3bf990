package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/config"
)

// cleanable is a dataplane that notes that it was cleaned, after the list that brings pods to felid had gone.
type cleanable struct {
	*dataplane.Fake
	list    string
	cleaned int
	fault   error
}

func (c *cleanable) Clean(context.Context) error {
	if _, err := os.Stat(c.list); err == nil {
		return errors.New("the list is still there")
	}
	c.cleaned++
	return c.fault
}

func TestNodeCleanup(t *testing.T) {
	bin, conf := t.TempDir(), t.TempDir()
	list := filepath.Join(conf, "00-felid.conflist")
	for _, path := range []string{
		filepath.Join(bin, "felid-cni"), filepath.Join(bin, "felid-ipam"), filepath.Join(bin, "portmap"), list, filepath.Join(conf, "10-azure.conflist"),
	} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host := &cleanable{Fake: dataplane.NewFake(nil), list: list}
	run := func(args ...string) (status int, text string) {
		var out bytes.Buffer
		app := App{Out: &out, Err: &out, Env: func(string) (string, bool) { return "", false },
			NewDataplane: func(context.Context, *config.Config, *slog.Logger) (dataplane.Dataplane, error) { return host, nil }}
		return Main(t.Context(), app, append([]string{"node", "cleanup", "--node", "n"}, args...)), out.String()
	}
	if status, out := run(); status != exitUsage || !strings.Contains(out, "which folders?") || host.cleaned > 0 {
		t.Errorf("status %d: %s", status, out)
	}
	folders := []string{"--cni-bin-dir", bin, "--cni-conf-dir", conf}
	if status, out := run(folders...); status != 0 || host.cleaned != 1 {
		t.Errorf("status %d, cleaned %d times: %s", status, host.cleaned, out)
	}
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
	host.fault = errors.New("a set is in use")
	if status, out := run(folders...); status != exitNo || !strings.Contains(out, "a set is in use") {
		t.Errorf("status %d: %s", status, out)
	}
}
