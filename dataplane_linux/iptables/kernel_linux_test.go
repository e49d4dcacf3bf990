package iptables

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// open puts the calling goroutine into a network namespace of its own, and opens a driver there.
func open(t testing.TB, v Variant) *Driver {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace needs root: %v", err)
	}
	return driver(t, v)
}

func driver(t testing.TB, v Variant) *Driver {
	t.Helper()
	d, err := Open(Config{Variant: v, LockFile: filepath.Join(t.TempDir(), "lock")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// countRestores counts the calls of iptables-restore from here on, refused ones too.
func countRestores(d *Driver) *int {
	n := new(int)
	d.cfg.Run = func(ctx context.Context, name string, args []string, stdin []byte, env []string) ([]byte, []byte, error) {
		if strings.HasSuffix(name, "-restore") {
			*n++
		}
		return Exec(ctx, name, args, stdin, env)
	}
	return n
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// eachKernel runs a test on both variants and families.
func eachKernel(t *testing.T, test func(t *testing.T, d *Driver, f Family)) {
	for _, v := range []Variant{NFT, Legacy} {
		for _, f := range []Family{IPv4, IPv6} {
			t.Run(fmt.Sprintf("%s/%s", v, f), func(t *testing.T) { test(t, open(t, v), f) })
		}
	}
}

// chainRules is what iptables itself says of a chain, without our marks.
func chainRules(t testing.TB, d *Driver, f Family, table, chain string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(run(t, strings.TrimSuffix(program(f, d.Variant(), ""), "-"), "-t", table, "-S", chain)) {
		rule, found := strings.CutPrefix(strings.TrimSpace(line), "-A "+chain+" ")
		if !found {
			continue
		}
		if before, after, found := strings.Cut(rule, commentOption+`"`+Mark); found {
			rule = strings.TrimSpace(before + strings.TrimPrefix(after[hashLength+1:], " "))
		}
		out = append(out, rule)
	}
	return out
}

func wantKernel(t testing.TB, d *Driver, f Family, chain string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, chainRules(t, d, f, "filter", chain)); diff != "" {
		t.Errorf("%s (-want +kernel):\n%s", chain, diff)
	}
}

func TestKernelHoldsWhatIsDesired(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		tool := strings.TrimSuffix(program(f, d.Variant(), ""), "-")
		run(t, tool, "-N", "theirs")
		run(t, tool, "-A", "FORWARD", "-j", "theirs")
		table := d.Table(f, "filter")
		desireAny(table)
		table.SetChain("felid-empty", nil)
		table.SetChain("felid-longest-name-28-letter", nil)
		table.SetChain("felid-c", []string{
			`-m comment --comment "the policy \"a\" of ns: b" -j MARK --set-xmark 0x10000/0x10000`,
			"-p tcp -m multiport --dports 80,443 -j RETURN",
			"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		})
		if res := apply(t, table); res.Writes != 1 {
			t.Errorf("%d writes", res.Writes)
		}
		wantKernel(t, d, f, "felid-a", "-p udp -j felid-b", "-j ACCEPT")
		wantKernel(t, d, f, "felid-b", "-p tcp -j DROP")
		wantKernel(t, d, f, "FORWARD", "-i fld+ -j felid-a", "-j theirs")
		wantKernel(t, d, f, "felid-c",
			`-m comment --comment "the policy \"a\" of ns: b" -j MARK --set-xmark 0x10000/0x10000`,
			"-p tcp -m multiport --dports 80,443 -j RETURN",
			"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")

		again := driver(t, d.Variant()).Table(f, "filter")
		desireAny(again)
		again.SetChain("felid-empty", nil)
		again.SetChain("felid-c", table.Rules("felid-c"))
		again.RemoveChain("felid-b")
		again.SetChain("felid-a", []string{"-j felid-c"})
		again.SetHooks("INPUT", []string{"-j felid-c"})
		again.SetHooks("FORWARD", []string{"-j felid-a"})
		if res := apply(t, again); res.Writes != 1 {
			t.Errorf("%d writes", res.Writes)
		}
		wantKernel(t, d, f, "FORWARD", "-j felid-a", "-j theirs")
		wantKernel(t, d, f, "INPUT", "-j felid-c")
		again.Forget()
		if res := apply(t, again); res.Writes != 0 || res.Repairs != 0 {
			t.Errorf("after a full read: %+v", res)
		}

		none := driver(t, d.Variant()).Table(f, "filter")
		apply(t, none)
		if left := run(t, tool+"-save"); strings.Contains(left, "felid") || !strings.Contains(left, "-A FORWARD -j theirs") {
			t.Errorf("after removal:\n%s", left)
		}
	})
}

// desireAny desires rules that either family takes.
func desireAny(t *Table) {
	t.SetChain("felid-a", []string{"-p udp -j felid-b", "-j ACCEPT"})
	t.SetChain("felid-b", []string{"-p tcp -j DROP"})
	t.SetHooks("FORWARD", []string{"-i fld+ -j felid-a"})
}

// Hooks are deleted by the text that they were written with, or were read with: the kernel takes either.
func TestKernelHooksMove(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		restores := countRestores(d)
		table := d.Table(f, "filter")
		desireAny(table)
		for _, forget := range []bool{false, true} {
			for _, hooks := range [][]string{
				{"-m conntrack --ctstate INVALID -j DROP", "! -i fld+ -m mark --mark 0x10000/0x30000 -j felid-a"},
				{"-m mark --mark 0x10000/0x30000 -m comment --comment \"a \\\"b\\\" c\" -j felid-a", "-p tcp -m multiport --dports 80,443:445 -j felid-b"},
				{"-j felid-a"},
				nil,
			} {
				table.SetHooks("FORWARD", hooks)
				if forget {
					table.Forget()
				}
				*restores = 0
				if res := apply(t, table); res.Writes != 1 || res.Repairs != 0 || *restores != 1 {
					t.Errorf("%q: %+v by %d calls", hooks, res, *restores)
				}
				wantKernel(t, d, f, "FORWARD", hooks...)
			}
		}
	})
}

// Each of these is refused by another part of the program or the kernel, with another message.
func TestKernelRefusals(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		table := d.Table(f, "filter")
		desireAny(table)
		apply(t, table)
		for what, rules := range map[string][]string{
			"option":       {"-j ACCEPT", "--no-such-option"},
			"set":          {"-j ACCEPT", "-m set --match-set felid4-missing src -j ACCEPT"},
			"chain":        {"-j ACCEPT", "-j felid-missing"},
			"kernel":       {"-j ACCEPT", "-p tcp -j CT --notrack"},
			"kernel first": {"-p tcp -j CT --notrack"},
			"loop":         {"-j felid-a"},
			"match":        {"-m nosuchmatch -j ACCEPT"},
			"protocol":     {"--dport 80 -j ACCEPT"},
		} {
			refuse(t, d, table, what, rules)
		}
	})
}

// refuse gives the kernel a bad chain among good ones. It runs on the caller's thread, which is in the namespace: t.Run would not.
func refuse(t *testing.T, d *Driver, table *Table, what string, rules []string) {
	t.Helper()
	note := "-m comment --comment " + strings.ReplaceAll(what, " ", "-")
	for i := range 12 {
		table.SetChain(fmt.Sprintf("felid-good%02d", i), []string{"-p tcp -j ACCEPT", note})
	}
	table.SetChain("felid-bad", rules)
	table.SetChain("felid-a", []string{"-p udp -j felid-bad", "-j ACCEPT"})
	bad := "felid-bad"
	res, err := table.Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if what == "loop" && res.Failed["felid-a"] != nil { // either of the two is at fault
		bad = "felid-a"
	}
	if len(res.Failed) != 1 || res.Failed[bad] == nil {
		t.Fatalf("%s: failed: %v", what, res.Failed)
	}
	wantKernel(t, d, table.Family(), bad, "-j DROP")
	wantKernel(t, d, table.Family(), "felid-good11", "-p tcp -j ACCEPT", note)
	t.Logf("%s: %d writes; %v", what, res.Writes, res.Failed[bad])
	table.RemoveChain("felid-bad")
	table.SetChain("felid-a", []string{"-p udp -j felid-b", "-j ACCEPT"})
	apply(t, table)
	wantKernel(t, d, table.Family(), "felid-a", "-p udp -j felid-b", "-j ACCEPT")
}

// One missing set costs one failed call, however many chains use it.
func TestKernelSetThatManyChainsUse(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		calls := countRestores(d)
		table := d.Table(f, "filter")
		var users []string
		for i := range 300 {
			name := fmt.Sprintf("felid-user%03d", i)
			users = append(users, name)
			table.SetChain(name, []string{"-m set --match-set felid4-missing src -j ACCEPT"})
		}
		desireAny(table)
		apply(t, table, users...)
		wantKernel(t, d, f, "felid-user299", "-j DROP")
		wantKernel(t, d, f, "felid-a", "-p udp -j felid-b", "-j ACCEPT")
		if *calls != 2 {
			t.Errorf("%d calls", *calls)
		}
		run(t, "ipset", "create", "felid4-missing", "hash:net", "family", map[Family]string{IPv4: "inet", IPv6: "inet6"}[f])
		table.Retry()
		if res := apply(t, table); res.Writes != 1 {
			t.Errorf("%+v", res)
		}
		wantKernel(t, d, f, "felid-user299", "-m set --match-set felid4-missing src -j ACCEPT")
	})
}

// While somebody else holds the lock nothing is written and nobody is blamed.
func TestKernelLockIsBusy(t *testing.T) {
	d := open(t, Legacy)
	d.cfg.LockWait = time.Second
	lock, err := os.Create(d.cfg.LockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	table := d.Table(IPv4, "filter")
	desireAny(table)
	if res, err := table.Apply(context.Background()); err == nil || len(res.Failed) > 0 || !strings.Contains(err.Error(), "xtables lock") {
		t.Errorf("%+v, %v", res, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	apply(t, table)
	wantKernel(t, d, IPv4, "felid-b", "-p tcp -j DROP")
}

// A table that can't be read is not taken for an empty one; other tables and the choice go on.
func TestKernelTableThatCantBeRead(t *testing.T) {
	d := open(t, NFT)
	table, raw := d.Table(IPv4, "filter"), d.Table(IPv4, "raw")
	desireAny(table)
	apply(t, table)
	run(t, "nft", "add rule ip filter FORWARD ct bytes > 100 drop")
	if drifted, err := d.Drifted(); err != nil || len(drifted) != 1 {
		t.Fatalf("drifted: %v, %v", drifted, err)
	}
	if _, err := table.ReadBack(context.Background()); err == nil || !strings.Contains(err.Error(), "nft") {
		t.Errorf("read back: %v", err)
	}
	table.SetChain("felid-b", nil) // what is known still serves
	apply(t, table)
	raw.SetChain("felid-x", nil)
	apply(t, raw)
	again, _, err := OpenDetected(context.Background(), d.cfg)
	if err != nil {
		t.Fatal(err)
	}
	table = again.Table(IPv4, "filter")
	desireAny(table)
	if res, err := table.Apply(context.Background()); err == nil || res.Writes > 0 {
		t.Errorf("%+v, %v", res, err)
	}
	run(t, "nft", "flush chain ip filter FORWARD")
	apply(t, table)
	wantKernel(t, again, IPv4, "FORWARD", "-i fld+ -j felid-a")
}

// Chains of nat that are refused are empty: the program takes no drop there.
func TestKernelRefusalInNAT(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		table := d.Table(f, "nat")
		table.SetChain("felid-nat", []string{"-j MASQUERADE"})
		table.SetChain("felid-bad", []string{"-j DROP"})
		table.SetHooks("POSTROUTING", []string{"-j felid-nat", "-j felid-bad"})
		apply(t, table, "felid-bad")
		if got := chainRules(t, d, f, "nat", "felid-nat"); !slices.Equal(got, []string{"-j MASQUERADE"}) {
			t.Errorf("felid-nat holds %q", got)
		}
	})
}

func TestKernelDriftIsSeenAndRepaired(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		tool := strings.TrimSuffix(program(f, d.Variant(), ""), "-")
		table, raw := d.Table(f, "filter"), d.Table(f, "raw")
		desireAny(table)
		raw.SetChain("felid-raw", []string{"-j RETURN"})
		raw.SetHooks("PREROUTING", []string{"-j felid-raw"})
		apply(t, table)
		apply(t, raw)
		for _, drift := range [][]string{
			{"-F", "FORWARD"},
			{"-I", "FORWARD", "-j", "ACCEPT"},
			{"-I", "felid-a", "-j", "ACCEPT"},
			{"-D", "felid-a", "1"},
			{"-R", "felid-b", "1", "-p", "tcp", "-j", "ACCEPT"},
			{"-F"},
			{"-N", "felid-foreign"},
		} {
			if drifted, err := d.Drifted(); err != nil || len(drifted) > 0 {
				t.Fatalf("before %v: %v, %v", drift, drifted, err)
			}
			run(t, tool, drift...)
			drifted, err := d.Drifted()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(drifted, table) {
				// The legacy sign is the layout: a rule replaced by one of the same size is left to the full read.
				if d.Variant() != Legacy || drift[0] != "-R" {
					t.Fatalf("%v is not seen", drift)
				}
				drifted = append(drifted, table)
			}
			for _, each := range drifted {
				rb, err := each.ReadBack(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if !each.Reconcile(rb) {
					t.Fatal("Reconcile took nothing in")
				}
			}
			if res := apply(t, table); res.Repairs == 0 {
				t.Errorf("%v: %+v", drift, res)
			}
			if res := apply(t, raw); res.Writes != 0 {
				t.Errorf("%v: table raw was written", drift)
			}
			wantKernel(t, d, f, "felid-a", "-p udp -j felid-b", "-j ACCEPT")
			wantKernel(t, d, f, "felid-b", "-p tcp -j DROP")
			if got := chainRules(t, d, f, "filter", "FORWARD"); len(got) == 0 || got[0] != "-i fld+ -j felid-a" {
				t.Errorf("FORWARD: %q", got)
			}
		}
	})
}

func TestKernelDetect(t *testing.T) {
	d := open(t, NFT)
	want := func(v Variant) {
		t.Helper()
		got, reason, err := Detect(context.Background(), d.cfg)
		if err != nil || got != v {
			t.Errorf("%s (%s), %v; want %s", got, reason, err, v)
		}
		t.Log(got, reason)
	}
	want(NFT)
	for _, names := range []string{"ip_tables_names", "ip6_tables_names"} {
		if inUse, err := os.ReadFile("/proc/thread-self/net/" + names); len(inUse) > 0 || err != nil && !os.IsNotExist(err) {
			t.Errorf("looking has made legacy tables: %s, %v", inUse, err)
		}
	}
	run(t, "ip6tables-legacy", "-A", "FORWARD", "-j", "ACCEPT")
	want(Legacy)
	run(t, "iptables-nft", "-t", "mangle", "-N", "KUBE-KUBELET-CANARY")
	run(t, "iptables-nft", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")
	want(NFT)
	legacy := driver(t, Legacy).Table(IPv4, "filter")
	legacy.SetChain("felid-a", nil)
	apply(t, legacy)
	want(Legacy)
}

// What was read to choose the variant serves the first applies, unless somebody has written since.
func TestKernelSurveyIsReadOnlyOnce(t *testing.T) {
	for _, v := range []Variant{NFT, Legacy} {
		open(t, v)
		saves := 0
		cfg := Config{LockFile: filepath.Join(t.TempDir(), "lock")}
		cfg.Run = func(ctx context.Context, name string, args []string, stdin []byte, env []string) ([]byte, []byte, error) {
			if strings.HasSuffix(name, "-save") {
				saves++
			}
			return Exec(ctx, name, args, stdin, env)
		}
		before := driver(t, v)
		for _, name := range []string{"filter", "raw"} {
			table := before.Table(IPv4, name)
			table.SetChain("felid-x", []string{"-j RETURN"})
			apply(t, table)
		}
		d, reason, err := OpenDetected(context.Background(), cfg)
		if err != nil || d.Variant() != v {
			t.Fatalf("%v (%s), %v; want %s", d, reason, err, v)
		}
		if saves != 4 {
			t.Errorf("%s: %d saves for the choice, want one a variant and family", v, saves)
		}
		filter, raw := d.Table(IPv4, "filter"), d.Table(IPv4, "raw")
		for _, table := range []*Table{filter, raw} {
			table.SetChain("felid-x", []string{"-j RETURN"})
		}
		if res := apply(t, filter); res.Writes != 0 || saves != 4 {
			t.Errorf("%s: %+v, %d saves", v, res, saves)
		}
		run(t, "iptables-"+string(v), "-t", "raw", "-A", "PREROUTING", "-j", "felid-x")
		if res := apply(t, raw); res.Writes != 0 || saves != 5 {
			t.Errorf("%s: after a foreign write: %+v, %d saves", v, res, saves)
		}
		if drifted, err := d.Drifted(); err != nil || (v == Legacy) != (len(drifted) == 0) {
			t.Errorf("%s: drifted %v, %v", v, drifted, err)
		}
	}
}

func TestExecTimeoutAndEnvironment(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Exec(ctx, "sleep", []string{"60"}, nil, nil); err == nil {
		t.Error("a process outlived its context")
	}
	out, _, err := Exec(context.Background(), "sh", []string{"-c", "cat; echo $XTABLES_LOCKFILE $LC_ALL"}, []byte("in "), []string{"XTABLES_LOCKFILE=/x"})
	if err != nil || string(out) != "in /x C\n" {
		t.Errorf("%q, %v", out, err)
	}
}
