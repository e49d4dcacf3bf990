package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// wireObject is an object on its way between the test and the agent's process.
type wireObject struct {
	Kind v3.Kind
	JSON json.RawMessage
}

type StoreCall struct {
	Key      v3.Key
	Object   *wireObject
	Revision string
}

type StoreAnswer struct {
	Objects  []*wireObject
	Revision string
	Error    string // text
	Sentinel int    // index into sentinels, plus one
}

var sentinels = []error{datastore.ErrNotFound, datastore.ErrExists, datastore.ErrConflict, datastore.ErrInvalid}

func pack(o v3.Object) *wireObject {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return &wireObject{Kind: o.GetKind(), JSON: data}
}

func (w *wireObject) unpack() v3.Object {
	info, _ := v3.InfoOf(w.Kind)
	o := info.New()
	if err := json.Unmarshal(w.JSON, o); err != nil {
		panic(err)
	}
	return o
}

// StoreService lends a store to the agent's process, as an API server would: the store survives the agent.
type StoreService struct{ store datastore.Store }

// Call serves one method of datastore.Store.
func (s *StoreService) call(method string, c *StoreCall, a *StoreAnswer) {
	ctx := context.Background()
	var o v3.Object
	var err error
	switch method {
	case "Get":
		o, err = s.store.Get(ctx, c.Key)
	case "Create":
		o, err = s.store.Create(ctx, c.Object.unpack())
	case "Update":
		o, err = s.store.Update(ctx, c.Object.unpack())
	case "Delete":
		err = s.store.Delete(ctx, c.Key, c.Revision)
	case "List":
		var list datastore.List
		list, err = s.store.List(ctx, c.Key.Kind, c.Key.Namespace)
		a.Revision = list.Revision
		for _, o := range list.Objects {
			a.Objects = append(a.Objects, pack(o))
		}
	}
	if o != nil {
		a.Objects = []*wireObject{pack(o)}
	}
	if err != nil {
		a.Error = err.Error()
		for i, sentinel := range sentinels {
			if errors.Is(err, sentinel) {
				a.Sentinel = i + 1
			}
		}
	}
}

func (s *StoreService) Get(c *StoreCall, a *StoreAnswer) error    { s.call("Get", c, a); return nil }
func (s *StoreService) Create(c *StoreCall, a *StoreAnswer) error { s.call("Create", c, a); return nil }
func (s *StoreService) Update(c *StoreCall, a *StoreAnswer) error { s.call("Update", c, a); return nil }
func (s *StoreService) Delete(c *StoreCall, a *StoreAnswer) error { s.call("Delete", c, a); return nil }
func (s *StoreService) List(c *StoreCall, a *StoreAnswer) error   { s.call("List", c, a); return nil }

// lend serves store on a socket until the listener is closed.
func lend(l net.Listener, store datastore.Store) error {
	server := rpc.NewServer()
	if err := server.RegisterName("Store", &StoreService{store}); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeCodec(jsonrpc.NewServerCodec(conn))
		}
	}()
	return nil
}

// borrowed is the agent's end of a lent store.
type borrowed struct{ client *rpc.Client }

func borrow(socket string) (*borrowed, error) {
	client, err := jsonrpc.Dial("unix", socket)
	return &borrowed{client}, err
}

func (b *borrowed) call(ctx context.Context, method string, c StoreCall) (*StoreAnswer, error) {
	a := new(StoreAnswer)
	call := b.client.Go("Store."+method, &c, a, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case call.Error != nil:
		return nil, fmt.Errorf("%w: %w", datastore.ErrUnreachable, call.Error)
	case a.Sentinel > 0:
		return nil, fmt.Errorf("%w: %s", sentinels[a.Sentinel-1], a.Error)
	case a.Error != "":
		return nil, errors.New(a.Error)
	}
	return a, nil
}

func (b *borrowed) one(ctx context.Context, method string, c StoreCall) (v3.Object, error) {
	a, err := b.call(ctx, method, c)
	if err != nil {
		return nil, err
	}
	return a.Objects[0].unpack(), nil
}

func (b *borrowed) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	return b.one(ctx, "Get", StoreCall{Key: key})
}

func (b *borrowed) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	return b.one(ctx, "Create", StoreCall{Object: pack(o)})
}

func (b *borrowed) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	return b.one(ctx, "Update", StoreCall{Object: pack(o)})
}

func (b *borrowed) Delete(ctx context.Context, key v3.Key, revision string) error {
	_, err := b.call(ctx, "Delete", StoreCall{Key: key, Revision: revision})
	return err
}

func (b *borrowed) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	a, err := b.call(ctx, "List", StoreCall{Key: v3.Key{Kind: kind, Namespace: namespace}})
	if err != nil {
		return datastore.List{}, err
	}
	list := datastore.List{Revision: a.Revision}
	for _, o := range a.Objects {
		list.Objects = append(list.Objects, o.unpack())
	}
	return list, nil
}

// Watch is nothing that the CNI server does.
func (b *borrowed) Watch(context.Context, v3.Kind, string) (<-chan datastore.Event, error) {
	return nil, datastore.ErrUnsupported
}

func (b *borrowed) Close() error { return b.client.Close() }
