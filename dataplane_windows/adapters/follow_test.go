package adapters

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a host whose addresses a test decides.
type scripted struct {
	sync.Mutex
	has   []Address
	err   error
	asked int
}

func (s *scripted) list() ([]Adapter, error) {
	s.Lock()
	defer s.Unlock()
	s.asked++
	return []Adapter{{Name: "Ethernet", Addresses: s.has}}, s.err
}

func (s *scripted) set(err error, has ...Address) {
	s.Lock()
	defer s.Unlock()
	s.has, s.err = has, err
}

func told(h *Host) bool {
	synctest.Wait()
	select {
	case <-h.Changed():
		return true
	default:
		return false
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		host := &scripted{has: []Address{address("10.0.0.1/24", Preferred)}}
		notices := make(chan struct{}, 1)
		h, err := follow(host.list, notices, 30*time.Second, slog.New(slog.NewTextHandler(&lines, nil)))
		if err != nil || !slices.Equal(h.Addresses(), addrs("10.0.0.1")) || told(h) {
			t.Fatalf("%v, %v", h, err)
		}
		host.set(nil, address("10.0.0.1/24", Preferred), address("10.0.0.2/24", Preferred))
		notices <- struct{}{}
		if !told(h) || !slices.Equal(h.Addresses(), addrs("10.0.0.1", "10.0.0.2")) {
			t.Errorf("after a notice: %v", h.Addresses())
		}
		host.set(nil, address("10.0.0.2/24", Preferred), address("10.0.0.1/16", Preferred), address("fe80::1/64", Preferred))
		notices <- struct{}{}
		if told(h) {
			t.Error("told of a change that is none")
		}
		host.set(errors.New("not now"))
		time.Sleep(95 * time.Second)
		if told(h) || !slices.Equal(h.Addresses(), addrs("10.0.0.1", "10.0.0.2")) || strings.Count(lines.String(), "not now") != 1 {
			t.Errorf("while it can't be asked: %v\n%s", h.Addresses(), &lines)
		}
		host.set(nil, address("10.0.0.3/24", Preferred))
		time.Sleep(30 * time.Second) // no notice: it was lost
		if !told(h) || !slices.Equal(h.Addresses(), addrs("10.0.0.3")) {
			t.Errorf("without a notice: %v", h.Addresses())
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFollowNeedsAnAnswer(t *testing.T) {
	host := &scripted{err: errors.New("no permission")}
	if _, err := follow(host.list, nil, time.Second, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a host that can't be asked has no addresses")
	}
}
