package main

import (
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felid-net/felid/internal/preflight"
)

// TestSavedRulesNeedsRoot: of both variants and families, in a network namespace that ends with the test's thread.
func TestSavedRulesNeedsRoot(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace of its own: %v; run as root", err)
	}
	want := map[string]string{"iptables-nft": "cali-FORWARD", "ip6tables-nft": "cali-six", "iptables-legacy": "AZURE-NPM", "ip6tables-legacy": "felid-mine"}
	for program, chain := range want {
		if out, err := exec.Command(program, "-N", chain).CombinedOutput(); err != nil {
			t.Fatalf("%s -N %s: %v\n%s", program, chain, err, out)
		}
	}
	text, err := savedRules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chains := preflight.Chains(text)
	for program, chain := range want {
		if !slices.Contains(chains, chain) {
			t.Errorf("no %s of %s in %q", chain, program, chains)
		}
	}
	if findings := preflight.JudgeHost(&preflight.Host{Node: "one", Chains: chains}, false); len(findings) != 2 || !preflight.Refused(findings) {
		t.Errorf("%+v", findings)
	}
}
