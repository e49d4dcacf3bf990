package config

import (
	"runtime"
	"strings"
	"testing"
)

func loadOn(goos string, env map[string]string) (*Config, error) {
	c, _, err := load(nil, func(key string) (string, bool) { v, ok := env[key]; return v, ok }, readFields(goos))
	return c, err
}

func TestDefaultsOnWindows(t *testing.T) {
	c, err := loadOn("windows", map[string]string{"FELID_NODE": "n1"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Socket != `\\.\pipe\felid` || c.StateDir != `C:\ProgramData\felid` || c.Network != "guest" || c.PolicyChangeAction != "Continue" {
		t.Errorf("%+v", c)
	}
	if c, err = loadOn("linux", map[string]string{"FELID_NODE": "n1"}); err != nil || c.Socket != "/run/felid/cni.sock" || c.StateDir != "/var/lib/felid" || c.Network != "owner" {
		t.Errorf("on Linux: %+v, %v", c, err)
	}
}

// TestLoadOnlyForAgent: what an agent would have differs from what an operator's command takes for granted.
func TestLoadOnlyForAgent(t *testing.T) {
	for goos, want := range map[string]string{"linux": "owner", "windows": "guest", "": "owner"} {
		if c, err := loadOnly(nil, noEnv, readFields(goos), []string{"network"}); err != nil || c.Network != want {
			t.Errorf("on %q: %q, %v", goos, c.Network, err)
		}
	}
}

// TestLoadHere: what this system's agents have by default is valid, and what they may not set has a flag all the same, which is refused.
func TestLoadHere(t *testing.T) {
	if _, _, err := Load(parse(t, "--node=n1"), noEnv); err != nil {
		t.Error(err)
	}
	if _, _, err := Load(parse(t, "--node=n1", "--deny-events"), noEnv); (err != nil) != (runtime.GOOS != "linux") {
		t.Error(err)
	}
}

// TestWhatIsOfLinuxAlone: what would have no effect on Windows is refused there, unless it is as it is anyway; and the reverse never happens.
func TestWhatIsOfLinuxAlone(t *testing.T) {
	for variable, text := range map[string]string{
		"FELID_IPTABLES_BACKEND": "legacy", "FELID_IPTABLES_LOCK_FILE": "/run/lock", "FELID_MARK_MASK": "0xff000000", "FELID_LOG_GROUP": "7",
		"FELID_LOG_RATE_LIMIT": "10/second", "FELID_LOG_RATE_BURST": "9", "FELID_LOG_VERDICTS": "true", "FELID_DENY_EVENTS": "true", "FELID_DENY_EVENT_GROUP": "9",
		"FELID_POLICY_CHANGE_ACTION": "CutDenied", "FELID_INTERFACE_PREFIX": "azv", "FELID_MTU": "1400", "FELID_FAILSAFE_INBOUND": "none", "FELID_FAILSAFE_OUTBOUND": "none",
	} {
		env := map[string]string{"FELID_NODE": "n1", variable: text}
		if _, err := loadOn("linux", env); err != nil {
			t.Errorf("on Linux: %v", err)
		}
		_, err := loadOn("windows", env)
		if err == nil || !strings.Contains(err.Error(), "has a meaning on linux alone") || !strings.Contains(err.Error(), text) {
			t.Errorf("%s=%s on Windows: %v", variable, text, err)
		}
	}
	if _, err := loadOn("windows", map[string]string{"FELID_NODE": "n1", "FELID_DENY_EVENTS": "false", "FELID_IPTABLES_BACKEND": "auto"}); err != nil {
		t.Error(err)
	}
	if _, err := loadOn("windows", map[string]string{"FELID_NODE": "n1", "FELID_NETWORK": "owner"}); err == nil || !strings.Contains(err.Error(), `network (from environment): "owner" is not valid; valid: guest`) {
		t.Errorf("owner on Windows: %v", err)
	}
}
