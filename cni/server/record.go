package server

import (
	"context"
	"errors"
	"fmt"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// write stores a record, whatever is there: the newest sandbox of a pod is the pod's, on whichever node the one before was.
func (s *Server) write(ctx context.Context, rec *v3.WorkloadEndpoint) error {
	_, err := s.o.Store.Update(ctx, rec)
	if errors.Is(err, datastore.ErrNotFound) {
		_, err = s.o.Store.Create(ctx, rec)
	}
	if errors.Is(err, datastore.ErrExists) {
		_, err = s.o.Store.Update(ctx, rec)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", v3.KeyOf(rec), err)
	}
	return nil
}

// stored reads the record of an entry; nil if there is none, or if it is another container's by now.
func (s *Server) stored(ctx context.Context, e *entry) (*v3.WorkloadEndpoint, error) {
	o, err := s.o.Store.Get(ctx, e.key)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.key, err)
	}
	rec, ok := o.(*v3.WorkloadEndpoint)
	if !ok || rec.Spec.ContainerID != e.ContainerID || rec.Spec.Node != s.o.Node {
		return nil, nil
	}
	return rec, nil
}

// erase deletes the record of an entry, and of nobody else: the pod may run on another node by now, under the same key.
func (s *Server) erase(ctx context.Context, e *entry) error {
	for {
		rec, err := s.stored(ctx, e)
		if rec == nil || err != nil {
			return err
		}
		err = s.o.Store.Delete(ctx, e.key, rec.ResourceVersion)
		switch {
		case err == nil || errors.Is(err, datastore.ErrNotFound):
			return nil
		case !errors.Is(err, datastore.ErrConflict) || ctx.Err() != nil:
			return fmt.Errorf("deleting %s: %w", e.key, err)
		}
	}
}
