//go:build linux

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/kubernetes"
)

// built is the folder of the programs, once they are wanted.
var built string

var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "felid-bench-kube-")
	if err != nil {
		return "", err
	}
	built = dir
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "../../../cmd/felid", "../../../cmd/felid-cni")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// bed is an API server and a lab whose nodes follow it.
type bed struct {
	*lab.Lab
	b      *testing.B
	server *kubernetes.Server
	http   *http.Client
}

func newBed(b *testing.B, nodes int) *bed {
	b.Helper()
	bin, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	s := &bed{b: b, server: kubernetes.Start(b, kubernetes.Options{Flags: []string{"--max-requests-inflight=3000", "--max-mutating-requests-inflight=1000"}})}
	s.server.InstallCRDs(b)
	if s.http, err = rest.HTTPClientFor(s.server.Config); err != nil {
		b.Fatal(err)
	}
	s.post("/apis/projectcalico.org/v3/ippools", map[string]any{
		"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": map[string]any{"name": "v4"}, "spec": map[string]any{"cidr": "10.65.0.0/16"},
	})
	for i := 1; i <= nodes; i++ {
		s.addNode(fmt.Sprintf("node-%d", i), fmt.Sprintf("192.0.2.%d", i))
	}
	host, err := url.Parse(s.server.Config.Host)
	if err != nil {
		b.Fatal(err)
	}
	s.Lab, err = lab.Up(b.Context(), lab.Options{
		Dir: filepath.Join(b.TempDir(), "lab"), Name: "felid-bk-" + strconv.Itoa(os.Getpid()), Bin: bin, Nodes: nodes,
		Datastore: "kube", Agent: s.flags(), Outside: []string{host.Host},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if b.Failed() {
			for _, n := range s.Nodes {
				log, _ := os.ReadFile(s.Log(n.Name))
				b.Logf("log of %s:\n%s", n.Name, log[max(0, len(log)-4000):])
			}
		}
		if err := s.Down(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return s
}

func (s *bed) flags() []string {
	return []string{"--kubeconfig", s.server.Kubeconfig, "--log-level", "warn"}
}

// call makes one call to the API server, and tells when its answer came.
func (s *bed) call(method, path, contentType string, body any) (answer []byte, at time.Time, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, at, err
	}
	request, err := http.NewRequest(method, s.server.Config.Host+path, strings.NewReader(string(data)))
	if err != nil {
		return nil, at, err
	}
	request.Header.Set("Content-Type", contentType)
	response, err := s.http.Do(request)
	if err != nil {
		return nil, at, err
	}
	at = time.Now()
	defer response.Body.Close()
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := response.Body.Read(buffer)
		text.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	if response.StatusCode >= 300 {
		return nil, at, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text.String())
	}
	return []byte(text.String()), at, nil
}

// post creates an object, and returns when the server said so.
func (s *bed) post(path string, body any) time.Time {
	s.b.Helper()
	_, at, err := s.call(http.MethodPost, path, "application/json", body)
	if err != nil {
		s.b.Fatal(err)
	}
	return at
}

// patch merges into an object, and returns when the server said so.
func (s *bed) patch(path string, body any) time.Time {
	s.b.Helper()
	_, at, err := s.call(http.MethodPatch, path, "application/merge-patch+json", body)
	if err != nil {
		s.b.Fatal(err)
	}
	return at
}

func (s *bed) addNode(name, address string) {
	s.b.Helper()
	s.post("/api/v1/nodes", map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name}})
	s.patch("/api/v1/nodes/"+name+"/status", map[string]any{"status": map[string]any{"addresses": []any{map[string]any{"type": "InternalIP", "address": address}}}})
}

func podObject(node, name string, labels map[string]string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "labels": labels},
		"spec": map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "none"}}},
	}
}

// allowFrom is a policy that lets pods in namespace default with a label in to those with another.
func allowFrom(name, to, from string) map[string]any {
	return map[string]any{
		"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"selector": to, "types": []string{"Ingress"}, "ingress": []any{map[string]any{
			"action": "Allow", "source": map[string]any{"selector": from},
		}}},
	}
}

// each runs f for each of 0 to n-1, so many at once.
func each(n, at int, f func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(at)
	for i := range n {
		group.Go(func() error { return f(i) })
	}
	return group.Wait()
}

// percentile of times, which it sorts.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)]
}

// memory is what a process holds, and the most it held, in bytes.
func memory(pid int) (now, peak int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			now = kb << 10
		case "VmHWM":
			peak = kb << 10
		}
	}
	if now == 0 {
		err = errors.New("no VmRSS")
	}
	return now, peak, err
}

// processTime is the processor time that a process has used.
func processTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime, of 10 ms each
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
