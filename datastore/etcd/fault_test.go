package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	server "github.com/felid-net/felid/test/etcd"
)

// quick has a store find out soon what has become of its server.
func quick(o *Options) {
	o.Beat, o.Silence, o.Doubt, o.Patience = 50*time.Millisecond, 500*time.Millisecond, 2*time.Second, 2*time.Second
}

// TestCompaction: a watch of a revision that is forgotten expires; a Syncer goes on with differences alone.
func TestCompaction(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s)
	create(t, store, tier("a", 1))
	old := list(t, store, v3.KindTier)
	create(t, store, tier("b", 1))
	create(t, store, tier("c", 1)) // what is compacted can be watched from itself on
	s.Compact()
	if e := next(t, watchFrom(t, store, v3.KindTier, old.Revision)); !errors.Is(e.Err, datastore.ErrExpired) {
		t.Errorf("%+v, want ErrExpired", e)
	}
	p := &pages{Store: store, kind: v3.KindTier, prefix: kindPrefix(v3.KindTier), faults: map[string]datastore.Fault{}}
	at, _ := parseListRevision(old.Revision, 0)
	if err := p.from(t.Context(), at.revision); !errors.Is(err, datastore.ErrExpired) {
		t.Errorf("a page of a forgotten revision: %v, want ErrExpired", err)
	}
	if l := list(t, store, v3.KindTier); len(l.Objects) != 3 {
		t.Errorf("%d objects", len(l.Objects))
	}
}

// follower takes what a Syncer delivers.
type follower struct {
	have    map[string]float64 // orders of tiers
	batches <-chan datastore.Batch
	gone    int
}

func follow(t *testing.T, store datastore.Store) *follower {
	out := make(chan datastore.Batch)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- datastore.NewSyncer(store, []v3.Kind{v3.KindTier}, nil).Run(ctx, out) }()
	t.Cleanup(func() { cancel(); <-ended })
	return &follower{have: map[string]float64{}, batches: out}
}

// until takes batches until done.
func (f *follower) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case b := <-f.batches:
			f.take(b)
		case <-deadline:
			t.Fatalf("never %s; have %v", what, f.have)
		}
	}
}

func (f *follower) take(b datastore.Batch) {
	for _, u := range b.Updates {
		if u.Object == nil {
			delete(f.have, u.Key.Name)
			f.gone++
			continue
		}
		f.have[u.Key.Name] = *u.Object.(*v3.Tier).Spec.Order
	}
}

// quiet takes batches for a while.
func (f *follower) quiet(wait time.Duration) {
	for end := time.After(wait); ; {
		select {
		case b := <-f.batches:
			f.take(b)
		case <-end:
			return
		}
	}
}

// TestKilledAndRestarted: nothing is lost, nothing goes.
func TestKilledAndRestarted(t *testing.T) {
	s := server.Start(t, server.Options{})
	store := open(t, s, quick)
	create(t, store, tier("a", 1))
	f := follow(t, store)
	f.until(t, "a", func() bool { return len(f.have) == 1 })
	s.Kill()
	// A connection made while the server ends is accepted by its kernel and then reset; that is the cause to be told until the next attempt.
	eventually(t, func() error {
		_, err := store.Get(t.Context(), tierKey("a"))
		cause, named := strings.CutPrefix(fmt.Sprint(err), "Tier a: datastore can't be reached: etcd: ")
		if !errors.Is(err, datastore.ErrUnreachable) || !named || cause == "" {
			t.Fatalf("Get of a server that is down: %v; want ErrUnreachable and why", err)
		}
		if !strings.Contains(cause, "connection refused") {
			return fmt.Errorf("a server that is down for good: %w; want connection refused", err)
		}
		return nil
	})
	if _, err := store.Create(t.Context(), tier("lost", 1)); !errors.Is(err, datastore.ErrUnreachable) {
		t.Errorf("Create on a server that is down: %v", err)
	}
	f.quiet(time.Second)
	s.Restart()
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/b", `{"metadata":{"name":"b"},"spec":{"order":2}}`)
	f.until(t, "b", func() bool { return f.have["b"] == 2 })
	if f.gone != 0 || f.have["a"] != 1 {
		t.Errorf("%d were said to be gone; have %v", f.gone, f.have)
	}
	eventually(t, wantTier("a", store, t))
}

// TestSilenceIsNoticed: a server that stands still ends watches, and answers go on when it does.
func TestSilenceIsNoticed(t *testing.T) {
	s := server.Start(t, server.Options{})
	store := open(t, s, quick)
	create(t, store, tier("a", 1))
	events := watchFrom(t, store, v3.KindTier, list(t, store, v3.KindTier).Revision)
	create(t, store, tier("b", 1))
	if e := next(t, events); e.Key != tierKey("b") {
		t.Fatalf("%+v", e)
	}
	s.Pause()
	defer s.Resume()
	if e := next(t, events); !errors.Is(e.Err, datastore.ErrUnreachable) || !strings.Contains(e.Err.Error(), "last answer at") {
		t.Errorf("%+v, want ErrUnreachable", e)
	}
	if out := store.Outages(); len(out) != 1 || out[0].Kind != v3.KindTier || out[0].Reason == "" || time.Since(out[0].Since) > time.Minute {
		t.Errorf("outages %+v, want that of tiers", out)
	}
	began := time.Now()
	_, err := store.Get(t.Context(), tierKey("a"))
	if took := time.Since(began); !errors.Is(err, datastore.ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 2s") || took > 5*time.Second {
		t.Errorf("Get: %v after %s", err, took)
	}
	s.Resume()
	eventually(t, wantTier("a", store, t))
	if out := store.Outages(); out != nil {
		t.Errorf("outages %+v after an answer", out)
	}
}

// TestStalledWatch: a watch on which nothing comes is begun anew; one on which etcd says that nothing changed goes on.
func TestStalledWatch(t *testing.T) {
	for _, program := range server.Programs(t) {
		s := server.Start(t, server.Options{Program: program, Args: []string{"--experimental-watch-progress-notify-interval", "200ms"}})
		store := open(t, s, func(o *Options) { o.Stall = 2 * time.Second })
		events := watchFrom(t, store, v3.KindTier, list(t, store, v3.KindTier).Revision)
		select {
		case e := <-events:
			t.Errorf("%s: %+v on a watch that was heard", program, e)
		case <-time.After(3 * time.Second):
		}
	}
	s := server.Shared(t) // which has its notes every 10 minutes
	store := open(t, s, func(o *Options) { o.Stall = 300 * time.Millisecond })
	if e := next(t, watchFrom(t, store, v3.KindTier, list(t, store, v3.KindTier).Revision)); !errors.Is(e.Err, datastore.ErrExpired) {
		t.Errorf("%+v, want ErrExpired", e)
	}
}

// TestRestoredEmpty: what was known stays for as long as it is doubted, then what is there counts.
func TestRestoredEmpty(t *testing.T) {
	s := server.Start(t, server.Options{})
	store := open(t, s, quick)
	create(t, store, tier("a", 1))
	b := create(t, store, tier("b", 1))
	f := follow(t, store)
	f.until(t, "a and b", func() bool { return len(f.have) == 2 })
	s.Wipe()
	s.Restart()
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/b", `{"metadata":{"name":"b"},"spec":{"order":5}}`)
	eventually(t, func() error {
		if _, err := store.Get(t.Context(), tierKey("a")); !errors.Is(err, datastore.ErrUnreachable) || !strings.Contains(err.Error(), "restored or emptied: its revision was") {
			return errors.Join(errors.New("is believed"), err)
		}
		return nil
	})
	f.quiet(time.Second)
	if len(f.have) != 2 || f.have["b"] != 1 {
		t.Fatalf("what is doubted was delivered: %v", f.have)
	}
	f.until(t, "b alone, of order 5", func() bool { return len(f.have) == 1 && f.have["b"] == 5 })
	if _, err := store.Update(t.Context(), b); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("Update with a revision of before: %v, want ErrConflict", err)
	}
	now, err := store.Get(t.Context(), tierKey("b"))
	if err != nil || !strings.HasSuffix(now.GetResourceVersion(), "-1") {
		t.Fatalf("%v, %v", now, err)
	}
	if _, err := store.Update(t.Context(), now); err != nil {
		t.Error(err)
	}
}

// TestTLS: certificates on both sides, and what is said where they are wrong.
func TestTLS(t *testing.T) {
	s := server.Start(t, server.Options{TLS: true})
	right := func(o *Options) { o.CertFile, o.KeyFile, o.CAFile = s.Certs.Cert, s.Certs.Key, s.Certs.CA }
	create(t, open(t, s, right), tier("a", 1))
	for want, change := range map[string]func(*Options){
		"signed by unknown authority":      func(o *Options) { o.CAFile = s.Certs.OtherCA },
		"it may want a client certificate": func(o *Options) { o.CertFile, o.KeyFile = "", "" },
	} {
		store := open(t, s, right, change)
		began := time.Now()
		_, err := store.Get(t.Context(), tierKey("a"))
		if !errors.Is(err, datastore.ErrUnreachable) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Tier a: ") {
			t.Errorf("%v, want %q", err, want)
		}
		t.Logf("after %s: %v", time.Since(began), err)
	}
}

// TestCertificateIsReadAnew: one that was renewed in its place is used from the next connection on.
func TestCertificateIsReadAnew(t *testing.T) {
	s := server.Start(t, server.Options{TLS: true})
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	install := func(from, to string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install(s.Certs.Cert, cert)
	install(s.Certs.Key, key)
	store := open(t, s, quick, func(o *Options) { o.CertFile, o.KeyFile, o.CAFile = cert, key, s.Certs.CA })
	create(t, store, tier("a", 1))
	install(s.Certs.OtherCA, cert) // fits no key
	s.Restart()
	if _, err := store.Get(t.Context(), tierKey("a")); !errors.Is(err, datastore.ErrUnreachable) {
		t.Errorf("with a certificate of another key: %v", err)
	}
	renewed, renewedKey := s.Certs.Client(t, "renewed")
	install(renewed, cert)
	install(renewedKey, key)
	eventually(t, wantTier("a", store, t))
}

// TestPermissions: what a user may not do is said with what would be needed.
func TestPermissions(t *testing.T) {
	s := server.Start(t, server.Options{TLS: true})
	c, ctx := s.Client(), t.Context()
	for _, do := range []func() error{
		func() error {
			_, err := c.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reader", Root, rangeEnd(Root), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error {
			_, err := c.UserAddWithOptions(ctx, "agent", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, "agent", "reader"); return err },
		func() error {
			_, err := c.UserAddWithOptions(ctx, "nobody", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) *Store {
		cert, key := s.Certs.Client(t, user)
		return open(t, s, func(o *Options) { o.CertFile, o.KeyFile, o.CAFile = cert, key, s.Certs.CA })
	}
	denied := func(doing string, err error) {
		t.Helper()
		if !errors.Is(err, datastore.ErrForbidden) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "readwrite on the range /felid/v1/ to /felid/v10") {
			t.Errorf("%s: %v", doing, err)
		}
	}
	reader := as("agent")
	events := watchFrom(t, reader, v3.KindTier, list(t, reader, v3.KindTier).Revision)
	_, err := reader.Create(ctx, tier("a", 1))
	denied("Create by a reader", err)
	create(t, open(t, s, func(o *Options) { o.CertFile, o.KeyFile, o.CAFile = s.Certs.Cert, s.Certs.Key, s.Certs.CA }), tier("a", 1))
	if e := next(t, events); e.Key != tierKey("a") {
		t.Errorf("%+v", e)
	}
	_, err = as("nobody").List(ctx, v3.KindTier, "")
	denied("List by nobody", err)
}
