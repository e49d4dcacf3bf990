package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// version is set by the linker.
var version = "unknown"

// App is what the commands need from outside: the streams, the environment, and the driver of this operating system.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) (string, bool)
	// NewDataplane opens the driver that enforces on this host; ctx bounds what that takes.
	NewDataplane func(context.Context, *config.Config, *slog.Logger) (dataplane.Dataplane, error)
	// Plugin: it is called as a plugin of kubectl, whose API server is the datastore where none is named.
	Plugin bool
	// Survey is what this host has of other policy engines; nil where there is nothing to look for.
	Survey func(context.Context) (*preflight.Host, error)
	// Probe tries what felid takes for granted about this host, with objects of its own; nil where there is nothing to try.
	Probe func(context.Context) ([]preflight.Trial, error)
}

// Main runs felid with args (without the program's name) and returns the exit status.
func Main(ctx context.Context, app App, args []string) int {
	root := newRoot(&app)
	root.SetArgs(args)
	root.SetIn(app.In)
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var status *exitError
	if !errors.As(err, &status) {
		status = &exitError{exitUsage, err} // cobra's own: unknown command, unknown flag
	}
	if status.err != nil {
		for line := range strings.Lines(status.err.Error()) {
			fmt.Fprintln(app.Err, "error:", strings.TrimSuffix(line, "\n"))
		}
	}
	return status.code
}

// newGroup makes a command that only has others below it.
func newGroup(name, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short}
	c.RunE = func(_ *cobra.Command, args []string) error {
		var names []string
		for _, b := range below {
			if !b.Hidden {
				names = append(names, b.Name())
			}
		}
		problem := "needs a command"
		if len(args) > 0 {
			problem = fmt.Sprintf("has no command %q", args[0])
		}
		return usage(fmt.Errorf("%s %s; valid: %s", c.CommandPath(), problem, strings.Join(names, ", ")))
	}
	c.AddCommand(below...)
	return c
}

func newRoot(app *App) *cobra.Command {
	root := &cobra.Command{
		Use:           "felid",
		Short:         "Secure and connect the pods and hosts of a cluster, and say why a packet passes or not",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	if app.Plugin {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl felid"}
	}
	root.AddCommand(
		newVersion(app), newAgent(app), newController(app),
		newValidate(app), newGet(app), newCreate(app), newApply(app), newReplace(app), newPatch(app), newDelete(app), newLabel(app),
		newExplain(app), newTest(app), newDiff(app), newLint(app), newRender(app), newPolicy(app), newEndpoint(app),
		newDatastore(app), newPreflight(app), newNode(app), newLab(app),
	)
	return root
}

// The exit statuses that are not 0.
const (
	exitNo          = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// exitError is an error with its exit status; a nil err has been printed already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func no(err error) error          { return &exitError{exitNo, err} }
func usage(err error) error       { return &exitError{exitUsage, err} }
func unreachable(err error) error { return &exitError{exitUnreachable, err} }

// OSEnv is the environment of the process.
func OSEnv(key string) (string, bool) { return os.LookupEnv(key) }
