package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/internal/lab"
)

// defaultLabDir is where the lab is kept unless --dir says otherwise.
const defaultLabDir = "/run/felid-lab"

func newLab(app *App) *cobra.Command {
	var dir string
	c := newGroup("lab", "A small virtual cluster of network namespaces on this machine, for trying policies with real packets (root)",
		newLabUp(app, &dir), newLabDown(app, &dir), newLabExec(app, &dir), newLabStatus(app, &dir), newLabDemo(app), newLabServe(app))
	c.PersistentFlags().StringVar(&dir, "dir", defaultLabDir, "folder of the lab: its store, and its nodes' logs and sockets")
	return c
}

func newLabUp(app *App, dir *string) *cobra.Command {
	var nodes int
	var files []string
	var ipv6 bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Make the nodes, apply the files, and connect the Pods in them",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if nodes < 1 || nodes > 9 {
				return usage(fmt.Errorf("--nodes %d; valid: 1 to 9", nodes))
			}
			bin, err := ownFolder()
			if err != nil {
				return unreachable(err)
			}
			l, err := lab.Up(c.Context(), lab.Options{Dir: *dir, Bin: bin, Nodes: nodes, IPv6: ipv6})
			if err != nil {
				return unreachable(err)
			}
			if _, err := addPods(c.Context(), app, l, files); err != nil {
				return unreachable(errors.Join(err, errors.New("the lab is up as far as it got; felid lab down removes it")))
			}
			return printLab(app, l)
		},
	}
	c.Flags().IntVar(&nodes, "nodes", 2, "how many nodes")
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "files or folders with resources and Pods")
	c.Flags().BoolVar(&ipv6, "ipv6", true, "give nodes and pods IPv6 addresses too")
	return c
}

// ownFolder is the folder of this program, where felid-cni is too.
func ownFolder() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	bin := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(bin, "felid-cni")); err != nil {
		return "", fmt.Errorf("felid-cni must be beside felid: %w", err)
	}
	return bin, nil
}

func openLab(dir string) (*lab.Lab, error) {
	l, err := lab.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unreachable(fmt.Errorf("no lab in %s; felid lab up makes one", dir))
	}
	if err != nil {
		return nil, unreachable(err)
	}
	return l, nil
}

func newLabDown(app *App, dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the lab and all that it made",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := openLab(*dir)
			if err != nil {
				return err
			}
			if err := l.Down(c.Context()); err != nil {
				return unreachable(err)
			}
			fmt.Fprintln(app.Out, "removed")
			return nil
		},
	}
}

func newLabExec(app *App, dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "exec pod/NS/NAME|node/NAME -- COMMAND [ARG…]",
		Short: "Run a program in the network of a pod or a node",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := openLab(*dir)
			if err != nil {
				return err
			}
			space, err := labSpace(l, args[0])
			if err != nil {
				return usage(err)
			}
			return labExec(c.Context(), app, space, args[1:])
		},
	}
}

func labSpace(l *lab.Lab, id string) (string, error) {
	if name, ok := strings.CutPrefix(id, "node/"); ok {
		if _, err := l.Node(name); err != nil {
			return "", err
		}
		return l.NodeSpace(name), nil
	}
	p, err := l.Pod(id)
	if err != nil {
		return "", err
	}
	return l.PodSpace(p), nil
}

// labExec runs a program and passes its exit status on.
func labExec(ctx context.Context, app *App, space string, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = app.In, app.Out, app.Err
	err := lab.Within(space, cmd.Run)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitError{exit.ExitCode(), nil}
	}
	if err != nil {
		return unreachable(err)
	}
	return nil
}

func newLabStatus(app *App, dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the nodes and pods of the lab",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := openLab(*dir)
			if err != nil {
				return err
			}
			return printLab(app, l)
		},
	}
}

func printLab(app *App, l *lab.Lab) error {
	fmt.Fprintf(app.Out, "datastore: %s\n\n", l.Store())
	w := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tADDRESSES\tAGENT\tLOG")
	for _, n := range l.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, strings.Join(n.Addr, ","), n.State(), l.Log(n.Name))
	}
	fmt.Fprintln(w, "\nPOD\tNODE\tADDRESSES\tPORTS")
	for _, p := range l.Pods {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.ID(), p.Node, strings.Join(p.Addr, ","), strings.Trim(fmt.Sprint(p.Ports), "[]"))
	}
	return w.Flush()
}

func newLabServe(app *App) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:    "serve PORT[,PORT…]",
		Short:  "Answer connections with a name, inside a pod of the lab",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := lab.Serve(c.Context(), name, args[0], app.Out); err != nil {
				return unreachable(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "what to answer")
	return c
}
