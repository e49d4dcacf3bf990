package adapters

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestList: a host has a loopback adapter, and each adapter says who it is.
func TestList(t *testing.T) {
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	loopback := false
	for _, a := range all {
		t.Logf("%+v", a)
		if a.Name == "" || a.Index == 0 || a.LUID == 0 {
			t.Errorf("%+v", a)
		}
		if a.Loopback {
			loopback = slices.ContainsFunc(a.Addresses, func(a Address) bool { return a.Addr() == netip.MustParseAddr("127.0.0.1") })
		}
	}
	if !loopback {
		t.Error("127.0.0.1 is on no loopback adapter")
	}
}

// TestNotify: the host calls back, on a thread of its own; again for a second listener, and to nobody who has stopped.
func TestNotify(t *testing.T) {
	one, two := make(chan struct{}, 1), make(chan struct{}, 1)
	stopOne := listen(t, one)
	heard(t, one)
	stopTwo := listen(t, two)
	heard(t, two)
	stopOne()
	stopTwo()
	if listeners.Lock(); len(listeners.wake) != 0 {
		t.Errorf("%d listeners are left", len(listeners.wake))
	}
	listeners.Unlock()
}

func listen(t *testing.T, notices chan struct{}) (stop func()) {
	t.Helper()
	stop, err := notify(notices)
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

func heard(t *testing.T, notices <-chan struct{}) {
	t.Helper()
	select {
	case <-notices:
	case <-time.After(10 * time.Second):
		t.Fatal("no notice")
	}
}

func TestFollowThisHost(t *testing.T) {
	h, err := Follow(slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	all, err := List()
	if want := HostAddresses(all); err != nil || !slices.Equal(h.Addresses(), want) {
		t.Errorf("follows %v, the host has %v, %v", h.Addresses(), want, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
