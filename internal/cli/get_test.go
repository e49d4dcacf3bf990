package cli

import (
	"encoding/json"
	"testing"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

func TestGet(t *testing.T) {
	for name, args := range map[string][]string{
		"get-gnp.txt":       {"gnp"},
		"get-gnp-wide.txt":  {"globalnetworkpolicies", "-o", "wide"},
		"get-np.yaml":       {"np", "-n", "app-ns", "application.app", "-o", "yaml"},
		"get-np-slash.txt":  {"NetworkPolicy", "app-ns/application.app"},
		"get-tiers.json":    {"tiers", "-o", "json"},
		"get-wep-names.txt": {"workloadendpoint", "-A", "-o", "name"},
		"get-hep.txt":       {"hep"},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, call(t).ok(append(append([]string{"get"}, args...), offline...)...).out)
		})
	}
}

// TestGetEveryKindByEveryName: singular, plural and short names, of all kinds.
func TestGetEveryKindByEveryName(t *testing.T) {
	for _, info := range v3.Kinds() {
		for _, name := range append([]string{string(info.Kind), info.Plural}, info.Short...) {
			o := call(t).ok(append([]string{"get", name, "-A", "-o", "json"}, offline...)...)
			var list struct {
				Kind  string
				Items []struct{ Kind v3.Kind }
			}
			if err := json.Unmarshal([]byte(o.out), &list); err != nil || list.Kind != "List" || list.Items == nil {
				t.Fatalf("%s: %v in %s", name, err, o.out)
			}
			for _, item := range list.Items {
				if item.Kind != info.Kind {
					t.Errorf("%s gives a %s", name, item.Kind)
				}
			}
		}
	}
}

func TestGetNamesAllThatAreMissing(t *testing.T) {
	o := call(t).run(append([]string{"get", "tiers", "ops", "x", "y"}, offline...)...)
	if o.status != exitNo || o.out != "" {
		t.Errorf("status %d\n%s", o.status, o.out)
	}
	wants(t, o.err, "error: Tier x: not found\nerror: Tier y: not found\n")
}

// TestGetYAMLIsJSON: both forms say the same.
func TestGetYAMLIsJSON(t *testing.T) {
	args := append([]string{"get", "gnp", "ops.go-on", "-o"}, offline[0:4]...)
	inYAML, err := yaml.YAMLToJSON([]byte(call(t).ok(append(args[:4:4], append([]string{"yaml"}, offline...)...)...).out))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(inYAML, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(call(t).ok(append(args[:4:4], append([]string{"json"}, offline...)...)...).out), &b); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		t.Errorf("YAML %s\nJSON %s", x, y)
	}
}
