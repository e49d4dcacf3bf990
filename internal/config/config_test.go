package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func noEnv(string) (string, bool) { return "", false }

func parse(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	Flags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return set
}

// loadLinux is Load as an agent on Linux has it, wherever the test runs.
func loadLinux(set *pflag.FlagSet, env func(string) (string, bool)) (*Config, []Value, error) {
	return load(set, env, readFields("linux"))
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "felid.yaml")
	if err := os.WriteFile(file, []byte("node: from-file\nmtu: 1400\nipv6: false\ndriftInterval: 7s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(key string) (string, bool) {
		v, ok := map[string]string{"FELID_MTU": "1420", "FELID_INTERFACE_PREFIX": "env"}[key]
		return v, ok
	}
	c, values, err := loadLinux(parse(t, "--config", file, "--interface-prefix=flag"), env)
	if err != nil {
		t.Fatal(err)
	}
	if c.Node != "from-file" || c.MTU != 1420 || c.InterfacePrefix != "flag" || c.IPv6 || c.DriftInterval != 7*time.Second {
		t.Errorf("got %+v", c)
	}
	want := map[string]string{"node": fromFile, "mtu": fromEnv, "interfacePrefix": fromFlag, "socket": fromDefault}
	for _, v := range values {
		if source, ok := want[v.Key]; ok && v.Source != source {
			t.Errorf("%s came from %s, want %s", v.Key, v.Source, source)
		}
	}
	var out bytes.Buffer
	Print(&out, values)
	if !strings.Contains(out.String(), `mtu:              "1420"                   # environment`) {
		t.Errorf("printed:\n%s", out.String())
	}
}

func TestAllFaultsAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "felid.yaml")
	if err := os.WriteFile(file, []byte("nod: x\nmtu: [1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := loadLinux(parse(t, "--config", file, "--ipv6=perhaps", "--iptables-backend=pf", "--drift-interval=often"), noEnv)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"felid.yaml:1: nod: unknown key", "felid.yaml:2: mtu: not a single value", `ipv6 (from flag): "perhaps"`,
		`iptablesBackend (from flag): "pf" is not valid; valid: auto, nft, legacy`, "driftInterval (from flag)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, args := range [][]string{
		{"--node=UPPER"}, {"--interface-prefix="}, {"--mtu=100"}, {"--mark-mask=0x7"}, {"--mark-mask=many"},
		{"--log-group=0"}, {"--log-rate-limit=10"}, {"--log-rate-limit=0/second"}, {"--log-rate-limit=1/day"}, {"--log-rate-burst=0"}, {"--listen=nowhere"}, {"--drift-interval=1ms"},
	} {
		if _, _, err := loadLinux(parse(t, append([]string{"--node=n"}, args...)...), noEnv); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	if _, _, err := loadLinux(parse(t, "--node=n1.example", "--log-rate-limit=10/second"), noEnv); err != nil {
		t.Error(err)
	}
}

func TestLoadOnlyLooksAtItsKeysAlone(t *testing.T) {
	env := func(key string) (string, bool) {
		v, ok := map[string]string{"FELID_NODE": "NOT a node", "FELID_MTU": "many", "FELID_DATASTORE": "local:/x"}[key]
		return v, ok
	}
	c, err := LoadOnly(nil, env, "datastore")
	if err != nil || c.Datastore != "local:/x" || c.Node != "" {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := LoadOnly(nil, env, "datastore", "mtu"); err == nil {
		t.Error("mtu was asked for, and is wrong")
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("node: a\nmtu: 1400\n"))
	f.Add([]byte("node: [a]\n? b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, errs := parseFile("f", data)
		for key := range values {
			if !strings.Contains(strings.Join(keys(), " "), key) {
				t.Errorf("unknown key %q accepted (%v)", key, errs)
			}
		}
	})
}
