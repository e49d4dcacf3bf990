package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Options are the settings of a server.
type Options struct {
	// Flags of kube-apiserver, given after, and so in the place of, the usual ones.
	Flags []string
}

// Server is a running API server with its etcd.
type Server struct {
	Config     *rest.Config // of a cluster administrator, without limits of its own on the number of calls
	Kubeconfig string       // file, for the same administrator
	Dir        string       // logs, certificates, data; goes with the server
	Etcd       string       // URL of etcd, which asks for no certificate: "http://127.0.0.1:23790"

	etcd, api *process
	client    *http.Client
	crds      sync.Once
	crdsErr   error
}

// startWithin bounds the start of a program on a busy machine, stopWithin its end before it is killed.
const (
	startWithin = 2 * time.Minute
	stopWithin  = 10 * time.Second
)

// Start starts a server that is stopped after the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Shared is the one server of the test process, started when it is first asked for. A test that stops it, or leaves something behind
// that others stumble over, starts one of its own instead.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "felid-kubernetes-")
		if err == nil {
			shared.server, err = start(dir, Options{})
		}
		shared.err = err
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Main runs the tests of a package, ends the shared server, and returns the code to exit with.
func Main(m *testing.M) int {
	code := m.Run()
	if s := shared.server; s != nil {
		s.end()
		if err := os.RemoveAll(s.Dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// start tries again with other ports where a program ends at once: another process may have taken one meanwhile.
func start(dir string, o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	for attempt := range 3 {
		s := &Server{Dir: filepath.Join(dir, fmt.Sprint(attempt))}
		if err = s.prepare(bin, o); err != nil {
			return nil, fmt.Errorf("preparing an API server: %w", err)
		}
		if err = s.Restart(); err == nil {
			return s, nil
		}
		s.end()
	}
	return nil, fmt.Errorf("starting an API server: %w", err)
}

// prepare writes certificates and makes the commands.
func (s *Server) prepare(bin string, o Options) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	etcdPort, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Etcd = fmt.Sprintf("http://127.0.0.1:%d", etcdPort)
	if err := s.credentials(fmt.Sprintf("https://127.0.0.1:%d", port)); err != nil {
		return err
	}
	if s.client, err = rest.HTTPClientFor(s.Config); err != nil {
		return err
	}
	s.etcd = &process{log: s.file("etcd.log"), path: filepath.Join(bin, "etcd"), args: []string{
		"--data-dir", s.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + s.Etcd, "--advertise-client-urls=" + s.Etcd, "--listen-peer-urls=http://127.0.0.1:0",
	}}
	s.api = &process{log: s.file("kube-apiserver.log"), path: filepath.Join(bin, "kube-apiserver"), args: append(s.flags(port), o.Flags...)}
	return nil
}

// flags are those of kube-apiserver. The address that it advertises is one for documentation: nobody goes there, and it must not be a
// loopback one.
func (s *Server) flags(port int) []string {
	return []string{
		"--etcd-servers=" + s.Etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--advertise-address=192.0.2.1",
		"--tls-cert-file=" + s.file("server.crt"), "--tls-private-key-file=" + s.file("server.key"), "--client-ca-file=" + s.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + s.file("accounts.key"), "--service-account-signing-key-file=" + s.file("accounts.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false",
		"--enable-admission-plugins=NodeRestriction", "--disable-admission-plugins=ServiceAccount",
	}
}

func (s *Server) file(name string) string { return filepath.Join(s.Dir, name) }

// Restart stops the API server, where it runs, and starts it again on the same data and address. It returns when the server is ready.
func (s *Server) Restart() error {
	s.Stop()
	if !s.etcd.running() {
		if err := s.etcd.start(); err != nil {
			return err
		}
	}
	if err := s.api.start(); err != nil {
		return err
	}
	return s.ready()
}

// RestartEmpty is Restart with nothing in etcd: all objects are gone, and revisions begin anew.
func (s *Server) RestartEmpty() error {
	s.end()
	if err := os.RemoveAll(s.file("etcd")); err != nil {
		return err
	}
	return s.Restart()
}

// Stop ends the API server in good order; etcd goes on.
func (s *Server) Stop() { s.api.end(stopWithin) }

// Kill ends the API server at once; etcd goes on.
func (s *Server) Kill() { s.api.end(0) }

// Pause makes the API server do nothing, without closing a connection, until Resume.
func (s *Server) Pause() { s.api.pause() }

// Resume ends a Pause.
func (s *Server) Resume() { s.api.resume() }

// end ends both programs.
func (s *Server) end() {
	s.Kill()
	s.etcd.end(0)
}

// ready waits until the server says that it is.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		for _, p := range []*process{s.etcd, s.api} {
			if !p.running() {
				return false, fmt.Errorf("%s has ended:\n%s", filepath.Base(p.path), p.logTail())
			}
		}
		status, _, err := s.call(ctx, http.MethodGet, "/readyz", nil)
		return err == nil && status == http.StatusOK, nil
	})
}

// poll asks again and again until the answer is yes.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// As is the administrator's Config acting for another user. extra may hold what a token says besides, as
// "authentication.kubernetes.io/node-name". Without groups, those that the server gives every service account are given to one.
func (s *Server) As(user string, extra map[string][]string, groups ...string) *rest.Config {
	config := rest.CopyConfig(s.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups, Extra: extra}
	return config
}
