package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Options of Open; all but Endpoints may be zero.
type Options struct {
	Endpoints []string // URLs, all https or all http
	// CertFile and KeyFile are who the client is, CAFile is who may sign the servers' certificates (empty: whom the system trusts), in PEM.
	CertFile, KeyFile, CAFile string
	Log                       *slog.Logger
	// Patience is how long one call may take; 0: 10 s.
	Patience time.Duration
	// Beat is how often the store is asked for its revision while anything is watched, and Silence how long it may not have answered until
	// watches end; 0: 15 s and 45 s.
	Beat, Silence time.Duration
	// Stall is how long nothing may be heard on a watch, not even a note of progress, which etcd sends every 10 minutes where it is not told
	// otherwise; then it is begun anew. 0: 25 min.
	Stall time.Duration
	// Doubt is how long a store that was restored or emptied is not believed; 0: 2 min.
	Doubt time.Duration
	// PageSize is how many objects a list fetches at once; 0: 500.
	PageSize int64
}

// window is how many bytes may be under way that have not been read.
const window = 1 << 20

// Store is a datastore.Store in etcd.
type Store struct {
	o       Options
	client  *clientv3.Client
	pace    *pace
	lineage lineage

	mu     sync.Mutex
	faults map[v3.Kind]kindFaults // of the last list of each kind
	pulse  *pulse                 // of the last watch; nil before the first
	// watched are the kinds that ever were; last is when there was an answer, and silent why there is none now.
	watched map[v3.Kind]bool
	last    time.Time
	silent  string

	ended sync.WaitGroup
	live  context.Context // ends with the store
	stop  context.CancelCauseFunc
}

// kindFaults are the faults of a kind at a revision of the store.
type kindFaults struct {
	at    listRevision
	byKey map[string]datastore.Fault
}

var _ datastore.Store = (*Store)(nil)

// Open makes a store. It does not connect before the first call; ErrInvalid for what can't be right.
func Open(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Patience = cmp.Or(o.Patience, 10*time.Second)
	o.Beat = cmp.Or(o.Beat, 15*time.Second)
	o.Silence = cmp.Or(o.Silence, 45*time.Second)
	o.Stall = cmp.Or(o.Stall, 25*time.Minute)
	o.Doubt = cmp.Or(o.Doubt, 2*time.Minute)
	o.PageSize = cmp.Or(o.PageSize, 500)
	secure, err := checkEndpoints(o.Endpoints)
	if err != nil {
		return nil, err
	}
	tls, err := tlsConfig(&o, secure)
	if err != nil {
		return nil, err
	}
	pace := newPace()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, TLS: tls,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		MaxUnaryRetries: 20, BackoffWaitBetween: 50 * time.Millisecond,
		DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(failFast), grpc.WithTransportCredentials(pace.credentials(tls)),
			// Fixed, so that gRPC does not measure by pings what room there should be.
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		},
		Logger: zap.NewNop(), // it logs each attempt
	})
	if err != nil {
		return nil, fmt.Errorf("etcd %s: %w: %w", strings.Join(o.Endpoints, ","), datastore.ErrInvalid, err)
	}
	s := &Store{o: o, client: client, pace: pace, lineage: lineage{doubt: o.Doubt}, faults: map[v3.Kind]kindFaults{}, watched: map[v3.Kind]bool{}}
	s.live, s.stop = context.WithCancelCause(context.Background())
	return s, nil
}

// Close ends all watches.
func (s *Store) Close() error {
	s.stop(fmt.Errorf("%w: the store is closed", datastore.ErrUnreachable))
	s.ended.Wait()
	err := s.client.Close()
	if errors.Is(err, context.Canceled) {
		err = nil // what it says of its own end
	}
	return err
}

// commit makes a transaction, whose answer must be of the history that is known.
func (s *Store) commit(ctx context.Context, guard clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	before := s.lineage.before()
	answer, err := call(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).If(guard).Then(then...).Else(otherwise...).Commit()
	})
	if err != nil {
		return nil, err
	}
	return answer, s.judge(before, answer.Header.ClusterId, answer.Header.Revision)
}

func (s *Store) fetch(ctx context.Context, path string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	before := s.lineage.before()
	answer, err := call(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, path, opts...)
	})
	if err != nil {
		return nil, err
	}
	return answer, s.judge(before, answer.Header.ClusterId, answer.Header.Revision)
}

// judge takes note of the history that an answer is of.
func (s *Store) judge(before seen, cluster uint64, revision int64) error {
	started, err := s.lineage.answer(before, cluster, revision, time.Now())
	if started {
		s.o.Log.Error("datastore: etcd is not believed", "reason", err)
	}
	if err == nil {
		s.heard(nil)
	}
	return err
}

// Get implements datastore.Store.
func (s *Store) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	path, err := pathOf(key)
	if errors.Is(err, datastore.ErrUnsupported) {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound) // a view: there are none
	}
	if err != nil {
		return nil, err
	}
	answer, err := s.fetch(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	o, faults := s.decode(key, answer.Kvs[0].Value, answer.Kvs[0].ModRevision)
	if o == nil {
		return nil, fmt.Errorf("%w: %s", datastore.ErrInvalid, faults[0])
	}
	return o, nil
}

func (s *Store) decode(key v3.Key, value []byte, revision int64) (v3.Object, []datastore.Fault) {
	o, faults := datastore.Decode(key, value)
	if o != nil {
		o.SetResourceVersion(objectRevision(revision, s.lineage.eraNow()))
	}
	return o, faults
}

// encode is an object as it is kept, and where.
func encode(o v3.Object) (path, value string, err error) {
	key := v3.KeyOf(o)
	if path, err = pathOf(key); err != nil {
		return "", "", err
	}
	if lacks := v3.Lacks(o); lacks != "" { // an Allow would be written without what narrows it
		return "", "", fmt.Errorf("%s: %w: %s, which would be lost: mend it first", key, datastore.ErrInvalid, lacks)
	}
	if o.GetResourceVersion() != "" {
		o = o.Copy()
		o.SetResourceVersion("")
	}
	data, err := v3.Encode(o)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
	}
	return path, string(data), nil
}

// Create implements datastore.Store.
func (s *Store) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	path, value, err := encode(o)
	if err != nil {
		return nil, err
	}
	key := v3.KeyOf(o)
	answer, err := s.commit(ctx, clientv3.Compare(clientv3.CreateRevision(path), "=", 0), []clientv3.Op{clientv3.OpPut(path, value)}, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if !answer.Succeeded {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrExists)
	}
	return s.stored(key, value, answer.Header.Revision)
}

// stored is what has just been written, as a reader would get it.
func (s *Store) stored(key v3.Key, value string, revision int64) (v3.Object, error) {
	o, faults := s.decode(key, []byte(value), revision)
	if o == nil {
		return nil, fmt.Errorf("%s: written, but can't be read: %s", key, faults[0])
	}
	return o, nil
}

// Update implements datastore.Store.
func (s *Store) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	path, value, err := encode(o)
	if err != nil {
		return nil, err
	}
	key := v3.KeyOf(o)
	revision, err := s.swap(ctx, key, path, o.GetResourceVersion(), clientv3.OpPut(path, value))
	if err != nil {
		return nil, err
	}
	return s.stored(key, value, revision)
}

// Delete implements datastore.Store.
func (s *Store) Delete(ctx context.Context, key v3.Key, revision string) error {
	path, err := pathOf(key)
	if err != nil {
		return err
	}
	_, err = s.swap(ctx, key, path, revision, clientv3.OpDelete(path))
	return err
}

// swap makes a change if the object is there at that revision, or at any for "".
func (s *Store) swap(ctx context.Context, key v3.Key, path, revision string, change clientv3.Op) (int64, error) {
	guard := clientv3.Compare(clientv3.CreateRevision(path), ">", 0)
	if revision != "" {
		at, ok := parseObjectRevision(revision, s.lineage.eraNow())
		if !ok {
			at = -1 // nobody's: only whether the object is there is of interest
		}
		guard = clientv3.Compare(clientv3.ModRevision(path), "=", at)
	}
	answer, err := s.commit(ctx, guard, []clientv3.Op{change}, []clientv3.Op{clientv3.OpGet(path, clientv3.WithKeysOnly())})
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", key, err)
	case answer.Succeeded:
		return answer.Header.Revision, nil
	case len(answer.Responses[0].GetResponseRange().Kvs) == 0:
		return 0, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	return 0, fmt.Errorf("%s: %w", key, datastore.ErrConflict)
}

// List implements datastore.Store. It fetches pages of one revision.
func (s *Store) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	info, ok := v3.InfoOf(kind)
	if !ok {
		return datastore.List{}, fmt.Errorf("%s: unknown kind: %w", kind, datastore.ErrInvalid)
	}
	prefix := kindPrefix(kind)
	if namespace != "" && info.Namespaced {
		prefix += namespace + "/"
	}
	p := &pages{Store: s, kind: kind, prefix: prefix, faults: map[string]datastore.Fault{}}
	if err := p.all(ctx); err != nil {
		return datastore.List{}, err
	}
	// Etcd's order is that of whole keys, in which "a-b/x" is before "a/x".
	slices.SortFunc(p.objects, func(a, b v3.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	if prefix == kindPrefix(kind) {
		s.mu.Lock()
		s.faults[kind] = kindFaults{p.at, p.faults}
		s.mu.Unlock()
	}
	return datastore.List{Objects: p.objects, Revision: p.at.String(), Faults: sorted(p.faults)}, nil
}

// sorted are faults in the order of their keys in etcd; never nil.
func sorted(faults map[string]datastore.Fault) []datastore.Fault {
	out := make([]datastore.Fault, 0, len(faults))
	for _, f := range faults {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b datastore.Fault) int { return cmp.Compare(a.String(), b.String()) })
	return out
}
