package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// pages fetches what is below a prefix, at one revision.
type pages struct {
	*Store
	kind    v3.Kind
	prefix  string
	at      listRevision
	objects []v3.Object
	faults  map[string]datastore.Fault // by path; each has the last of an object's faults
}

// maxAnew bounds how often a list begins anew because its revision was compacted meanwhile.
const maxAnew = 3

// all fetches them, anew where compaction was quicker.
func (p *pages) all(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		p.objects, p.at = nil, listRevision{}
		clear(p.faults)
		err := p.from(ctx, 0)
		if errors.Is(err, datastore.ErrExpired) {
			if attempt < maxAnew {
				continue
			}
			err = fmt.Errorf("%w: its revisions are compacted faster than a list takes (%d times)", datastore.ErrUnreachable, maxAnew)
		}
		return err
	}
}

// from fetches all pages of a revision; 0: of now.
func (p *pages) from(ctx context.Context, revision int64) error {
	end := rangeEnd(p.prefix)
	for path := p.prefix; ; {
		page, err := p.fetch(ctx, path, clientv3.WithRange(end), clientv3.WithLimit(p.o.PageSize), clientv3.WithRev(revision))
		if err != nil {
			return fmt.Errorf("%s: %w", p.kind, err)
		}
		if p.at.revision == 0 {
			if revision == 0 {
				revision = page.Header.Revision
			}
			p.at = listRevision{page.Header.ClusterId, revision, p.lineage.eraNow()}
		}
		for _, kv := range page.Kvs {
			p.take(kv)
		}
		if !page.More || len(page.Kvs) == 0 {
			return nil
		}
		path = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (p *pages) take(kv *mvccpb.KeyValue) {
	path := string(kv.Key)
	o, fault := p.read(p.kind, kv)
	if o != nil {
		p.objects = append(p.objects, o)
	}
	if fault != nil {
		p.faults[path] = *fault
	}
}

// read decodes one entry of a kind; of several faults of an object it says the first, and how many there are.
func (s *Store) read(kind v3.Kind, kv *mvccpb.KeyValue) (v3.Object, *datastore.Fault) {
	key, err := keyOf(kind, string(kv.Key))
	if err != nil {
		return nil, &datastore.Fault{Err: err}
	}
	o, faults := s.decode(key, kv.Value, kv.ModRevision)
	if len(faults) == 0 {
		return o, nil
	}
	if n := len(faults) - 1; n > 0 {
		faults[0].Err = fmt.Errorf("%w (and %d more)", faults[0].Err, n)
	}
	return o, &faults[0]
}

// now is the revision of the store, asked for in a way that any reader of the prefix may.
func (s *Store) now(ctx context.Context) (listRevision, error) {
	answer, err := s.fetch(ctx, Root, clientv3.WithKeysOnly())
	if err != nil {
		return listRevision{}, err
	}
	return listRevision{answer.Header.ClusterId, answer.Header.Revision, s.lineage.eraNow()}, nil
}
