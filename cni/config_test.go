package cni

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	got, err := ParseConfig([]byte(`{"cniVersion":"1.1.0","name":"pods","type":"felid-cni","socket":"` + jsonSocket + `2","mtu":1440,
		"ipam":{"type":"felid-ipam"},"args":{"cni":{"labels":[{"key":"app","value":"web"}]},"other":{"x":1}},
		"capabilities":{"ips":false},"runtimeConfig":{"podAnnotations":{}},"prevResult":{"ips":[]},"disableCheck":true,
		"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}],"cni.dev/attachments":null}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{CNIVersion: "1.1.0", Name: "pods", Type: "felid-cni", Socket: DefaultSocket + "2", MTU: 1440,
		Labels: map[string]string{"app": "web"}, PrevResult: []byte(`{"ips":[]}`),
		ValidAttachments: []types.GCAttachment{{ContainerID: "c1", IfName: "eth0"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = ParseConfig([]byte(`{"name":"pods"}`))
	if err != nil || got.Socket != DefaultSocket || got.ValidAttachments != nil {
		t.Errorf("plain configuration: %+v, %v", got, err)
	}
	got, err = ParseConfig([]byte(`{"name":"pods","mode":"gate","felid.dev/source":{"file":"10-azure.conflist"}}`))
	if err != nil || !got.Gate {
		t.Errorf("the gate: %+v, %v", got, err)
	}
	got, err = ParseConfig([]byte(`{"name":"pods","cni.dev/valid-attachments":null}`))
	if err != nil || got.ValidAttachments == nil {
		t.Errorf("null attachments must be an empty list: %+v, %v", got, err)
	}
}

// jsonSocket is DefaultSocket as it is written in JSON.
var jsonSocket = strings.ReplaceAll(DefaultSocket, `\`, `\\`)

func TestCheckSocket(t *testing.T) {
	for _, tt := range []struct {
		path string
		pipe bool
		says string // "": valid
	}{
		{"/run/felid/cni.sock", false, ""},
		{"/" + strings.Repeat("x", 106), false, ""},
		{"/" + strings.Repeat("x", 107), false, "at most 107 bytes"},
		{"run/x", false, `"run/x" is not an absolute path`},
		{`\\.\pipe\felid`, false, "not an absolute path"},
		{`\\.\pipe\felid`, true, ""},
		{`\\.\pipe\` + strings.Repeat("x", 247), true, ""},
		{`\\.\pipe\` + strings.Repeat("x", 248), true, "at most 256 bytes"},
		{`\\.\pipe\`, true, `valid: \\.\pipe\NAME`},
		{`\\server\pipe\felid`, true, "not a named pipe of this machine"},
		{`\\.\pipe\..\C:\x`, true, "not a named pipe"},
		{"\\\\.\\pipe\\a\x00b", true, "not a named pipe"},
		{`C:\felid`, true, "not a named pipe"},
		{"/run/felid/cni.sock", true, "not a named pipe"},
	} {
		err := checkSocket(tt.path, tt.pipe)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s (pipe %v): %v, want %q", tt.path, tt.pipe, err, tt.says)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	tests := []struct {
		config string
		code   uint
		says   []string
	}{
		{`{`, 6, []string{"not a JSON object"}},
		{`[]`, 6, []string{"not a JSON object"}},
		{`{}`, 7, []string{"name"}},
		{`{"name":"a b"}`, 7, []string{`"a b"`, "valid:"}},
		{`{"name":"n","sockett":"/x","Socket":"/x"}`, 7, []string{`"sockett"`, `"Socket"`, "mode, mtu, socket"}},
		{`{"name":"n","mode":"bridge"}`, 7, []string{"mode", `"bridge"`, "network (the default), gate"}},
		{`{"name":"n","mode":1}`, 7, []string{"mode: 1 is not a string"}},
		{`{"name":"n","socket":"run/x"}`, 7, []string{"socket", "run/x"}},
		{`{"name":"n","socket":7}`, 7, []string{"socket", "a path"}},
		{`{"name":"n","mtu":100}`, 7, []string{"mtu: 100", "1280 to 65535"}},
		{`{"name":"n","mtu":"1500","foo":1}`, 7, []string{"mtu", `"foo"`}},
		{`{"name":"n","ipam":{"type":"host-local"}}`, 7, []string{"host-local", "felid-ipam"}},
		{`{"name":"n","ipam":{"subnet":"10.0.0.0/8"}}`, 7, []string{`"subnet"`}},
		{`{"name":"n","args":{"cni":{"ips":["10.0.0.1"]}}}`, 2, []string{"args.cni.ips", "10.0.0.1"}},
		{`{"name":"n","args":{"cni":{"labels":{"a":"b"}}}}`, 7, []string{"args", "list of {key, value}"}},
		{`{"name":"n","args":{"cni":{"labels":[{"key":"a"},{"key":"a"}]}}}`, 7, []string{"labels[1].key", "twice"}},
		{`{"name":"n","args":{"cni":{"labels":[{"key":"projectcalico.org/namespace","value":"kube-system"}]}}}`, 7, []string{"labels[0].key", "felid's to give"}},
		{`{"name":"n","args":{"cni":{"labels":[{"key":"pcns.team","value":"x"}]}}}`, 7, []string{"pcns."}},
		{`{"name":"n","runtimeConfig":{"portMappings":[{"hostPort":80}]}}`, 2, []string{"runtimeConfig.portMappings", "hostPort"}},
		{`{"name":"n","cni.dev/valid-attachments":{}}`, 7, []string{"cni.dev/valid-attachments"}},
	}
	for _, tt := range tests {
		_, err := ParseConfig([]byte(tt.config))
		if err == nil || err.Code != tt.code {
			t.Errorf("%s: %v, want code %d", tt.config, err, tt.code)
			continue
		}
		for _, s := range tt.says {
			if !strings.Contains(err.Msg, s) {
				t.Errorf("%s: %q does not say %q", tt.config, err.Msg, s)
			}
		}
	}
}

func TestParseArgs(t *testing.T) {
	got, err := ParseArgs("IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1.a;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=x")
	if want := (PodArgs{"web", "web-1.a", "u"}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"K8S_POD_NAME", "=x", "K8S_POD_NAME=a", "K8S_POD_NAMESPACE=a", ";", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=../../etc",
		"K8S_POD_NAMESPACE=A;K8S_POD_NAME=b", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b..c", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=-b"} {
		if got, err := ParseArgs(bad); err == nil || err.Code != types.ErrInvalidEnvironmentVariables {
			t.Errorf("%q: %+v, %v, want code 4", bad, got, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"pods","type":"felid-cni","socket":"/run/x.sock","mtu":1440,"ipam":{"type":"felid-ipam"}}`))
	f.Add([]byte(`{"name":"n","args":{"cni":{"labels":[{"key":"app","value":"web"}],"ips":null}},"runtimeConfig":null,"cni.dev/valid-attachments":[null]}`))
	f.Add([]byte(`{"NAME":"n","name":null,"mtu":1e9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			if err.Code != 2 && err.Code != 6 && err.Code != 7 || err.Msg == "" {
				t.Errorf("code %d, %q", err.Code, err.Msg)
			}
			return
		}
		if c.Name == "" || c.Socket == "" || c.MTU != 0 && (c.MTU < 1280 || c.MTU > 65535) {
			t.Errorf("accepted %+v", c)
		}
	})
}

func FuzzParseArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1")
	f.Add("a=b;;=")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseArgs(s)
		if err == nil && (strings.ContainsAny(p.Namespace+p.Name, "/ ;=") || (p.Name == "") != (p.Namespace == "")) {
			t.Errorf("accepted %+v", p)
		}
	})
}
