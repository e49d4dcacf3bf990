//go:build linux

package kube

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/test/kubernetes"
)

// The forms in which an agent may ask for pods.
var forms = []struct{ name, accept, query string }{
	{"protobuf", "application/vnd.kubernetes.protobuf", ""},
	{"json", "application/json", ""},
	{"metadata", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", ""},
	{"own-node", "application/vnd.kubernetes.protobuf", "&fieldSelector=spec.nodeName%3Dfar-7"},
}

const (
	changesASecond = 100
	watchFor       = 20 * time.Second
)

// BenchmarkWatch: what a watch of pods brings one agent while a hundred pod changes a second happen in a cluster of 100,000, in each form; and
// what so many watches cost the API server. The first list of all pods is counted apart.
func BenchmarkWatch(b *testing.B) {
	s := &bed{b: b, server: kubernetes.Start(b, kubernetes.Options{})}
	s.server.InstallCRDs(b)
	var err error
	if s.http, err = rest.HTTPClientFor(s.server.Config); err != nil {
		b.Fatal(err)
	}
	store, err := clientv3.New(clientv3.Config{Endpoints: []string{s.server.Etcd}})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	w := writer{store: store}
	for i := range manyPods {
		p := farPod(i)
		w.core("/registry/pods/"+p.Namespace+"/"+p.Name, "Pod", p)
	}
	if err := w.flush(); err != nil {
		b.Fatal(err)
	}
	if err := s.caughtUp(); err != nil {
		b.Fatal(err)
	}
	for _, form := range forms {
		bytes, err := s.listBytes(form.accept, form.query)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(bytes)/1e6, form.name+"-list-MB")
	}
	base, _, _, err := s.watched(store, 0, "", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(base.Seconds()/watchFor.Seconds()*100, "api-alone-%core")
	const watchers = 40
	for _, form := range forms {
		cpu, bytes, events, err := s.watched(store, watchers, form.accept, form.query)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(bytes)/watchers/watchFor.Seconds()/1e3, form.name+"-kB/s/agent")
		b.ReportMetric(float64(events)/watchers/watchFor.Seconds(), form.name+"-events/s/agent")
		b.ReportMetric((cpu-base).Seconds()/watchFor.Seconds()/watchers*100, form.name+"-api-%core/agent")
	}
}

// caughtUp waits until the API server has taken in what was written into its etcd.
func (s *bed) caughtUp() error {
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Second) {
		_, _, err := s.call(http.MethodGet, "/api/v1/pods?limit=1", "application/json", nil)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// listBytes is the size of a paged list of all pods.
func (s *bed) listBytes(accept, query string) (n int64, err error) {
	for next := ""; ; {
		request, err := http.NewRequest(http.MethodGet, s.server.Config.Host+"/api/v1/pods?limit=500&continue="+next+query, nil)
		if err != nil {
			return n, err
		}
		request.Header.Set("Accept", strings.ReplaceAll(accept, "PartialObjectMetadata;", "PartialObjectMetadataList;"))
		response, err := s.http.Do(request)
		if err != nil {
			return n, err
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return n, fmt.Errorf("list: %s %.300s %w", response.Status, body, err)
		}
		n += int64(len(body))
		if next = continuation(body); next == "" {
			return n, nil
		}
	}
}

// continuation finds the token of the next page in a list: it begins, in base64, with {"v":"meta.k8s.io/v1".
func continuation(body []byte) string {
	const start = "eyJ2IjoibWV0YS5rOHMuaW8vdjEi"
	_, rest, ok := strings.Cut(string(body[:min(len(body), 4096)]), start)
	if !ok {
		if _, rest, ok = strings.Cut(string(body[max(0, len(body)-4096):]), start); !ok {
			return ""
		}
	}
	end := strings.IndexFunc(rest, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
	})
	return start + rest[:end]
}

// watched opens so many watches, makes changes for a while, and tells the API server's processor time, and all bytes and events that came.
func (s *bed) watched(store *clientv3.Client, watchers int, accept, query string) (cpu time.Duration, bytes, events int64, err error) {
	ctx, cancel := context.WithCancel(s.b.Context())
	var counters sync.WaitGroup
	defer counters.Wait()
	defer cancel()
	var nBytes, nEvents atomic.Int64
	for range watchers {
		if err := s.watch(ctx, &counters, accept, query, &nBytes, &nEvents); err != nil {
			return 0, 0, 0, err
		}
	}
	time.Sleep(2 * time.Second) // first events of a new watch, if there are any
	nBytes.Store(0)
	nEvents.Store(0)
	pid, err := serverPID(s.server)
	if err != nil {
		return 0, 0, 0, err
	}
	before, err := processTime(pid)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := changePods(ctx, store); err != nil {
		return 0, 0, 0, err
	}
	after, err := processTime(pid)
	return after - before, nBytes.Load(), nEvents.Load(), err
}

// watch counts what one watch from now on brings. Each has a connection of its own, as agents have.
func (s *bed) watch(ctx context.Context, group *sync.WaitGroup, accept, query string, bytes, events *atomic.Int64) error {
	transport, err := rest.TransportFor(rest.CopyConfig(s.server.Config))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.Config.Host+"/api/v1/pods?watch=1&resourceVersion="+s.revision()+query, nil)
	if err != nil {
		return err
	}
	accept = strings.Replace(accept, "protobuf", "protobuf;stream=watch", 1)
	request.Header.Set("Accept", accept)
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("watch: %s %s", response.Status, body)
	}
	framed := strings.Contains(accept, "protobuf")
	group.Go(func() {
		defer response.Body.Close()
		if framed {
			countFrames(response.Body, bytes, events)
			return
		}
		buffer := make([]byte, 1<<16)
		for {
			n, err := response.Body.Read(buffer)
			bytes.Add(int64(n))
			events.Add(int64(strings.Count(string(buffer[:n]), "\n")))
			if err != nil {
				return
			}
		}
	})
	return nil
}

// countFrames reads events that each begin with their length in four bytes.
func countFrames(r io.Reader, bytes, events *atomic.Int64) {
	var head [4]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			return
		}
		bytes.Add(n + 4)
		events.Add(1)
	}
}

// revision of the server now.
func (s *bed) revision() string {
	answer, _, err := s.call(http.MethodGet, "/api/v1/pods?limit=1", "application/json", nil)
	if err != nil {
		s.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(answer), `"resourceVersion":"`)
	revision, _, _ := strings.Cut(rest, `"`)
	return revision
}

// changePods writes pods into etcd at the rate of changes: status and labels of one after the other, as kubelets and controllers do.
func changePods(ctx context.Context, store *clientv3.Client) error {
	tick := time.NewTicker(time.Second / changesASecond)
	defer tick.Stop()
	for i := range int(watchFor.Seconds()) * changesASecond {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		p := farPod(i * 37 % manyPods)
		p.Labels["turn"] = fmt.Sprint(i)
		w := writer{store: store}
		w.core("/registry/pods/"+p.Namespace+"/"+p.Name, "Pod", p)
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// serverPID finds the process of an API server by its folder.
func serverPID(s *kubernetes.Server) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.Contains(string(line), "kube-apiserver\x00") || !strings.Contains(string(line), s.Dir) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err == nil {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no kube-apiserver runs in %s", s.Dir)
}
