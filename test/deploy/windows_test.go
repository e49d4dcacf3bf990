package deploy

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/felid-net/felid/test/kubernetes"
)

// daemonSet is one of felid's, as the API server has it.
func daemonSet(t *testing.T, s *kubernetes.Server, name string) corev1.PodTemplateSpec {
	t.Helper()
	var d appsv1.DaemonSet
	if err := json.Unmarshal([]byte(s.Kubectl(t, "get", "daemonset", name, "--namespace", "felid-system", "--output", "json")), &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template
}

// install applies a folder of deploy, which the API server must take without a warning.
func install(t *testing.T, s *kubernetes.Server, folder string) {
	t.Helper()
	out := s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--validate=strict", "-k", filepath.Join(top, "deploy", folder))
	if strings.Contains(out, "Warning") {
		t.Errorf("%s: the API server warns:\n%s", folder, out)
	}
}

func env(c *corev1.Container) map[string]string {
	out := map[string]string{}
	for _, e := range c.Env {
		out[e.Name] = e.Value
	}
	return out
}

// TestWindowsNodes: the agent of Windows nodes is a HostProcess container, beside that of Linux nodes, and each is on its own system's nodes alone.
func TestWindowsNodes(t *testing.T) {
	s := server(t)
	install(t, s, ".")
	install(t, s, "windows")
	linux, windows := daemonSet(t, s, "felid-node"), daemonSet(t, s, "felid-node-windows")
	for system, template := range map[string]corev1.PodTemplateSpec{"linux": linux, "windows": windows} {
		spec := &template.Spec
		if len(spec.NodeSelector) != 1 || spec.NodeSelector["kubernetes.io/os"] != system || !spec.HostNetwork || spec.ServiceAccountName != "felid-node" {
			t.Errorf("%s: %v, host network %t, account %s", system, spec.NodeSelector, spec.HostNetwork, spec.ServiceAccountName)
		}
		if len(spec.Tolerations) != 1 || spec.Tolerations[0] != (corev1.Toleration{Operator: corev1.TolerationOpExists}) {
			t.Errorf("%s: an agent must run on nodes that have its own start-up taint: %v", system, spec.Tolerations)
		}
	}
	if w := linux.Spec.SecurityContext.WindowsOptions; w != nil {
		t.Errorf("on Linux: %v", w)
	}
	w := windows.Spec.SecurityContext.WindowsOptions
	if w == nil || w.HostProcess == nil || !*w.HostProcess || w.RunAsUserName == nil || *w.RunAsUserName != `NT AUTHORITY\SYSTEM` {
		t.Fatalf("no HostProcess container: %+v", w)
	}
	agent := &windows.Spec.Containers[0]
	if len(windows.Spec.Containers) != 1 || agent.Command[0] != `%CONTAINER_SANDBOX_MOUNT_POINT%\felid.exe` || agent.Command[1] != "agent" || len(agent.VolumeMounts) != 0 {
		t.Errorf("%+v", windows.Spec.Containers)
	}
	if e := env(agent); e["FELID_CNI_BIN_DIR"] != `C:\opt\cni\bin` || e["FELID_CNI_CONF_DIR"] != `C:\etc\cni\net.d` || e["FELID_DATASTORE"] != "kube" {
		t.Errorf("%v", e)
	}
	if from := agent.EnvFrom[0].ConfigMapRef; from.Name != "felid-config-windows" || linux.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name != "felid-config" {
		t.Errorf("settings are from %s", from.Name)
	}
}

// TestAKS differs in its folders, and in nothing else.
func TestAKS(t *testing.T) {
	s := server(t)
	install(t, s, "windows")
	plain := daemonSet(t, s, "felid-node-windows")
	install(t, s, "aks")
	aks := daemonSet(t, s, "felid-node-windows")
	e := env(&aks.Spec.Containers[0])
	if e["FELID_CNI_BIN_DIR"] != `C:\k\azurecni\bin` || e["FELID_CNI_CONF_DIR"] != `C:\k\azurecni\netconf` || len(aks.Spec.Containers[0].Env) != len(plain.Spec.Containers[0].Env) {
		t.Errorf("%v", e)
	}
	aks.Spec.Containers[0].Env, plain.Spec.Containers[0].Env = nil, nil
	if a, b := aks.String(), plain.String(); a != b {
		t.Errorf("AKS:\n%s\nelsewhere:\n%s", a, b)
	}
}
