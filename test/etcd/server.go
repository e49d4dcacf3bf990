package etcd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Options of Start; the zero value is of use.
type Options struct {
	Program string // "": the first of Programs
	TLS     bool   // https alone, for clients with a certificate
	Args    []string
}

// Server is one etcd.
type Server struct {
	Endpoint string // URL
	Dir      string // of its data, log and certificates
	Certs    *Certs // with TLS
	t        testing.TB
	program  string
	args     []string
	process  *exec.Cmd
	client   *clientv3.Client
}

// Start starts a server, which answers when it returns and ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := newServer(t, o, t.TempDir())
	t.Cleanup(s.end)
	s.Restart()
	return s
}

func newServer(t testing.TB, o Options, dir string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: dir, program: o.Program}
	if s.program == "" {
		s.program = Programs(t)[0]
	}
	scheme := "http"
	if o.TLS {
		scheme, s.Certs = "https", makeCerts(t, dir)
	}
	s.Endpoint = scheme + "://" + freeAddress(t)
	peer := "http://" + freeAddress(t)
	s.args = []string{
		"--data-dir", filepath.Join(dir, "data"), "--logger", "zap", "--log-level", "error",
		"--listen-client-urls", s.Endpoint, "--advertise-client-urls", s.Endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}
	if s.Certs != nil {
		s.args = append(s.args, "--cert-file", s.Certs.Cert, "--key-file", s.Certs.Key, "--trusted-ca-file", s.Certs.CA, "--client-cert-auth")
	}
	if !strings.Contains(output(t, s.program, "--version"), "etcd Version: 3.4") { // which does not know it
		s.args = append(s.args, "--unsafe-no-fsync")
	}
	s.args = append(s.args, o.Args...)
	return s
}

func output(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// freeAddress is an address that nobody listens on just now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Kill ends the server without a warning.
func (s *Server) Kill() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended by itself
	_ = s.process.Wait()         // says that it was killed
	s.process = nil
}

// Wipe kills the server and removes its data.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.Dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts the server again where it was, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.process = exec.Command(s.program, s.args...)
	s.process.Stdout, s.process.Stderr = log, log
	endWithParent(s.process)
	if err := s.process.Start(); err != nil {
		s.process = nil
		s.t.Fatal(err)
	}
	s.wait()
}

// wait waits until the server answers.
func (s *Server) wait() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := s.Client().Get(ctx, "up")
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			s.t.Fatalf("etcd does not answer: %v\n%s", err, bytes.TrimSpace(said))
		}
	}
}

// Client is one that may do everything.
func (s *Server) Client() *clientv3.Client {
	s.t.Helper()
	if s.client != nil {
		return s.client
	}
	c := clientv3.Config{Endpoints: []string{s.Endpoint}, Logger: zap.NewNop()}
	if s.Certs != nil {
		c.TLS = s.Certs.client(s.t)
	}
	client, err := clientv3.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.client = client
	return client
}

// Clear removes all keys.
func (s *Server) Clear() {
	s.t.Helper()
	if _, err := s.Client().Delete(context.Background(), "\x00", clientv3.WithFromKey()); err != nil {
		s.t.Fatal(err)
	}
}

// Compact forgets all revisions before this one.
func (s *Server) Compact() {
	s.t.Helper()
	answer, err := s.Client().Get(context.Background(), "up")
	if err == nil {
		_, err = s.Client().Compact(context.Background(), answer.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Log is what the server has said.
func (s *Server) Log() string {
	said, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(said)
}

func (s *Server) end() {
	if s.client != nil {
		_ = s.client.Close() // its server goes too
	}
	s.Kill()
}

var shared struct {
	sync.Mutex
	server *Server
	dir    string
}

// Shared is a server for all tests of the process, which is stopped by Main; what is in it is of whoever asked last. The keys are removed.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		dir, err := os.MkdirTemp("", "felid-etcd-")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir, shared.server = dir, newServer(t, Options{}, dir)
		shared.server.Restart()
	}
	shared.server.t = t
	shared.server.Clear()
	return shared.server
}

// Main runs a package's tests (m is its *testing.M, or what runs that), and ends what Shared has started.
func Main(m interface{ Run() int }) int {
	defer func() {
		if shared.server != nil {
			shared.server.end()
		}
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}
