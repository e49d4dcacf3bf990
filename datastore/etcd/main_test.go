package etcd

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	server "github.com/felid-net/felid/test/etcd"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// open opens a store of a server; it is closed with the test.
func open(t *testing.T, s *server.Server, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Endpoints: []string{s.Endpoint}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&o)
	}
	store, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestConformance(t *testing.T) {
	for _, program := range server.Programs(t) {
		t.Run(program, func(t *testing.T) {
			s := server.Start(t, server.Options{Program: program})
			dstest.RunConformance(t, func(t *testing.T) datastore.Store {
				s.Clear()
				return open(t, s)
			})
		})
	}
}

func tier(name string, order float64) *v3.Tier {
	o := &v3.Tier{Spec: v3.TierSpec{Order: &order}}
	o.Name = name
	return o
}

func tierKey(name string) v3.Key { return v3.Key{Kind: v3.KindTier, Name: name} }

func create(t *testing.T, s datastore.Store, o v3.Object) v3.Object {
	t.Helper()
	created, err := s.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func list(t *testing.T, s datastore.Store, kind v3.Kind) datastore.List {
	t.Helper()
	l, err := s.List(t.Context(), kind, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func watchFrom(t *testing.T, s datastore.Store, kind v3.Kind, revision string) <-chan datastore.Event {
	t.Helper()
	events, err := s.Watch(t.Context(), kind, revision)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// next is the next event, which comes within 20 s.
func next(t *testing.T, events <-chan datastore.Event) datastore.Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the watch has ended")
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	return datastore.Event{}
}

// eventually calls check until it is content, for 20 s.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = check(); err == nil {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatal(err)
}

func wantTier(name string, s datastore.Store, t *testing.T) func() error {
	return func() error {
		_, err := s.Get(t.Context(), tierKey(name))
		if err != nil {
			return fmt.Errorf("no %s: %w", name, err)
		}
		return nil
	}
}
