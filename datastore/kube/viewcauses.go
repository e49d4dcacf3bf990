package kube

import (
	"log/slog"
	"sync"
	"time"
)

// causes logs what keeps sources from hearing of the API server, each cause once when it begins and once when it is over, however many
// sources it holds up and however often they try.
type causes struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	open map[string]*cause
	of   map[*source]string
}

type cause struct {
	since   time.Time
	sources int
}

func newCauses(log *slog.Logger, now func() time.Time) *causes {
	return &causes{log: log, now: now, open: map[string]*cause{}, of: map[*source]string{}}
}

// unreachable is the one cause of all sources that can't reach the server.
const unreachable = "API server"

// beginOf says that a source can't go on.
func (c *causes) beginOf(s *source, err error) {
	name := causeOf(s.resource, err)
	c.mu.Lock()
	before := c.of[s]
	c.mu.Unlock()
	if before == name {
		return
	}
	c.endOf(s)
	c.mu.Lock()
	c.of[s] = name
	c.mu.Unlock()
	c.begin(name, err)
}

// endOf says that it can.
func (c *causes) endOf(s *source) {
	c.mu.Lock()
	name, ok := c.of[s]
	delete(c.of, s)
	c.mu.Unlock()
	if ok {
		c.end(name)
	}
}

func (c *causes) begin(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.open[name]
	if at == nil {
		at = &cause{since: c.now()}
		c.open[name] = at
		c.log.Warn("Kubernetes: going on with what is known", "about", name, "error", err)
	}
	at.sources++
}

func (c *causes) end(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.open[name]
	if at == nil {
		return
	}
	if at.sources--; at.sources <= 0 {
		delete(c.open, name)
		c.log.Info("Kubernetes: up to date again", "about", name, "after", c.now().Sub(at.since).Round(time.Millisecond))
	}
}
