package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func openTwin(t testing.TB, w *Twin) *Driver {
	t.Helper()
	d, err := Open(Config{Variant: NFT, Run: w.Run, Sign: w.Sign})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// apply wants no error and exactly these failures.
func apply(t testing.TB, table *Table, failed ...string) Result {
	t.Helper()
	res, err := table.Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(failed, slices.Sorted(maps.Keys(res.Failed))); diff != "" {
		t.Fatalf("failed (-want +got):\n%s\n%v", diff, res.Failed)
	}
	return res
}

// bare is the rules of a chain without marks.
func bare(rules []string) []string {
	var out []string
	for _, r := range rules {
		if before, after, marked := strings.Cut(r, commentOption+Mark); marked {
			_, after, _ = strings.Cut(after, " ")
			r = strings.TrimSpace(before + after)
		}
		out = append(out, r)
	}
	return out
}

func wantChain(t testing.TB, w *Twin, chain string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, bare(w.Chain(IPv4, "filter", chain))); diff != "" {
		t.Errorf("%s (-want +kernel):\n%s", chain, diff)
	}
}

func desire(table *Table) {
	table.SetChain("felid-a", []string{"-s 10.0.0.0/8 -j felid-b", "-j ACCEPT"})
	table.SetChain("felid-b", []string{"-p tcp -j DROP"})
	table.SetHooks("FORWARD", []string{"-i fld+ -j felid-a", "-o fld+ -j felid-a"})
}

func TestApplyWritesOnceAndThenNotAtAll(t *testing.T) {
	w := &Twin{}
	w.Insert(IPv4, "filter", "FORWARD", "-j theirs")
	table := openTwin(t, w).Table(IPv4, "filter")
	desire(table)
	if res := apply(t, table); res.Writes != 1 || w.Restores != 1 {
		t.Errorf("%d writes", res.Writes)
	}
	wantChain(t, w, "felid-a", "-s 10.0.0.0/8 -j felid-b", "-j ACCEPT")
	wantChain(t, w, "felid-b", "-p tcp -j DROP")
	wantChain(t, w, "FORWARD", "-i fld+ -j felid-a", "-o fld+ -j felid-a", "-j theirs")
	if res := apply(t, table); res.Writes != 0 || table.Pending() {
		t.Errorf("%d writes with nothing to do", res.Writes)
	}

	again := openTwin(t, w).Table(IPv4, "filter")
	desire(again)
	if res := apply(t, again); res.Writes != 0 || res.Repairs != 0 {
		t.Errorf("an agent without memory: %+v", res)
	}
	again.RemoveChain("felid-b")
	again.RemoveChain("felid-a")
	again.SetHooks("FORWARD", nil)
	apply(t, again)
	if got := w.save("iptables", nil); strings.Contains(got, "felid") || !strings.Contains(got, "-j theirs") {
		t.Errorf("after removal:\n%s", got)
	}
}

func TestRefusedChainDropsAndTheRestGoesIn(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprintf("blind=%v", blind), func(t *testing.T) {
			w := &Twin{Sets: map[string]bool{}, Blind: blind}
			table := openTwin(t, w).Table(IPv4, "filter")
			desire(table)
			apply(t, table)
			for i := range 20 {
				table.SetChain(fmt.Sprintf("felid-good%02d", i), []string{"-j ACCEPT"})
			}
			table.SetChain("felid-a", []string{"-j felid-good07", "-j felid-new"})
			table.SetChain("felid-new", []string{"-j ACCEPT", "-m set --match-set later src -j ACCEPT"})
			table.SetChain("felid-bogus", []string{"--bogus"})
			table.RemoveChain("felid-b")
			apply(t, table, "felid-bogus", "felid-new")
			wantChain(t, w, "felid-new", "-j DROP")
			wantChain(t, w, "felid-bogus", "-j DROP")
			wantChain(t, w, "felid-a", "-j felid-good07", "-j felid-new")
			wantChain(t, w, "felid-good07", "-j ACCEPT")

			before := w.Restores
			if res := apply(t, table, "felid-bogus", "felid-new"); res.Writes != 0 || w.Restores != before {
				t.Errorf("wrote although nothing changed: %+v", res)
			}
			w.Sets["later"] = true
			apply(t, table, "felid-bogus", "felid-new") // nobody asked to try again
			table.Retry()
			apply(t, table, "felid-bogus")
			wantChain(t, w, "felid-new", "-j ACCEPT", "-m set --match-set later src -j ACCEPT")
			table.SetChain("felid-bogus", []string{"-j RETURN"})
			apply(t, table)
			wantChain(t, w, "felid-bogus", "-j RETURN")
		})
	}
}

func TestRefusedHooksStayAsTheyWere(t *testing.T) {
	for _, blind := range []bool{false, true} {
		w := &Twin{Blind: blind}
		table := openTwin(t, w).Table(IPv4, "filter")
		desire(table)
		apply(t, table)
		table.SetHooks("FORWARD", []string{"-j felid-missing"})
		table.SetChain("felid-c", []string{"-j ACCEPT"})
		apply(t, table, "FORWARD")
		if table.Pending() {
			t.Error("what is refused is pending")
		}
		wantChain(t, w, "FORWARD", "-i fld+ -j felid-a", "-o fld+ -j felid-a")
		wantChain(t, w, "felid-c", "-j ACCEPT")
		table.SetChain("felid-missing", nil)
		table.Retry()
		apply(t, table)
		wantChain(t, w, "FORWARD", "-j felid-missing")
	}
}

// A chain that a foreign rule jumps to can't go: that is said, and does not hold up the rest.
func TestChainThatIsNotLetGo(t *testing.T) {
	w := &Twin{}
	table := openTwin(t, w).Table(IPv4, "filter")
	desire(table)
	apply(t, table)
	w.Insert(IPv4, "filter", "INPUT", "-j felid-b")
	table.SetChain("felid-a", []string{"-j ACCEPT"})
	table.RemoveChain("felid-b")
	apply(t, table, "felid-b")
	wantChain(t, w, "felid-a", "-j ACCEPT")
	table.SetChain("felid-b", []string{"-p tcp -j DROP"})
	if res := apply(t, table); res.Writes != 0 {
		t.Errorf("%+v", res)
	}
}

func TestDriftIsRepaired(t *testing.T) {
	w := &Twin{}
	d := openTwin(t, w)
	table, nat := d.Table(IPv4, "filter"), d.Table(IPv4, "nat")
	desire(table)
	nat.SetChain("felid-n", nil)
	apply(t, table)
	apply(t, nat)
	chains := w.table("iptables", "filter").rules
	for what, drift := range map[string]func(){
		"rule gone":              func() { chains["felid-a"] = chains["felid-a"][:1] },
		"first rule gone":        func() { chains["felid-a"] = chains["felid-a"][1:] },
		"foreign rule":           func() { chains["felid-b"] = append(chains["felid-b"], "-j ACCEPT") },
		"foreign rule instead":   func() { chains["felid-a"][1] = "-j DROP" },
		"order":                  func() { slices.Reverse(chains["felid-a"]) },
		"chain gone":             func() { delete(chains, "felid-b"); chains["felid-a"] = nil },
		"chain of ours too many": func() { chains["felid-z"] = nil },
		"hook gone":              func() { chains["FORWARD"] = chains["FORWARD"][1:] },
		"hook not first":         func() { chains["FORWARD"] = slices.Insert(chains["FORWARD"], 0, "-j ACCEPT") },
		"hook twice":             func() { chains["FORWARD"] = append(chains["FORWARD"], chains["FORWARD"][0]) },
		"hook elsewhere":         func() { chains["INPUT"] = append(chains["INPUT"], chains["FORWARD"][0]) },
	} {
		t.Run(what, func(t *testing.T) {
			if drifted, err := d.Drifted(); err != nil || len(drifted) > 0 {
				t.Fatalf("before: %v, %v", drifted, err)
			}
			drift()
			w.generation++
			drifted, err := d.Drifted()
			if err != nil || len(drifted) != 2 {
				t.Fatalf("drifted: %v, %v", drifted, err)
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
			if res := apply(t, table); res.Repairs != 1 && what != "chain gone" {
				t.Errorf("%+v", res)
			}
			chains = w.table("iptables", "filter").rules
			wantChain(t, w, "felid-a", "-s 10.0.0.0/8 -j felid-b", "-j ACCEPT")
			wantChain(t, w, "felid-b", "-p tcp -j DROP")
			if got := bare(chains["FORWARD"])[:2]; !slices.Equal(got, []string{"-i fld+ -j felid-a", "-o fld+ -j felid-a"}) {
				t.Errorf("FORWARD: %q", got)
			}
			if _, there := chains["felid-z"]; there || len(bare(chains["INPUT"])) > 0 {
				t.Error("something of ours is left over")
			}
			chains["FORWARD"] = chains["FORWARD"][:2]
		})
	}
}

// TestIdleTablesAreOthers: a table in which nothing of ours is or should be is not read again for what others do, and is once something is.
func TestIdleTablesAreOthers(t *testing.T) {
	w := &Twin{}
	d := openTwin(t, w)
	table, raw := d.Table(IPv4, "filter"), d.Table(IPv4, "raw")
	desire(table)
	apply(t, table)
	apply(t, raw)
	w.generation++
	if drifted, err := d.Drifted(); err != nil || !slices.Equal(drifted, []*Table{table}) {
		t.Errorf("idle: %v, %v", drifted, err)
	}
	raw.SetChain("felid-r", nil)
	apply(t, raw)
	w.generation++
	if drifted, err := d.Drifted(); err != nil || !slices.Equal(drifted, []*Table{table, raw}) {
		t.Errorf("in use: %v, %v", drifted, err)
	}
	raw.RemoveChain("felid-r")
	apply(t, raw)
	if drifted, err := d.Drifted(); err != nil || !slices.Equal(drifted, []*Table{table}) {
		t.Errorf("idle again: %v, %v", drifted, err)
	}
}

func TestReadBackIsDiscardedAfterAWrite(t *testing.T) {
	w := &Twin{}
	table := openTwin(t, w).Table(IPv4, "filter")
	desire(table)
	rb, err := table.ReadBack(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, table)
	if table.Reconcile(rb) {
		t.Error("an outdated read was taken in")
	}
}

// A foreign write just before or after our own is not taken for ours.
func TestForeignWriteBesideOurOwnIsSeen(t *testing.T) {
	w := &Twin{}
	cfg := Config{Variant: NFT, Sign: w.Sign}
	foreign := false
	cfg.Run = func(ctx context.Context, name string, args []string, stdin []byte, env []string) ([]byte, []byte, error) {
		if foreign && strings.HasSuffix(name, "-restore") {
			w.Insert(IPv4, "filter", "FORWARD", "-j ACCEPT")
		}
		return w.Run(ctx, name, args, stdin, env)
	}
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	table, nat := d.Table(IPv4, "filter"), d.Table(IPv4, "nat")
	desire(table)
	nat.SetChain("felid-n", nil)
	apply(t, table)
	apply(t, nat)
	if drifted, err := d.Drifted(); err != nil || len(drifted) > 0 {
		t.Fatalf("after our own writes: %v, %v", drifted, err)
	}
	foreign = true
	table.SetChain("felid-b", nil)
	apply(t, table)
	if drifted, err := d.Drifted(); err != nil || len(drifted) != 2 {
		t.Errorf("after a foreign write: %v, %v", drifted, err)
	}
}

// Somebody removes a hook after it was read: -D fails, the table is read again, and it comes right in the same Apply.
func TestStaleKnowledge(t *testing.T) {
	w := &Twin{}
	table := openTwin(t, w).Table(IPv4, "filter")
	desire(table)
	apply(t, table)
	w.table("iptables", "filter").rules["FORWARD"] = nil
	table.SetHooks("FORWARD", []string{"-j felid-a"})
	apply(t, table)
	wantChain(t, w, "FORWARD", "-j felid-a")
}

func TestErrorsOfTheProgram(t *testing.T) {
	failure := errors.New("no such file")
	run := func(context.Context, string, []string, []byte, []string) ([]byte, []byte, error) {
		return nil, nil, failure
	}
	d, err := Open(Config{Variant: Legacy, Run: run, Sign: (&Twin{}).Sign})
	if err != nil {
		t.Fatal(err)
	}
	table := d.Table(IPv6, "mangle")
	desire(table)
	if _, err := table.Apply(context.Background()); !errors.Is(err, failure) || !strings.Contains(err.Error(), "ipv6 table mangle") {
		t.Errorf("error %v", err)
	}
	if !table.Pending() {
		t.Error("not pending after an error")
	}
	if _, err := Open(Config{Variant: "iptables"}); err == nil {
		t.Error("an unknown variant is taken")
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		nft, legacy Use
		want        Variant
	}{
		{Use{}, Use{}, NFT},
		{Use{Others: 1}, Use{}, NFT},
		{Use{}, Use{Others: 1}, Legacy},
		{Use{Others: 3}, Use{Others: 3}, NFT},
		{Use{Others: 3}, Use{Others: 4}, Legacy},
		{Use{Ours: 1}, Use{Others: 100}, NFT},
		{Use{Others: 100}, Use{Ours: 1}, Legacy},
		{Use{Ours: 1, Others: 1}, Use{Ours: 1, Others: 2}, Legacy},
	} {
		if got, reason := Choose(c.nft, c.legacy); got != c.want || reason == "" {
			t.Errorf("nft %v, legacy %v: %s (%s), want %s", c.nft, c.legacy, got, reason, c.want)
		}
	}
}

// Whatever is desired in whatever order, with whatever foreign hands between: the kernel holds it in the end, and foreign rules stay.
func TestApplyEqualsDesired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Twin{Blind: rapid.Bool().Draw(t, "blind")}
		table := openTwin(&testing.T{}, w).Table(IPv4, "filter")
		want := map[string][]string{}
		name := rapid.SampledFrom([]string{"felid-a", "felid-b", "felid-c", "felid-d"})
		rule := rapid.SampledFrom([]string{"-j ACCEPT", "-s 10.0.0.0/8", "-p tcp -j DROP"})
		rules := rapid.SliceOfN(rule, 0, 4)
		foreign := 0
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n, r := name.Draw(t, "name"), rules.Draw(t, "rules")
				table.SetChain(n, r)
				want[n] = r
			},
			"remove": func(t *rapid.T) {
				n := name.Draw(t, "name")
				table.RemoveChain(n)
				delete(want, n)
			},
			"hook": func(t *rapid.T) {
				r := rules.Draw(t, "rules")
				table.SetHooks("FORWARD", r)
				want["FORWARD"] = r
			},
			"foreign": func(t *rapid.T) {
				w.Insert(IPv4, "filter", "FORWARD", "-j theirs")
				foreign++
				table.Forget()
			},
			"apply": func(t *rapid.T) {
				if res, err := table.Apply(context.Background()); err != nil || len(res.Failed) > 0 {
					t.Fatal(res, err)
				}
				for _, n := range []string{"felid-a", "felid-b", "felid-c", "felid-d", "FORWARD"} {
					got := bare(w.Chain(IPv4, "filter", n))
					if n == "FORWARD" {
						for range foreign {
							if len(got) == 0 || got[len(got)-1] != "-j theirs" {
								t.Fatalf("foreign rules are lost: %q", got)
							}
							got = got[:len(got)-1]
						}
					}
					if !slices.Equal(got, want[n]) {
						t.Fatalf("%s holds %q, want %q", n, got, want[n])
					}
				}
			},
		})
	})
}

// TestMarkStandsBeforeTheTarget, wherever the matches end.
func TestMarkStandsBeforeTheTarget(t *testing.T) {
	for rule, want := range map[string]string{
		"-j DROP":              "MARK -j DROP",
		"-i cali-j -g felid-x": "-i cali-j MARK -g felid-x",
		"-i x-g -m mark --mark 0x1/0x1 -j NFLOG --nflog-prefix \"a -j b\"": "-i x-g -m mark --mark 0x1/0x1 MARK -j NFLOG --nflog-prefix \"a -j b\"",
		"-p tcp": "-p tcp MARK",
		"":       "MARK",
	} {
		want = strings.Replace(want, "MARK", string(appendMark(nil, 7)), 1)
		got := appendMarked(nil, rule, 7)
		if hash, marked := markOf(got); string(got) != want || !marked || hash != 7 {
			t.Errorf("%q: %q, read back as %d, %v; want %q", rule, got, hash, marked, want)
		}
	}
}

// TestRefusedEditsAreWrittenWhole: where the kernel's chain is not as it was believed to be, and nothing has told so, the chain comes right all the
// same.
func TestRefusedEditsAreWrittenWhole(t *testing.T) {
	w := &Twin{}
	table := openTwin(t, w).Table(IPv4, "filter")
	before := []string{"-s 10.0.0.1/32", "-s 10.0.0.2/32", "-s 10.0.0.3/32", "-s 10.0.0.4/32", "-j DROP"}
	table.SetChain("felid-x", before)
	apply(t, table)
	rules := w.table("iptables", "filter").rules
	rules["felid-x"] = rules["felid-x"][:2]
	after := slices.Insert(slices.Clone(before), 4, "-p tcp")
	table.SetChain("felid-x", after)
	if p, err := table.next(); err != nil || len(p.edits) != 1 || len(p.write) != 0 {
		t.Fatalf("%d edits, %d chains, %v", len(p.edits), len(p.write), err)
	}
	apply(t, table)
	wantChain(t, w, "felid-x", after...)
}

// TestEdits: an edit leads from any list of rules to any other.
func TestEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := rapid.SliceOfN(rapid.SampledFrom([]string{"-j ACCEPT\n", "-s 10.0.0.0/8\n", "-p tcp -j DROP\n"}), 0, 6)
		old, now := lists.Draw(t, "old"), lists.Draw(t, "new")
		e := newEdit("felid-x", old, now)
		w := &Twin{}
		x := w.table("iptables", "filter")
		x.rules["felid-x"] = nil
		for _, rule := range old {
			x.rules["felid-x"] = append(x.rules["felid-x"], rule[:len(rule)-1])
		}
		text := e.append(nil)
		if len(text) > e.size() || strings.Count(string(text), "\n") != e.lines() {
			t.Errorf("%d bytes, size says %d; %d lines said:\n%s", len(text), e.size(), e.lines(), text)
		}
		for line := range strings.Lines(string(text)) {
			if !w.line(x, "filter", line[:len(line)-1]) {
				t.Fatalf("refused: %s", line)
			}
		}
		if got, want := bare(x.rules["felid-x"]), strings.Split(strings.Join(now, ""), "\n"); !slices.Equal(got, want[:len(want)-1]) {
			t.Errorf("%q, want %q", got, now)
		}
	})
}
