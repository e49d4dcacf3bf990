//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// warm measures on one agent: label changes and idling. Then its restarts with the kernel already right.
func (b *bench) warm(objects []v3.Object) error {
	w, err := b.newWorld(append(slices.Clone(objects), incAnchor()...))
	if err != nil {
		return err
	}
	p, err := w.start()
	if err == nil {
		_, err = p.readyUsage()
		if err == nil {
			err = p.settle()
		}
		if err == nil {
			err = b.running(w, p)
		}
		err = errors.Join(err, p.stop())
	}
	if err == nil && b.wants("restart") {
		err = b.restarts(w)
	}
	return errors.Join(err, w.close())
}

// running measures an agent that is in sync.
func (b *bench) running(w *world, p *process) error {
	if b.wants("label") {
		if err := b.labels(w, p); err != nil {
			return fmt.Errorf("label changes: %w", err)
		}
	}
	if b.wants("events") {
		if err := b.events(w, p); err != nil {
			return fmt.Errorf("events: %w", err)
		}
	}
	if b.wants("idle") {
		if err := b.idle(p); err != nil {
			return fmt.Errorf("idling: %w", err)
		}
	}
	if b.wants("churn") {
		if err := b.churn(w, p, 1000, [2]bar{b.barsOf("legacy", 71.5, 15), b.barsOf("legacy", 138, 20)}); err != nil {
			return fmt.Errorf("churn: %w", err)
		}
		if err := b.churn(w, p, 2000, [2]bar{none, none}); err != nil {
			return fmt.Errorf("churn: %w", err)
		}
	}
	return nil
}

// idle measures an agent that has nothing to do. What is looked at regularly counts: signs of drift each 5 s, the directory each
// minute, and the whole kernel each 4 minutes, for which the span must be long enough.
func (b *bench) idle(p *process) error {
	time.Sleep(2 * time.Second) // what was put last
	before, err := p.usage()
	if err != nil {
		return err
	}
	time.Sleep(b.idleSpan)
	after, err := p.usage()
	if err != nil {
		return err
	}
	span := b.idleSpan.Round(time.Second)
	b.figure(fmt.Sprintf("W2 idle for %s: CPU of one core", span), "%", 100*(after.cpu-before.cpu).Seconds()/b.idleSpan.Seconds(), b.barsOf("legacy", 1.6, 0.3))
	b.figure(fmt.Sprintf("W2 idle for %s: memory", span), "MB", float64(after.rss)/1000, b.barsOf("legacy", 165, 70))
	return nil
}
