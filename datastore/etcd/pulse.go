package etcd

import (
	"context"
	"fmt"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// pulse is what the watches of one history of the store have in common: they end with it.
type pulse struct {
	ctx     context.Context // its cause is why they end
	stop    context.CancelCauseFunc
	era     int
	watches int
}

// listen begins to ask the store for its revision, or goes on to, until leave.
func (s *Store) listen(kind v3.Kind) *pulse {
	era := s.lineage.eraNow()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[kind] = true
	if s.pulse == nil || s.pulse.era != era || s.pulse.ctx.Err() != nil {
		p := &pulse{era: era}
		p.ctx, p.stop = context.WithCancelCause(s.live)
		s.pulse = p
		s.ended.Go(func() { s.beat(p) })
	}
	s.pulse.watches++
	return s.pulse
}

func (s *Store) leave(p *pulse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.watches--
	if p.watches == 0 {
		p.stop(nil)
	}
}

// beat ends the pulse when the store is silent or not the one it was.
func (s *Store) beat(p *pulse) {
	last := time.Now()
	ticks := time.NewTicker(s.o.Beat)
	defer ticks.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-ticks.C:
		}
		_, err := s.now(p.ctx)
		if p.ctx.Err() != nil {
			return
		}
		s.heard(err)
		switch {
		case s.lineage.eraNow() != p.era:
			err = fmt.Errorf("%w: etcd was restored or emptied", datastore.ErrExpired)
		case err == nil:
			last = time.Now()
			continue
		case !s.lineage.doubted() && time.Since(last) < s.o.Silence:
			continue
		}
		p.stop(fmt.Errorf("%w (last answer at %s)", err, last.UTC().Format(time.RFC3339)))
		return
	}
}
