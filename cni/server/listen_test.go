package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
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

// NewSocket is where nobody listens yet.
func NewSocket(t *testing.T) string {
	if runtime.GOOS == "windows" {
		return fmt.Sprintf(`\\.\pipe\felid-server-test-%d-%d`, os.Getpid(), sockets.Add(1))
	}
	return filepath.Join(t.TempDir(), "run", "s")
}

var sockets atomic.Int32

// serving starts a server that is never ready, and returns its socket.
func serving(t *testing.T) (socket string) {
	t.Helper()
	socket = NewSocket(t)
	// A guest: on Windows felid is nothing else.
	s, err := New(Options{Socket: socket, Node: "n", InterfacePrefix: "fld", Guest: true, Loop: unreadyLoop{}})
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
		if _, err := cni.Dial(context.Background(), socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	for range 25 { // under Wine the first call is lost
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = cni.Call(ctx, socket, &cni.Request{Verb: cni.Status, Config: []byte(`{"name":"n"}`)})
		cancel()
		if strings.Contains(err.Error(), "not in sync yet") {
			return socket
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("it does not answer: %v", err)
	return ""
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
		conn, err := cni.Dial(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(tt.send)); err != nil {
			t.Fatal(err)
		}
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
