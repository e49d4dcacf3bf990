package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/cni/install"
	"github.com/felid-net/felid/internal/config"
)

// Untainter is a datastore whose nodes may be tainted, so that no pod is scheduled to one before policy is enforced there.
type Untainter interface {
	// Untaint takes the taints with that key off a node, and no others. A node that has none is left alone.
	Untaint(ctx context.Context, node, key string) error
}

// announcement is what is done once a node can take pods: the plugin is installed, and the taint taken off.
type announcement struct {
	config *config.Config
	agent  *Agent
	nodes  Untainter // nil: nodes have no taints
	log    *slog.Logger
}

// run waits until the node can take pods, and makes that known until ctx ends.
func (n *announcement) run(ctx context.Context) error {
	if !retry(ctx, func() error { return n.serving(ctx) }, nil) {
		return nil
	}
	var group errgroup.Group
	if n.config.CNIBinDir != "" || n.config.CNIConfDir != "" {
		from, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding the folder of the CNI plugin: %w", err)
		}
		group.Go(func() error {
			install.Run(ctx, install.Options{
				BinDir: n.config.CNIBinDir, ConfDir: n.config.CNIConfDir, From: filepath.Dir(from),
				Socket: n.config.Socket, Guest: n.config.Network == "guest", Log: n.log,
			})
			return nil
		})
	}
	if n.nodes != nil && n.config.StartupTaint != "" {
		group.Go(func() error {
			n.untaint(ctx)
			return nil
		})
	}
	return group.Wait()
}

// statusTimeout is how long the plugin's socket may take to say that it works. It is asked again.
const statusTimeout = 2 * time.Second

// serving says why the node can't take pods, if it can't: it does not enforce, or the plugin would get no answer.
func (n *announcement) serving(ctx context.Context) error {
	if err := n.agent.enforces(); err != nil || n.config.Socket == "" {
		return err
	}
	req := &cni.Request{Verb: cni.Status, Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"` + install.Network + `"}`)}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	_, err := cni.Call(ctx, n.config.Socket, req)
	return err
}

func (n *announcement) untaint(ctx context.Context) {
	done := retry(ctx, func() error { return n.nodes.Untaint(ctx, n.config.Node, n.config.StartupTaint) }, func(err error) {
		n.log.Warn("can't take the start-up taint off this node; trying again", "taint", n.config.StartupTaint, "error", err)
	})
	if done {
		n.log.Info("this node has no start-up taint", "taint", n.config.StartupTaint)
	}
}

// enforces says why the node does not enforce, if it doesn't. Single objects that can't be put in force, or read, don't count: they are
// denied what they are not known to be allowed, and one tenant's fault must not keep everybody's pods away.
func (a *Agent) enforces() error {
	if err := a.Ready(); err != nil {
		return err
	}
	if text, broken := a.status.Load().Failed[wholeDataplane]; broken {
		return errors.New(text)
	}
	return nil
}

// retry does what until it works or ctx ends, more slowly with time: from 50 ms to 15 s. failed hears of an error once, and of another one again.
func retry(ctx context.Context, what func() error, failed func(error)) (done bool) {
	last := ""
	for pause := 50 * time.Millisecond; ; pause = min(pause*3/2, 15*time.Second) {
		err := what()
		if err == nil {
			return true
		}
		if failed != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			failed(err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
