package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	azure  = `{"cniVersion":"0.3.0","name":"azure","plugins":[{"type":"azure-vnet"}]}`
	azure2 = `{"cniVersion":"0.3.0","name":"azure","plugins":[{"type":"azure-vnet","mtu":1400}]}`
)

// What Windows says of a file that is being moved to its place, and of a move to the place of a file that is open: ERROR_SHARING_VIOLATION, ERROR_ACCESS_DENIED.
const (
	errSharing = syscall.Errno(32)
	errAccess  = syscall.Errno(5)
)

// patiently does again what Windows refuses while somebody else has the file, as whoever writes there must.
func patiently(do func() error) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		err := do()
		busy := runtime.GOOS == "windows" && (errors.Is(err, errSharing) || errors.Is(err, errAccess))
		if !busy || time.Now().After(end) {
			return err
		}
	}
}

// host is a host's two folders, and what is installed from.
type host struct {
	*follower
	t   *testing.T
	log bytes.Buffer
	now time.Time
}

func newHost(t *testing.T, guest bool) *host {
	t.Helper()
	h := &host{t: t, now: time.Now()}
	o := Options{BinDir: t.TempDir(), ConfDir: t.TempDir(), From: t.TempDir(), Socket: socket, Guest: guest, Log: slog.New(slog.NewTextHandler(&h.log, nil))}
	h.follower = newFollower(o)
	for name, text := range map[string]string{"felid-cni": "the plugin", "portmap": "felid's portmap", "loopback": "felid's loopback"} {
		if err := os.WriteFile(filepath.Join(o.From, h.bin.file(name)), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// other writes another plugin's file, or removes it.
func (h *host) other(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.o.ConfDir, name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if text == "" {
		err = os.Remove(path)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// list is felid's list as it is now.
func (h *host) list() string {
	h.t.Helper()
	var data []byte
	err := patiently(func() (err error) {
		data, err = os.ReadFile(filepath.Join(h.o.ConfDir, ListName))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(data)
}

// after lets time pass, and has the folder looked at.
func (h *host) after(d time.Duration) time.Duration {
	h.now = h.now.Add(d)
	return h.turn(h.now)
}

// TestNoProgramNoList: a list whose plugin is not there would keep every pod from starting, and say so in the wrong place.
func TestNoProgramNoList(t *testing.T) {
	h := newHost(t, false)
	if err := os.Remove(filepath.Join(h.o.From, h.bin.file("felid-cni"))); err != nil {
		t.Fatal(err)
	}
	if wait := h.after(0); wait != again || h.log.Len() > 0 {
		t.Errorf("looks again after %s, logged: %s", wait, h.log.String())
	}
	h.after(again)
	h.after(h.o.poll)
	if h.list() != "" || strings.Count(h.log.String(), "writing CNI plugin felid-cni") != 1 {
		t.Errorf("list %q, log %s", h.list(), h.log.String())
	}
}

func TestGuestFollows(t *testing.T) {
	h := newHost(t, true)
	h.after(0)
	if h.list() != "" {
		t.Fatalf("a list of nothing: %s", h.list())
	}
	h.other("10-azure.conflist", azure)
	h.after(0)
	first := h.list()
	if types := runtimeTypes(t, []byte(first)); !slices.Equal(types, []string{"azure-vnet", "felid-cni"}) {
		t.Fatalf("plugins %v", types)
	}
	h.other("10-azure.conflist", azure2)
	h.after(time.Second)
	second := h.list()
	if !strings.Contains(second, "1400") {
		t.Errorf("the change is not followed: %s", second)
	}
	h.other("10-azure.conflist", azure[:30])
	h.after(time.Hour)
	if h.list() != second {
		t.Errorf("half a file changed the copy: %s", h.list())
	}
	h.other("05-cilium.conf", `{"cniVersion":"0.3.1","name":"cilium","type":"cilium-cni"}`)
	h.after(time.Hour)
	if types := runtimeTypes(t, []byte(h.list())); !slices.Equal(types, []string{"cilium-cni", "felid-cni"}) {
		t.Errorf("another file comes first, but the copy is of %v", types)
	}
}

// TestGuestLeaves: a plugin that is uninstalled takes felid's copy with it, but one that replaces its file by removing it first does not.
func TestGuestLeaves(t *testing.T) {
	h := newHost(t, true)
	h.other("10-azure.conflist", azure)
	h.after(0)
	h.other("10-azure.conflist", "")
	if wait := h.after(time.Second); wait != h.o.gone || h.list() == "" {
		t.Fatalf("wait %s, list %q", wait, h.list())
	}
	h.other("10-azure.conflist", azure)
	h.after(time.Second)
	h.other("10-azure.conflist", "")
	if wait := h.after(h.o.gone); wait != h.o.gone || h.list() == "" {
		t.Fatalf("the time before counts: wait %s, list %q", wait, h.list())
	}
	h.after(h.o.gone)
	if h.list() != "" {
		t.Errorf("the copy of nothing: %s", h.list())
	}
}

// TestNoFight: somebody who takes felid out again and again has it put back more and more slowly, and somebody who adds a plugin to the copy
// is left alone.
func TestNoFight(t *testing.T) {
	h := newHost(t, true)
	h.other("10-azure.conflist", azure)
	h.after(0)
	writes := 0
	step := 50 * time.Millisecond
	for until := h.now.Add(time.Hour); h.now.Before(until); step = min(step*21/20, 20*time.Second) {
		h.other(ListName, azure)
		h.after(step)
		if h.list() != azure {
			writes++
		}
	}
	if writes < 10 || writes > 30 {
		t.Errorf("%d writes in an hour", writes)
	}
	h.after(time.Hour)
	h.after(time.Hour)
	h.other(ListName, azure)
	h.after(0)
	if h.list() == azure {
		t.Error("after an hour of calm the list does not come back at once")
	}
	third := strings.Replace(h.list(), `"plugins": [`, `"plugins": [{"type": "third"},`, 1)
	h.other(ListName, third)
	h.after(time.Hour)
	if h.list() != third {
		t.Errorf("what a third plugin added is gone: %s", h.list())
	}
}

// TestRun: a change of another plugin's file is followed at once.
func TestRun(t *testing.T) {
	h := newHost(t, true)
	h.o.poll = time.Hour // notices must do it
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, h.o)
	}()
	for i, text := range []string{azure, azure2, azure} {
		path := filepath.Join(h.o.ConfDir, "10-azure.conflist")
		if err := patiently(func() error { return put(path, []byte(text), 0o600, os.Rename) }); err != nil {
			t.Fatal(err)
		}
		want, err := copyOf(File{Name: "10-azure.conflist", Data: []byte(text)}, socket)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); h.list() != string(want); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("change %d is not followed: %s", i, h.list())
			}
		}
	}
	cancel()
	<-ended
	if h.list() == "" {
		t.Error("the list went with the agent")
	}
}
