package kubernetes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// programs is the folder of etcd, kube-apiserver and kubectl, which are built where one is missing.
var programs = sync.OnceValues(findPrograms)

func findPrograms() (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("this test needs Kubernetes' API server, which tests start on Linux only, not on %s", runtime.GOOS)
	}
	cache := os.Getenv("LAB_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for the programs of a cluster: %w", err)
		}
		cache = filepath.Join(user, "felid", "cluster")
	}
	bin := filepath.Join(cache, "bin")
	if complete(bin) {
		return bin, nil
	}
	return bin, build(cache)
}

func complete(bin string) bool {
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return false
		}
	}
	return true
}

// build runs test/cluster/build, one at a time on this machine.
func build(cache string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	script := filepath.Join(root, "test", "cluster", "build")
	fmt.Fprintf(os.Stderr, "building etcd, kube-apiserver and kubectl by %s api: this takes minutes, once\n", script)
	cmd := exec.Command("flock", filepath.Join(cache, "build.lock"), script, "api")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s api: %w", script, err)
	}
	return nil
}

// freePort finds a port that nothing listens on, below those that the kernel gives to outgoing connections: it is still free when a
// server comes back after a while.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port between 20000 and 29999 on 127.0.0.1")
}
