package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
)

// unreadyLoop is a loop before its first apply.
type unreadyLoop struct{}

func (unreadyLoop) Add(context.Context, *v3.WorkloadEndpoint) error { return errors.New("not ready") }
func (unreadyLoop) Remove(context.Context, *v3.WorkloadEndpoint) error {
	return errors.New("not ready")
}
func (unreadyLoop) Ready() error { return errors.New("not in sync yet") }

// serving starts a server that is never ready, and returns its socket.
func serving(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "s")
	s, err := New(Options{Socket: socket, Node: "n", InterfacePrefix: "fld", Loop: unreadyLoop{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(socket); err == nil {
			return socket
		}
	}
	t.Fatal("no socket appears")
	return ""
}

func TestSocketIsOurs(t *testing.T) {
	socket := serving(t)
	info, err := os.Lstat(socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(socket))
	if err != nil || len(entries) != 2 { // the socket and its lock
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := listen(socket); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent: %v", err)
	}
	if conn, err := net.Dial("unix", socket); err != nil {
		t.Errorf("the first agent's socket, after the second came: %v", err)
	} else {
		_ = conn.Close()
	}
}

func TestStaleSocketIsReplacedAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.release()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

func TestServeRefusesWhatIsNoRequest(t *testing.T) {
	socket := serving(t)
	tests := []struct {
		name, send string
		code       uint
	}{
		{"not JSON", "hello\n", 6},
		{"too long", strings.Repeat("x", cni.MaxMessage) + "\n", 6},
		{"no verb", "{}\n", 4},
		{"no configuration", `{"verb":"STATUS"}` + "\n", 6},
		{"bad configuration", `{"verb":"STATUS","config":{"name":"n","x":1}}` + "\n", 7},
		{"container with a slash", `{"verb":"ADD","containerID":"../x","ifName":"eth0","netns":"/n","config":{"name":"n"}}` + "\n", 4},
		{"too long a name", `{"verb":"DEL","containerID":"c","ifName":"eth0","config":{"name":"` + strings.Repeat("n", 300) + `"}}` + "\n", 7},
		{"not ready", `{"verb":"DEL","containerID":"c","ifName":"eth0","config":{"name":"n"}}` + "\n", 11},
		{"not ready", `{"verb":"STATUS","config":{"name":"n"}}` + "\n", 50},
	}
	for _, tt := range tests {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = conn.Write([]byte(tt.send)) }()
		resp := new(cni.Response)
		if err := cni.ReadMessage(conn, resp); err != nil || resp.Error == nil || resp.Error.Code != tt.code || resp.Error.Msg == "" {
			t.Errorf("%s: %+v, %v, want code %d", tt.name, resp.Error, err, tt.code)
		}
		_ = conn.Close()
	}
}

func TestKeysAreServedOneAtATime(t *testing.T) {
	var l locks
	a, b := v3.Key{Name: "a"}, v3.Key{Name: "b"}
	unlock, err := l.lock(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := l.try(b); other == nil {
		t.Error("b is held up by a")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("gave up"))
	if _, err := l.lock(ctx, a); err == nil || err.Error() != "gave up" {
		t.Errorf("waiting with an ended context: %v", err)
	}
	got := make(chan func())
	go func() { u, _ := l.lock(context.Background(), a); got <- u }()
	unlock()
	(<-got)()
	if len(l.held) != 1 {
		t.Errorf("%d keys are held, want b's alone", len(l.held))
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(`ADD`, "c1", "/run/netns/x", "eth0", "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1", []byte(`{"cniVersion":"1.1.0","name":"n"}`))
	f.Add(`GC`, "", "", "", "", []byte(`{"name":"n","cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]}`))
	f.Fuzz(func(t *testing.T, verb, id, netns, ifName, args string, config []byte) {
		c, err := new(Server).parse(&cni.Request{Verb: verb, ContainerID: id, Netns: netns, IfName: ifName, Args: args, Config: config})
		if err != nil {
			return
		}
		if verb == cni.GC || verb == cni.Status {
			return
		}
		if key := c.key(); key.Name == "" || strings.ContainsAny(key.Namespace+key.Name, "/ ") {
			t.Errorf("key %+v", key)
		}
		if a, ok := parseAlias(c.alias()); !ok || a != c.attachment {
			t.Errorf("%+v has alias %q, which is read as %+v", c.attachment, c.alias(), a)
		}
	})
}
