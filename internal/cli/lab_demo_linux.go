package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/policy"
)

// demoFile is a sequence of changes of policy, each followed by every connection among the pods.
type demoFile struct {
	Cluster string     `json:"cluster"`
	Steps   []demoStep `json:"steps"`
}

type demoStep struct {
	Title  string                       `json:"title"`
	Delete []string                     `json:"delete"` // "KIND [NS/]NAME"
	Apply  []string                     `json:"apply"`  // files, relative to the demo's
	Label  map[string]map[string]string `json:"label"`  // by pod; an empty value removes
}

func newLabDemo(app *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "demo FILE",
		Short: "Make a lab, go through the steps of a file, and compare every real connection with what explain predicts",
		Args:  cobra.ExactArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		// SIGPIPE too: whoever reads the output may go away, and the lab must be removed all the same.
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
		defer stop()
		own, err := os.MkdirTemp("", "felid-demo-")
		if err != nil {
			return unreachable(err)
		}
		err = runDemo(ctx, app, filepath.Join(own, "lab"), args[0])
		if rmErr := os.RemoveAll(own); err == nil && rmErr != nil {
			return unreachable(rmErr)
		}
		return err
	}
	return c
}

// runDemo makes a lab, goes through the steps, and removes the lab, whatever happens.
func runDemo(ctx context.Context, app *App, dir, path string) (err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return usage(err)
	}
	var file demoFile
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return usage(fmt.Errorf("%s: %w", path, err))
	}
	bin, err := ownFolder()
	if err != nil {
		return unreachable(err)
	}
	l, err := lab.Up(ctx, lab.Options{Dir: dir, Name: fmt.Sprintf("felid-demo-%d", os.Getpid()), Bin: bin, Nodes: 2, IPv6: true})
	if err != nil {
		return unreachable(err)
	}
	defer func() {
		err = errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}()
	d := demo{app: app, lab: l, folder: filepath.Dir(path)}
	if d.pods, err = addPods(ctx, app, l, []string{d.path(file.Cluster)}); err != nil {
		return unreachable(err)
	}
	if d.store, err = openLabStore(l, app); err != nil {
		return unreachable(err)
	}
	defer d.store.Close()
	return d.run(ctx, file.Steps)
}

// demo is a demo under way.
type demo struct {
	app    *App
	lab    *lab.Lab
	store  *local.Store
	pods   []*corev1.Pod
	folder string
}

func (d *demo) path(name string) string { return filepath.Join(d.folder, name) }

func (d *demo) run(ctx context.Context, steps []demoStep) error {
	if err := printLab(d.app, d.lab); err != nil {
		return err
	}
	for i, step := range steps {
		fmt.Fprintf(d.app.Out, "\nStep %d of %d: %s\n", i+1, len(steps), step.Title)
		if err := d.change(ctx, &step); err != nil {
			return unreachable(err)
		}
		rows, err := d.compare(ctx)
		if err != nil {
			return unreachable(err)
		}
		d.print(rows)
		if n := disagreements(rows); n > 0 {
			return no(fmt.Errorf("%d connections are not as explain predicts", n))
		}
	}
	fmt.Fprintln(d.app.Out, "\nEvery real connection was as explain predicted.")
	return nil
}

// change does what a step says.
func (d *demo) change(ctx context.Context, step *demoStep) error {
	for _, text := range step.Delete {
		kind, name, _ := strings.Cut(text, " ")
		info, err := findKind(kind)
		if err != nil {
			return err
		}
		if err := d.store.Delete(ctx, keyArg(info, "", name), ""); err != nil {
			return err
		}
	}
	for _, name := range step.Apply {
		if _, err := applyFiles(ctx, d.app, d.store, []string{d.path(name)}); err != nil {
			return err
		}
	}
	for id, labels := range step.Label {
		i := slices.IndexFunc(d.pods, func(p *corev1.Pod) bool { return "pod/"+p.Namespace+"/"+p.Name == id })
		if i < 0 {
			return fmt.Errorf("no %s in the lab", id)
		}
		if err := labelPod(ctx, d.store, d.pods[i], labels); err != nil {
			return err
		}
	}
	return nil
}

// demoRow is one connection, as it was and as it should have been.
type demoRow struct {
	lab.Outcome
	predicted policy.Answer
}

func (r *demoRow) agrees() bool {
	return r.Err == nil && r.Allowed == (r.predicted.Verdict == dataplane.Allow)
}

func disagreements(rows []demoRow) int {
	n := 0
	for i := range rows {
		if !rows[i].agrees() {
			n++
		}
	}
	return n
}

// attemptTimeout is how long a connection may take before it counts as dropped. A TCP client sends its first packet again after one
// second: one lost packet is not a verdict.
const attemptTimeout = 1500 * time.Millisecond

// compare tries all connections. A change takes a moment to be in force on every node, so what does not agree yet is tried again for a
// few seconds.
func (d *demo) compare(ctx context.Context) ([]demoRow, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		rows, err := d.attempt(ctx)
		if err != nil || disagreements(rows) == 0 || time.Now().After(deadline) {
			return rows, err
		}
	}
}

func (d *demo) attempt(ctx context.Context) ([]demoRow, error) {
	state, err := d.predict(ctx)
	if err != nil {
		return nil, err
	}
	outcomes := d.lab.Try(ctx, d.lab.Attempts(), attemptTimeout)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rows := make([]demoRow, len(outcomes))
	for i, o := range outcomes {
		flow, err := flowOf(&o.Attempt)
		if err != nil {
			return nil, err
		}
		rows[i] = demoRow{o, policy.Explain(state, flow)}
	}
	return rows, nil
}

// predict resolves what the store holds now.
func (d *demo) predict(ctx context.Context) (*dataplane.State, error) {
	var objects []v3.Object
	for _, kind := range agent.Kinds {
		list, err := d.store.List(ctx, kind, "")
		if err != nil {
			return nil, err
		}
		objects = append(objects, list.Objects...)
	}
	state, _ := resolve(objects)
	return state, nil
}

func flowOf(a *lab.Attempt) (policy.Flow, error) {
	dst, err := netip.ParseAddr(a.Addr)
	if err != nil {
		return policy.Flow{}, err
	}
	i := slices.IndexFunc(a.From.Addr, func(text string) bool {
		src, err := netip.ParseAddr(text)
		return err == nil && src.Is4() == dst.Is4()
	})
	if i < 0 {
		return policy.Flow{}, fmt.Errorf("%s has no address of the family of %s", a.From.ID(), dst)
	}
	return policy.Flow{
		Src: netip.MustParseAddr(a.From.Addr[i]), Dst: dst, Protocol: dataplane.ProtoTCP, DstPort: a.Port, ICMPType: -1, ICMPCode: -1,
	}, nil
}

// print writes the matrix: a row for each pair of pods and port, IPv4 and IPv6 side by side.
func (d *demo) print(rows []demoRow) {
	t := tabwriter.NewWriter(d.app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FROM\tTO\tPORT\tPACKETS\tEXPLAIN\tDECIDED BY")
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n].samePair(&rows[i]) {
			n++
		}
		first, group := &rows[i], rows[i:i+n]
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", first.From.ID(), first.To.ID(), first.Port, packetsText(group), explainText(group), decidedBy(first.predicted))
		i += n
	}
	_ = t.Flush() // to a terminal that went away: nobody to tell
}

// samePair tells whether two rows differ in the address family alone.
func (r *demoRow) samePair(other *demoRow) bool {
	return r.From == other.From && r.To == other.To && r.Port == other.Port
}

// packetsText is what became of the packets, in one word where all families agree.
func packetsText(rows []demoRow) string {
	var texts []string
	for i := range rows {
		r := &rows[i]
		text := "dropped"
		switch {
		case r.Err != nil:
			text = "error: " + r.Err.Error()
		case r.Allowed:
			text = "passed"
		}
		if !r.agrees() {
			text += " at " + r.Addr + " <-- DISAGREES"
		}
		texts = append(texts, text)
	}
	return strings.Join(slices.Compact(texts), ", ")
}

func explainText(rows []demoRow) string {
	var texts []string
	for i := range rows {
		texts = append(texts, rows[i].predicted.Verdict.String())
	}
	return strings.Join(slices.Compact(texts), ", ")
}
