package cnitest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginIsSmall: it is read from disk for every pod.
func TestPluginIsSmall(t *testing.T) {
	info, err := os.Stat(filepath.Join(Plugin(t), "felid-cni"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 5<<20 {
		t.Errorf("felid-cni has %d bytes, want at most 5 MB", info.Size())
	}
}

// call runs the plugin under a name, and returns what it printed and whether it ended well.
func call(t *testing.T, name, stdin string, env ...string) (out string, ok bool) {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(filepath.Join(Plugin(t), "felid-cni"), link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link)
	cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
	text, err := cmd.Output()
	return string(text), err == nil
}

func TestPluginAlone(t *testing.T) {
	config := `{"cniVersion":"1.0.0","name":"n","type":"felid-cni","socket":"/nonexistent/s"}`
	add := []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_NETNS=/run/netns/x", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin"}
	tests := []struct {
		name, program, stdin string
		env                  []string
		ok                   bool
		says                 string
	}{
		{"version", "felid-cni", "", []string{"CNI_COMMAND=VERSION"}, true, `"supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]`},
		{"agent away", "felid-cni", config, add, false, `{"cniVersion":"1.0.0","code":11,`},
		{"gate, agent away", "felid-cni", strings.Replace(config, "}", `,"mode":"gate"}`, 1), add, false, `"code":11,`},
		{"DEL of a gate, agent away", "felid-cni", strings.Replace(config, "}", `,"mode":"gate"}`, 1), append([]string{"CNI_COMMAND=DEL"}, add[1:]...), true, ""},
		{"as IPAM plugin", "felid-ipam", config, add, false, `"code":100,"msg":"felid-ipam: acting as the IPAM plugin of another network plugin is not supported`},
		{"unknown version", "felid-cni", `{"cniVersion":"7.0.0","name":"n"}`, add, false, `"code":1,`},
		{"not JSON", "felid-cni", `{`, add, false, `"code":6,`},
		{"unknown key", "felid-cni", `{"cniVersion":"1.0.0","name":"n","mut":1}`, add, false, `unknown key \"mut\"`},
		{"no container", "felid-cni", config, add[:1], false, `"code":4,`},
	}
	for _, tt := range tests {
		out, ok := call(t, tt.program, tt.stdin, tt.env...)
		if ok != tt.ok || !strings.Contains(out, tt.says) {
			t.Errorf("%s: ended well: %v, printed %q, want %q", tt.name, ok, out, tt.says)
		}
	}
}
