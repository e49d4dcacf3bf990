package server

import (
	"context"

	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
)

// Rebuild learns from records and interfaces what agents before this one connected, and must return nil before requests are served. An
// endpoint that has both is adopted. A record without its interface (the machine was started anew) and an interface without its record
// (an ADD that did not end) are taken away. Records are what the datastore has of this node's endpoints, complete unless some can't be
// read; those of other nodes or without a container don't matter. To be called when the loop is ready; after an error, call it again.
func (s *Server) Rebuild(ctx context.Context, records []*v3.WorkloadEndpoint, complete bool) error {
	var known []*entry
	for _, rec := range records {
		if e, ok := entryOf(rec, s.o.Node); ok {
			known = append(known, e)
		}
	}
	compare := s.compareOwn
	if s.o.Guest {
		compare = s.comparePassed
	}
	adopted, stale, err := compare(ctx, known)
	if err != nil {
		return err
	}
	for _, e := range adopted {
		e.done = true
		s.table.put(e)
	}
	s.clean(ctx, stale, complete)
	s.o.Log.Info("endpoints adopted", "adopted", len(adopted), "leftovers", len(stale))
	s.rebuilt.Store(true)
	return nil
}

// compareOwn matches records with the interfaces that felid made.
func (s *Server) compareOwn(_ context.Context, known []*entry) (adopted, stale []*entry, err error) {
	links, err := s.sandbox.list(s.o.InterfacePrefix)
	if err != nil {
		return nil, nil, err
	}
	if links, err = s.dropHalves(links); err != nil {
		return nil, nil, err
	}
	adopted, stale = sortOut(known, links)
	return adopted, stale, nil
}

// comparePassed looks for the interfaces, which another plugin made and marks as it likes, by their names.
func (s *Server) comparePassed(ctx context.Context, known []*entry) (adopted, stale []*entry, err error) {
	for _, e := range known {
		there, err := s.ends.exists(ctx, e.host)
		if err != nil {
			return nil, nil, err
		}
		if there {
			adopted = append(adopted, e)
		} else {
			stale = append(stale, e)
		}
	}
	return adopted, stale, nil
}

// clean takes leftovers away, many at once: the loop applies what has gathered. What fails stays in the table. If some records can't
// be read, an interface without one may be a pod's.
func (s *Server) clean(ctx context.Context, stale []*entry, complete bool) {
	var all errgroup.Group
	all.SetLimit(32)
	for _, e := range stale {
		s.table.put(e)
		log := s.o.Log.With("attachment", e.attachment.String(), "interface", e.host)
		if e.record == nil && !complete {
			log.Warn("an interface has no record, but not every record can be read: it stays, dropped by policy")
			continue
		}
		all.Go(func() error {
			if err := s.detach(ctx, e); err != nil {
				log.Error("a leftover could not be taken away; DEL, GC or the next ADD will", "error", err)
			}
			return nil
		})
	}
	_ = all.Wait() // logged
}

// dropHalves deletes interfaces whose maker died before it had marked them: they have no address, and nobody knows whose they were.
func (s *Server) dropHalves(links []hostLink) (marked []hostLink, err error) {
	for _, l := range links {
		if !l.half {
			marked = append(marked, l)
			continue
		}
		if err := s.sandbox.remove(l.name, attachment{}); err != nil {
			return nil, err
		}
	}
	return marked, nil
}

// sortOut matches records with interfaces: those that say the same of each other, and what is left over on either side.
func sortOut(known []*entry, links []hostLink) (adopted, stale []*entry) {
	marked := make(map[attachment]string, len(links)) // the interface
	for _, l := range links {
		if a, ok := parseAlias(l.alias); ok {
			marked[a] = l.name
		}
	}
	for _, e := range known {
		switch name, there := marked[e.attachment]; {
		case there && name == e.host:
			adopted = append(adopted, e)
		case there: // renamed
			e.host = name
			fallthrough
		default:
			stale = append(stale, e)
		}
		delete(marked, e.attachment)
	}
	for _, l := range links {
		if a, ok := parseAlias(l.alias); ok && marked[a] == l.name {
			stale = append(stale, &entry{attachment: a, host: l.name, key: v3.Key{Kind: v3.KindWorkloadEndpoint, Name: "interface+" + l.name}})
		}
	}
	return adopted, stale
}
