package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/felid-net/felid/"

// room is a folder (with those below it that have no room of their own) and what its files may import of ours, directly and
// outside tests. "x/..." allows x and all below it.
type room struct {
	folder string
	may    []string
	why    string
}

var rooms = []room{
	{"api/v3", nil, "the stored shape is what everything else is written against: it must not know any of it"},
	{"api/v1alpha1", nil, "as api/v3"},
	{"build/crds", []string{"api/v3"}, "it writes what is generated from the types of the API"},
	{"build/oci", nil, "it packs programs: what they do is not its business"},
	{"policy/selector", nil, "a language of its own, of use to anybody"},
	{"policy/kube", []string{"api/v3", "policy/selector"}, "a pure conversion: it says what Kubernetes objects mean, not what becomes of them"},
	{"policy", []string{"api/v3", "policy/selector", "dataplane"}, "the core decides; it knows no driver, no store, no operating system"},
	{"dataplane", nil, "the seam must not be shaped by either of its sides"},
	{"dataplane/delta", nil, "one generic structure"},
	{"dataplane/flatten", []string{"dataplane"}, "exact sets are arithmetic on resolved state, whoever renders it"},
	{"dataplane/routing", []string{"api/v3", "dataplane"}, "pure: routes are decided without looking at a kernel"},
	{"dataplane/dptest", []string{"api/v3", "policy", "policy/...", "dataplane", "dataplane/..."}, "a judge that knew a renderer could share its faults"},
	{"dataplane_linux", []string{"dataplane", "dataplane/delta", "dataplane_linux/..."}, "a driver is given resolved state, and needs no resources"},
	{"dataplane_linux/iptables", []string{"dataplane/delta"}, "makes a table hold chains; it need not know why"},
	{"dataplane_linux/ipset", []string{"dataplane/delta"}, "makes sets hold members; it need not know why"},
	{"dataplane_linux/netlink", []string{"dataplane/delta"}, "makes devices and routes exist; it need not know why"},
	{"dataplane_linux/bgp", []string{"api/v3"}, "holds sessions; policy and routes reach it as prefixes"},
	{"dataplane_windows", []string{"dataplane", "dataplane/delta", "dataplane/flatten", "dataplane_windows/hns"}, "a driver is given resolved state, and needs no resources"},
	{"dataplane_windows/adapters", nil, "what a host says of itself, whoever asks"},
	{"dataplane_windows/hns", nil, "HNS as it is, nothing of ours in it"},
	{"dataplane/knock", nil, "sockets between two places; what it means that they are answered is a prober's to know"},
	{"dataplane_linux/probe", []string{"dataplane", "dataplane/knock", "dataplane_linux"}, "it enforces a State of its own, and sends packets through it"},
	{"dataplane_windows/probe", []string{"dataplane", "dataplane_windows", "dataplane_windows/hns", "dataplane/knock"}, "it tries what lists lean on, and says which form they may have"},
	{"ipam", []string{"api/v3", "datastore"}, "addresses are handed out whatever enforces policy"},
	{"cni", nil, "the plugin starts at every pod: it must stay small"},
	{"cni/install", []string{"cni"}, "it writes files; when it may, and what policy says, is the agent's to know"},
	{"cni/server", []string{"cni", "api/v3", "ipam", "datastore", "dataplane", "dataplane_linux/netlink", "dataplane_windows/hns"}, "it plumbs pods; what policy says reaches it as a wait"},
	{"datastore", []string{"api/..."}, "a contract knows no back end"},
	{"datastore/dstest", []string{"datastore", "api/..."}, "the suite that every back end passes knows none of them"},
	{"datastore/etcd", []string{"datastore", "api/v3"}, "as datastore/local"},
	{"datastore/local", []string{"datastore", "api/v3", "policy/kube"}, "a back end converts and stores; it decides nothing"},
	{"datastore/kube", []string{"datastore", "api/...", "policy/kube"}, "a back end converts and stores; it decides nothing"},
	{"internal/config", []string{"datastore", "datastore/...", "api/v3"}, "configuration names a store and opens it; it enforces nothing"},
	{"internal/preflight", nil, "it judges what others found; who looks, and where, is theirs"},
	{"internal/agent", []string{"api/...", "policy", "policy/...", "dataplane", "dataplane/...", "ipam", "cni", "cni/...", "datastore", "internal/config"},
		"the loop is the same on every system: drivers and stores are chosen in cmd/felid"},
	{"internal/controller", []string{"api/...", "datastore", "ipam", "policy", "policy/kube", "policy/selector"},
		"it decides for the cluster and writes through the contract: which store that is, is the command's to know"},
	{"internal/lab", []string{"..."}, "it builds a cluster out of everything"},
	{"internal/cli", []string{"..."}, "commands call everything"},
	{"cmd/felid", []string{"..."}, "it chooses the drivers"},
	{"cmd/felid-cni", []string{"cni"}, "it holds no credentials and starts fast"},
	{"test", []string{"..."}, "tests"},
}

// alsoBanned are imports of others that a folder must not have.
var alsoBanned = []struct{ folder, pkg, why string }{
	{"policy", "log/slog", "the core has no logger"},
	{"policy", "os", "the core has no environment"},
	{"policy", "sync", "the core has no locks"},
	{"policy", "time", "the core has no clock"},
	{"cni", "k8s.io/apimachinery", "the plugin must stay small"},
	{"cmd/felid-cni", "k8s.io/apimachinery", "the plugin must stay small"},
}

func TestImportMap(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		judgeFile(t, path, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files looked at: is the walk right?", files)
	}
}

// judgeFile reads the imports of one file, whatever its build constraints.
func judgeFile(t *testing.T, path, rel string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", rel, err)
		return
	}
	folder := rel[:max(0, strings.LastIndex(rel, "/"))]
	r := roomOf(folder)
	if r == nil {
		t.Errorf("%s: folder %s is not in the import map; give it a room and a reason", rel, folder)
		return
	}
	for _, spec := range f.Imports {
		pkg, _ := strconv.Unquote(spec.Path.Value)
		if ours, ok := strings.CutPrefix(pkg, module); ok && !r.allows(ours) {
			t.Errorf("%s imports %s, but %s may not: %s", rel, ours, r.folder, r.why)
		}
		for _, b := range alsoBanned {
			if r.folder == b.folder && (pkg == b.pkg || strings.HasPrefix(pkg, b.pkg+"/")) {
				t.Errorf("%s imports %s: %s", rel, pkg, b.why)
			}
		}
	}
}

// roomOf is the room with the longest folder that holds this one.
func roomOf(folder string) *room {
	var best *room
	for i := range rooms {
		r := &rooms[i]
		if (folder == r.folder || strings.HasPrefix(folder, r.folder+"/")) && (best == nil || len(r.folder) > len(best.folder)) {
			best = r
		}
	}
	return best
}

func (r *room) allows(pkg string) bool {
	return slices.ContainsFunc(r.may, func(m string) bool {
		prefix, below := strings.CutSuffix(m, "...")
		return m == "..." || pkg == m || below && strings.HasPrefix(pkg, prefix)
	})
}
