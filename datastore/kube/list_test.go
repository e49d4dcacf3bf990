package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

func wantExpired(t *testing.T, events <-chan datastore.Event) {
	t.Helper()
	select {
	case e := <-events:
		if !strings.Contains(fmt.Sprint(e.Err), datastore.ErrExpired.Error()) {
			t.Errorf("got %+v, want ErrExpired", e)
		}
	case <-time.After(patience):
		t.Error("no end of the watch")
	}
}

// fill creates numbered NetworkSets.
func fill(t *testing.T, s *Store, namespace string, n int) {
	t.Helper()
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := w; i < n; i += 8 {
				if _, err := s.Create(t.Context(), numbered(namespace, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// compact has etcd forget all revisions but the last.
func compact(t *testing.T, server *kubernetes.Server) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Etcd}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := etcd.Get(ctx, "any")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func isPage(u *url.URL) bool { return u.Query().Get("continue") != "" }

func TestPagesUnderChanges(t *testing.T) {
	const n = 1201
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	server.Namespace(t, "paged")
	direct := openOn(t, server)
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindNetworkSet) })
	fill(t, direct, "paged", n)
	p, config := newProxy(t, server)
	s := openOn(t, server, func(o *Options) { o.Config = config })
	var once sync.Once
	p.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if isPage(r.URL) {
			once.Do(func() { // the first page has been read
				mustCreate(t, direct, numbered("paged", n))
				if err := direct.Delete(t.Context(), v3.KeyOf(numbered("paged", n-1)), ""); err != nil {
					t.Error(err)
				}
			})
		}
		return false
	})
	list, err := s.List(t.Context(), v3.KindNetworkSet, "paged")
	if err != nil {
		t.Fatal(err)
	}
	if pages := p.count(isPage); pages != 2 || len(list.Objects) != n {
		t.Errorf("%d objects, %d pages after the first; want %d and 2", len(list.Objects), pages, n)
	}
	for i, o := range list.Objects {
		if o.GetName() != numbered("paged", i).Name {
			t.Fatalf("object %d is %s", i, o.GetName())
		}
	}
	events, err := s.Watch(t.Context(), v3.KindNetworkSet, list.Revision)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{n, n - 1} {
		if e := <-events; e.Err != nil || e.Key != v3.KeyOf(numbered("paged", want)) {
			t.Fatalf("event %+v, want one of %d", e, want)
		}
	}
	p.on(expireOnce(t, server, direct))
	list, err = s.List(t.Context(), v3.KindNetworkSet, "paged")
	if err != nil || len(list.Objects) != n+1 {
		t.Errorf("after an expired page: %d objects, %v; want %d", len(list.Objects), err, n+1)
	}
}

// expireOnce has the second page of a list be too late: etcd has forgotten the revision, and the server says so, as it does where it does not
// remember by itself.
func expireOnce(t *testing.T, server *kubernetes.Server, direct *Store) func(http.ResponseWriter, *http.Request) bool {
	var once sync.Once
	return func(w http.ResponseWriter, r *http.Request) (answered bool) {
		if !isPage(r.URL) {
			return false
		}
		once.Do(func() {
			mustCreate(t, direct, numbered("paged", 5000))
			compact(t, server)
			answered = true
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,
				"message":"The provided continue parameter is too old to display a consistent list result."}`)
		})
		return answered
	}
}

// serveList answers lists of so many objects of a kind, in pages.
func serveList(n int, object func(w io.Writer, i int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if _, err := fmt.Sscan(r.URL.Query().Get("continue"), &from); err != nil && isPage(r.URL) {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writePage(w, from, min(from+pageSize, n), n, object)
	}
}

func writePage(w io.Writer, from, to, n int, object func(w io.Writer, i int)) {
	fmt.Fprint(w, `{"apiVersion":"projectcalico.org/v3","items":[`)
	for i := from; i < to; i++ {
		if i > from {
			fmt.Fprint(w, ",")
		}
		object(w, i)
	}
	next := ""
	if to < n {
		next = fmt.Sprint(to)
	}
	fmt.Fprintf(w, `],"kind":"NetworkSetList","metadata":{"continue":%q,"resourceVersion":"77"}}`, next)
}

// writeSet is a NetworkSet as an API server writes it, of 1.5 kB.
func writeSet(w io.Writer, i int) {
	fmt.Fprintf(w, `{"apiVersion":"projectcalico.org/v3","kind":"NetworkSet","metadata":{"annotations":{%q:%q},"creationTimestamp":"2026-01-31T12:00:00Z",
"generation":1,"labels":{"role":"set"},"managedFields":[{"apiVersion":"projectcalico.org/v3","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:nets":{%q:{}}}},
"manager":"kubectl","operation":"Update","time":"2026-01-31T12:00:00Z"}],"name":"set-%d","namespace":"ns","resourceVersion":"%d","uid":"7e1d0f5c-0000-4000-8000-%012d"},
"spec":{"nets":["10.%d.%d.0/24"]}}`, lastApplied, strings.Repeat("x", 500), strings.Repeat("y", 300), i, i+1, i, i/256%256, i%256)
}

// listFrom lists from a server of the test's own.
func listFrom(t testing.TB, handler http.Handler) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := newClient(&rest.Config{Host: server.URL}, slog.New(slog.DiscardHandler), usualTiming)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestListHoldsLittle(t *testing.T) {
	const n = 20_000
	c := listFrom(t, serveList(n, writeSet))
	var before, at runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	seen, most := 0, uint64(0)
	revision, err := c.list(t.Context(), storedOf(v3.KindNetworkSet), "", nil, func(raw []byte) error {
		if seen++; seen%5_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&at)
			most = max(most, at.HeapAlloc)
		}
		if _, o, faults, _ := readStored(v3.KindNetworkSet, raw); o == nil || len(faults) > 0 {
			return fmt.Errorf("%s: %v", raw, faults)
		}
		return nil
	})
	if err != nil || revision != "77" || seen != n {
		t.Fatalf("%d objects, revision %q, %v", seen, revision, err)
	}
	if held := int64(most) - int64(before.HeapAlloc); held > 8<<20 {
		t.Errorf("%d MB are held amid a list of %d objects", held>>20, n)
	}
}

func TestListIsTrimmed(t *testing.T) {
	c := listFrom(t, serveList(1, writeSet))
	_, err := c.list(t.Context(), storedOf(v3.KindNetworkSet), "", nil, func(raw []byte) error {
		if strings.Contains(string(raw), "managedFields") || strings.Contains(string(raw), lastApplied) {
			t.Errorf("handed on: %s", raw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBrokenLists(t *testing.T) {
	for _, body := range []string{
		``, `{`, `[]`, `{"items":{}}`, `{"items":[{]}`, `{"items":[{"a":1}`, `{"items":[],"metadata":{"resourceVersion":1}}`, `{"items":[1`, `{"items":[]`,
	} {
		c := listFrom(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		_, err := c.list(t.Context(), storedOf(v3.KindTier), "", nil, func([]byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), datastore.ErrUnreachable.Error()) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestListThatStandsStill(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		fmt.Fprint(w, `{"items":[`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	times := usualTiming
	times.call = 200 * time.Millisecond
	c, err := newClient(&rest.Config{Host: server.URL}, testLog(t), times)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.list(t.Context(), storedOf(v3.KindTier), "", nil, func([]byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), errSilent.Error()) || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}

// BenchmarkList is what one object of a list costs, without the server and the wire.
func BenchmarkList(b *testing.B) {
	const n = pageSize
	var page bytes.Buffer
	writePage(&page, 0, n, n, writeSet)
	b.SetBytes(int64(page.Len()) / n)
	b.ReportAllocs()
	for b.Loop() {
		_, err := jsonList(bytes.NewReader(page.Bytes()), func(raw []byte) error {
			if _, o, _, _ := readStored(v3.KindNetworkSet, raw); o == nil {
				return errors.New(string(raw))
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/object")
}
