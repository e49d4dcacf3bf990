//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/felid-net/felid/test/bench/workload"
)

func main() {
	b := bench{}
	flag.StringVar(&b.bin, "bin", "bin", "folder with felid and felid-cni")
	backends := flag.String("backends", "legacy,nft", "variants of iptables")
	flag.StringVar(&b.store, "store", "local", "the datastore: local, a directory on tmpfs; or etcd, a real one, as the figures of Calico's agent were measured with")
	flag.BoolVar(&b.ipv6, "ipv6", false, "measure with IPv6 on; there are no bars for it")
	flag.IntVar(&b.runs, "n", 5, "cold starts and restarts of each, of which the median counts")
	only := flag.String("only", "cold,w3,restart,label,events,idle,churn,cni", "what to measure, comma-separated")
	flag.DurationVar(&b.idleSpan, "idle", time.Minute, "how long to watch the idle agent")
	flag.BoolVar(&b.header, "header", false, "print the head of the table and the machine first")
	flag.Parse()
	b.only = strings.Split(*only, ",")
	if stores[b.store] == nil {
		fmt.Fprintf(os.Stderr, "error: -store %s; valid: local, etcd\n", b.store)
		os.Exit(2)
	}
	log.SetOutput(io.Discard) // the netlink library tells there of attributes that it does not know
	if err := b.run(strings.Split(*backends, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run measures all that is wanted. Whatever ends it, what it made is removed.
func (b *bench) run(backends []string) error {
	unlock, err := takeOver()
	if err != nil {
		return err
	}
	defer unlock()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-interrupted
		// While it cleans up, the measurements fail one way or the other: what they say then does not matter.
		fmt.Fprintln(os.Stderr, "interrupted; cleaning up")
		if err := cleanUp(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(130)
	}()
	if b.header {
		printHeader()
	}
	for _, backend := range backends {
		b.backend = backend
		err = errors.Join(err, b.all())
	}
	return errors.Join(err, cleanUp())
}

func (b *bench) all() error {
	w1, w2 := workload.W1(), workload.W2()
	if b.wants("cold") {
		if err := b.cold("W1", w1); err != nil {
			return fmt.Errorf("W1 cold start: %w", err)
		}
		if err := b.cold("W2", w2); err != nil {
			return fmt.Errorf("W2 cold start: %w", err)
		}
	}
	if b.wants("w3") {
		if err := b.large(); err != nil {
			return fmt.Errorf("W3 cold start: %w", err)
		}
	}
	if b.wants("restart") || b.wants("label") || b.wants("events") || b.wants("idle") || b.wants("churn") {
		if err := b.warm(w2); err != nil {
			return fmt.Errorf("W2: %w", err)
		}
	}
	if b.wants("cni") {
		if err := b.cni(w1); err != nil {
			return fmt.Errorf("CNI: %w", err)
		}
	}
	return nil
}
