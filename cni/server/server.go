package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// Loop is the node loop of the agent.
type Loop interface {
	// Add gives an endpoint, and returns once its policy is in force. Giving it again waits again.
	Add(ctx context.Context, wep *v3.WorkloadEndpoint) error
	// Remove returns once the endpoint is out of the kernel and the tracked connections of its addresses are gone. It does nothing
	// where another container has taken the endpoint's place.
	Remove(ctx context.Context, wep *v3.WorkloadEndpoint) error
	// Ready says why the node can't take endpoints now, if it can't.
	Ready() error
}

// Pods finds what the cluster says of a pod: its view with labels, ports and profiles, or datastore.ErrNotFound.
type Pods interface {
	Pod(ctx context.Context, namespace, name string) (*v3.WorkloadEndpoint, error)
}

// Options are what a Server works with; all but Timeout, MTU, HNS and Log are required.
type Options struct {
	Socket          string // path of the unix socket, or name of the pipe
	Node            string
	Guest           bool   // another plugin connects the pods, and this is its gate: IPAM, MTU and IPv6 are not used
	InterfacePrefix string // of the host's interfaces: 1 to 4 characters, for a guest any number
	MTU             int    // of pods' interfaces, where the configuration does not say; 0: 1500
	IPv6            bool   // whether pods get IPv6 addresses, where there is a pool for them
	Timeout         time.Duration
	Store           datastore.Store
	IPAM            *ipam.Allocator
	Pods            Pods
	Loop            Loop
	HNS             *hns.Client // guests' endpoints are found there; nil: that of this host, if it has one
	Log             *slog.Logger
}

// Server is the agent's side of CNI.
type Server struct {
	o       Options
	sandbox *sandbox // nil on HNS, where felid is a guest
	ends    ends
	table   *table
	locks   locks
	rebuilt atomic.Bool
}

// New makes a server that connects pods to the network namespace of the thread it is called on, or finds what others connected, there or in HNS.
func New(o Options) (*Server, error) {
	if n := len(o.InterfacePrefix); n == 0 || n > 4 && !o.Guest {
		return nil, fmt.Errorf("interface prefix %q has %d characters; valid: 1 to 4", o.InterfacePrefix, n)
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Timeout == 0 {
		o.Timeout = cni.Timeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.HNS = cmp.Or(o.HNS, hostHNS())
	s := &Server{o: o, table: newTable()}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// ready says why requests can't be served now.
func (s *Server) ready() error {
	if err := s.o.Loop.Ready(); err != nil {
		return err
	}
	if !s.rebuilt.Load() {
		return errors.New("the agent is still looking at what was there before it")
	}
	return nil
}

// do serves one request; ctx ends when the plugin hangs up.
func (s *Server) do(ctx context.Context, req *cni.Request) *cni.Response {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("not done within %s", s.o.Timeout))
	defer cancel()
	start := time.Now()
	resp, err := s.dispatch(ctx, req)
	log := s.o.Log.With("verb", req.Verb, "container", req.ContainerID, "interface", req.IfName, "took", time.Since(start))
	switch {
	case err == nil:
		log.Debug("CNI request done")
		return resp
	case req.Verb == cni.Status: // that the agent is not ready, it says itself
		log.Debug("CNI request failed", "error", err)
	default:
		log.Warn("CNI request failed", "error", err)
	}
	var e *cni.Error
	if !errors.As(err, &e) {
		e = types.NewError(types.ErrTryAgainLater, "felid agent: "+err.Error(), "")
	}
	return &cni.Response{Error: e}
}

// dispatch checks the request and calls its verb.
func (s *Server) dispatch(ctx context.Context, req *cni.Request) (*cni.Response, error) {
	c, err := s.parse(req)
	if err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		if req.Verb == cni.Status {
			return nil, types.NewError(types.ErrPluginNotAvailable, "felid agent: "+err.Error(), "")
		}
		return nil, err
	}
	if req.Verb == cni.Status {
		return &cni.Response{}, nil
	}
	if err := s.checkMode(c); err != nil {
		return nil, err
	}
	switch {
	case req.Verb == cni.Add && s.o.Guest:
		result, err := s.pass(ctx, c)
		return &cni.Response{Result: result}, err
	case req.Verb == cni.Add:
		result, err := s.add(ctx, c)
		return &cni.Response{Result: result}, err
	case req.Verb == cni.Check && s.o.Guest:
		return &cni.Response{}, s.checkPass(ctx, c)
	case req.Verb == cni.Check:
		return &cni.Response{}, s.check(ctx, c)
	case req.Verb == cni.Del:
		return &cni.Response{}, s.del(ctx, c)
	default: // GC
		return &cni.Response{}, s.gc(ctx, c)
	}
}

// call is a request, read.
type call struct {
	attachment
	config *cni.Config
	pod    cni.PodArgs
	netns  string
}

// key of the record that the call is about.
func (c *call) key() v3.Key { return recordKey(c.attachment, c.pod) }

func (s *Server) parse(req *cni.Request) (*call, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	config, err := cni.ParseConfig(req.Config)
	if err != nil {
		return nil, err
	}
	pod, err := cni.ParseArgs(req.Args)
	if err != nil {
		return nil, err
	}
	c := &call{config: config, pod: pod, netns: req.Netns,
		attachment: attachment{Network: config.Name, ContainerID: req.ContainerID, IfName: req.IfName}}
	if n := len(c.alias()); n > maxAlias {
		return nil, types.NewError(types.ErrInvalidNetworkConfig,
			fmt.Sprintf("name: network name and container id are %d characters too long together", n-maxAlias), "")
	}
	return c, nil
}
