package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/datastore"
)

// slowClient is a client of a server of the test's own that waits for next to no time for an answer.
func slowClient(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	times := usualTiming
	times.call = 200 * time.Millisecond
	c, err := newClient(&rest.Config{Host: server.URL + "/behind/a/path/"}, testLog(t), times)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

var someTiers = &resource{group: "projectcalico.org", version: "v3", plural: "tiers"}

func TestCallThatIsNotAnswered(t *testing.T) {
	c := slowClient(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := c.get(t.Context(), someTiers, "", "a")
	if !errors.Is(err, datastore.ErrUnreachable) || !strings.Contains(err.Error(), "get tiers.projectcalico.org a") || !strings.Contains(err.Error(), "no answer within 200ms") {
		t.Errorf("get: %v", err)
	}
	err = c.watch(t.Context(), someTiers, "1", func(rawEvent) error { return nil })
	if !errors.Is(err, datastore.ErrUnreachable) {
		t.Errorf("watch: %v", err)
	}
}

// TestSlowWatchLives has events come at longer intervals than a call may take.
func TestSlowWatchLives(t *testing.T) {
	const events = 3
	c := slowClient(t, func(w http.ResponseWriter, r *http.Request) {
		if want := "/behind/a/path/apis/projectcalico.org/v3/tiers"; r.URL.Path != want || !isWatch(r.URL) {
			t.Errorf("asked for %s, want a watch of %s", r.URL, want)
		}
		for i := range events {
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(300 * time.Millisecond):
			}
			fmt.Fprintf(w, `{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"%d","managedFields":[]}}}`+"\n", i+2)
		}
	})
	var got []string
	err := c.watch(t.Context(), someTiers, "1", func(e rawEvent) error {
		got = append(got, e.revision)
		if strings.Contains(string(e.raw), "managedFields") {
			t.Errorf("handed on: %s", e.raw)
		}
		return nil
	})
	if err != nil || strings.Join(got, " ") != "1 2 3 4" {
		t.Errorf("revisions %v, %v; want 1, which says that it watches, 2, 3, 4, and no error", got, err)
	}
}

func TestWatchThatFails(t *testing.T) {
	stop := errors.New("enough")
	tests := []struct {
		name, body string
		each       error
		want       error
	}{
		{"forgotten revision", `{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}`, nil, datastore.ErrExpired},
		{"server in trouble", `{"type":"ERROR","object":{"kind":"Status","code":500,"message":"no"}}`, nil, datastore.ErrUnreachable},
		{"error without a status", `{"type":"ERROR","object":{}}`, nil, datastore.ErrUnreachable},
		{"no JSON", `{"type":`, nil, datastore.ErrUnreachable},
		{"no revision", `{"type":"ADDED","object":{"metadata":{}}}`, nil, datastore.ErrUnreachable},
		{"unknown event", `{"type":"SPARED","object":{"metadata":{"resourceVersion":"2"}}}`, nil, datastore.ErrUnreachable},
		{"over at once", ``, nil, datastore.ErrUnreachable},
		{"its receiver has enough", `{"type":"ADDED","object":{"metadata":{"resourceVersion":"2"}}}`, stop, stop},
	}
	for _, test := range tests {
		c := slowClient(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, test.body) })
		err := c.watch(t.Context(), someTiers, "1", func(e rawEvent) error {
			if e.raw == nil {
				return nil
			}
			return test.each
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		suspect := false
		c.withLine(someTiers, func(l *line) { suspect = l.suspect })
		if !suspect {
			t.Errorf("%s: the next watch would not look at the server's revision", test.name)
		}
	}
}
