package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Prefix begins the name of every chain of ours, Mark the last comment of every rule of ours.
const (
	Prefix = "felid-"
	Mark   = "felid:"
)

// MaxName is the longest name of a chain that iptables takes.
const MaxName = 28

// Family is an address family: its number is the IP version.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String is "ipv4" or "ipv6".
func (f Family) String() string { return "ipv" + strconv.Itoa(int(f)) }

// Variant is one of the two kernel interfaces that the iptables programs can write to.
type Variant string

// The variants.
const (
	NFT    Variant = "nft"
	Legacy Variant = "legacy"
)

// Runner runs a program to its end. The error of a program that ended badly tells so; stderr holds its reason.
type Runner func(ctx context.Context, name string, args []string, stdin []byte, env []string) (stdout, stderr []byte, err error)

// Signer returns a number that very probably changes when the table does: the generation of all of nf_tables for NFT, a hash of the size and
// layout of the one table for Legacy, 0 where nobody has used it yet.
type Signer func(v Variant, f Family, table string) (uint64, error)

// Config of a Driver. Only Variant is required.
type Config struct {
	Variant Variant
	// LockFile is what XTABLES_LOCKFILE is set to, so that agents in several network namespaces do not wait for one another; "": the
	// system's.
	LockFile string
	// LockWait is how long a program waits for that lock; 0: 10 s. Whole seconds.
	LockWait time.Duration
	// Timeout of one program; 0: a minute.
	Timeout time.Duration
	Run     Runner // nil: Exec
	Sign    Signer // nil: ask the kernel
}

// Driver runs one variant of the iptables programs.
type Driver struct {
	cfg    Config
	env    []string
	tables []*Table
	first  map[Family]map[string]*ReadBack // what OpenDetected read, by table
}

// Open prepares a Driver; it does not touch the kernel.
func Open(cfg Config) (*Driver, error) {
	if cfg.Variant != NFT && cfg.Variant != Legacy {
		return nil, fmt.Errorf("iptables variant %q: want %q or %q", cfg.Variant, NFT, Legacy)
	}
	if cfg.Run == nil {
		cfg.Run = Exec
	}
	if cfg.Sign == nil {
		cfg.Sign = KernelSign
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 10 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	d := &Driver{cfg: cfg}
	if cfg.LockFile != "" {
		d.env = []string{"XTABLES_LOCKFILE=" + cfg.LockFile}
	}
	return d, nil
}

// Variant is the one that the driver was opened with.
func (d *Driver) Variant() Variant { return d.cfg.Variant }

// program is the name of an executable: program("restore") is "iptables-nft-restore".
func program(f Family, v Variant, verb string) string {
	name := "iptables-"
	if f == IPv6 {
		name = "ip6tables-"
	}
	return name + string(v) + "-" + verb
}

// save prints one table, or all that are in use where table is "".
func (d *Driver) save(ctx context.Context, f Family, table string) ([]byte, error) {
	var args []string
	if table != "" {
		args = []string{"-t", table}
	}
	out, _, err := d.run(ctx, program(f, d.cfg.Variant, "save"), args, nil)
	return out, err
}

// restore writes text; a *Refusal says what the program made of it.
func (d *Driver) restore(ctx context.Context, f Family, text []byte) error {
	wait := strconv.Itoa(int(d.cfg.LockWait / time.Second))
	name := program(f, d.cfg.Variant, "restore")
	_, stderr, err := d.run(ctx, name, []string{"--noflush", "--wait", wait}, text)
	var ended interface{ ExitCode() int } // -1 where a signal ended it
	if errors.As(err, &ended) && ended.ExitCode() > 0 && !strings.Contains(string(stderr), "xtables lock") {
		return &Refusal{Program: name, Lines: errorLines(stderr), Text: oneLine(stderr)}
	}
	return err
}

func (d *Driver) run(ctx context.Context, name string, args []string, stdin []byte) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	stdout, stderr, err = d.cfg.Run(ctx, name, args, stdin, d.env)
	if err != nil {
		return stdout, stderr, fmt.Errorf("%s: %w: %s", name, err, oneLine(stderr))
	}
	return stdout, stderr, nil
}

// Exec is the Runner that starts processes. env comes on top of the process's own environment; messages are in English.
func Exec(ctx context.Context, name string, args []string, stdin []byte, env []string) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	cmd.WaitDelay = 10 * time.Second // it runs from the end of the process, too: a busy machine reads the rest of the output late
	err = cmd.Run()
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return out.Bytes(), errs.Bytes(), err
}
