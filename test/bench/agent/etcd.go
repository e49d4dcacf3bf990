//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/etcd"
	"github.com/felid-net/felid/internal/lab"
	server "github.com/felid-net/felid/test/etcd"
)

const (
	etcdClients = "127.0.0.1:2379" // in the node's namespace, as is the other
	etcdPeers   = "127.0.0.1:2380"
)

// etcdServer is one etcd in the node's namespace, with its data on tmpfs. The agent connects to it as to any; the bench, which is in another
// namespace, through a socket that it passes on.
type etcdServer struct {
	process *exec.Cmd
	door    net.Listener
	writer  datastore.Store
}

func startEtcd(dir string) (*etcdServer, error) {
	programs, err := server.Find()
	if err != nil {
		return nil, err
	}
	s := &etcdServer{process: exec.Command(programs[0],
		"--data-dir", filepath.Join(dir, "etcd"), "--logger", "zap", "--log-level", "error",
		"--listen-client-urls", "http://"+etcdClients, "--advertise-client-urls", "http://"+etcdClients,
		"--listen-peer-urls", "http://"+etcdPeers, "--initial-advertise-peer-urls", "http://"+etcdPeers, "--initial-cluster", "default=http://"+etcdPeers,
	)}
	s.process.Stderr = os.Stderr
	if err := lab.Within(nodeSpace, s.process.Start); err != nil {
		return nil, err
	}
	if s.door, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	go s.passOn()
	if s.writer, err = s.open(); err == nil {
		err = s.ready()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// ready waits until the server answers.
func (s *etcdServer) ready() (err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err = s.writer.List(context.Background(), v3.KindTier, ""); err == nil {
			return nil
		}
	}
	return fmt.Errorf("etcd does not answer: %w", err)
}

// passOn connects whoever comes to the server, until the door is closed.
func (s *etcdServer) passOn() {
	for {
		near, err := s.door.Accept()
		if err != nil {
			return
		}
		far, err := dialNode(context.Background(), "tcp", etcdClients)
		if err != nil {
			_ = near.Close()
			continue
		}
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}
		go pass(near, far)
		go pass(far, near)
	}
}

func (s *etcdServer) flag() string { return "etcd:http://" + etcdClients }

func (s *etcdServer) open() (datastore.Store, error) {
	return etcd.Open(etcd.Options{Endpoints: []string{"http://" + s.door.Addr().String()}})
}

func (s *etcdServer) fill(objects []v3.Object) error {
	var group errgroup.Group
	group.SetLimit(16)
	for _, o := range objects {
		group.Go(func() error {
			_, err := s.writer.Create(context.Background(), o)
			return err
		})
	}
	return group.Wait()
}

func (s *etcdServer) replace(_ int, o v3.Object) error {
	_, err := s.writer.Update(context.Background(), o)
	if errors.Is(err, datastore.ErrNotFound) {
		_, err = s.writer.Create(context.Background(), o)
	}
	return err
}

func (s *etcdServer) close() (err error) {
	if s.writer != nil {
		err = s.writer.Close()
	}
	if s.door != nil {
		err = errors.Join(err, s.door.Close())
	}
	killed := s.process.Process.Signal(syscall.SIGKILL)
	_ = s.process.Wait() // says that it was killed
	return errors.Join(err, killed)
}
