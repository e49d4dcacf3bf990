package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/config"
)

func newNodeStatus(app *App) *cobra.Command {
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Say what a node has in force, and what of it not",
		Long: `Say what a node has in force, what failed, which rules its dataplane can't express, which pods are not covered as they should be, and how old what
it knows is. Without a name: this host, of which its agent is asked at --listen. With names, or --all: what nodes have reported to the cluster.`,
		RunE: func(c *cobra.Command, names []string) error {
			reports, err := nodeReports(c, app, names, all)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(app.Out, reports)
			}
			for _, r := range reports {
				printNode(app.Out, r)
			}
			return nil
		},
	}
	config.Flags(c.Flags(), append([]string{"listen"}, config.StoreKeys...)...)
	c.Flags().BoolVar(&all, "all", false, "all nodes")
	addOutput(c, &output, "text", "json")
	return c
}

func nodeReports(c *cobra.Command, app *App, names []string, all bool) ([]*v1alpha1.NodeReport, error) {
	if len(names) == 0 && !all {
		cfg, err := config.LoadOnly(c.Flags(), app.Env, "listen")
		if err != nil {
			return nil, usage(err)
		}
		r, err := askAgent(c.Context(), cfg.Listen)
		return []*v1alpha1.NodeReport{r}, err
	}
	in := &input{app: app, flags: c.Flags()}
	store, err := in.open(false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return storedNodeReports(c.Context(), store, names)
}

// askTimeout is how long an agent may take to answer.
const askTimeout = 10 * time.Second

// askAgent asks the agent that listens at an address of this host.
func askAgent(ctx context.Context, listen string) (*v1alpha1.NodeReport, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, usage(fmt.Errorf("listen: %w; valid: HOST:PORT, as the agent has it", err))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/status/report", nil)
	if err != nil {
		return nil, usage(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, unreachable(fmt.Errorf("the agent of this host: %w", err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, unreachable(fmt.Errorf("the agent of this host: %s: %s %w", response.Status, body, err))
	}
	r := &v1alpha1.NodeReport{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, unreachable(fmt.Errorf("the agent of this host: %w", err))
	}
	return r, nil
}

// storedNodeReports are those of nodes of these names, or of all where there is none; sorted. A name without a report is the answer no.
func storedNodeReports(ctx context.Context, store datastore.Store, names []string) ([]*v1alpha1.NodeReport, error) {
	s, ok := store.(interface{ Reports() datastore.Reports })
	if !ok {
		return nil, usage(fmt.Errorf("this datastore has no reports of nodes (kube has): %w; ask each agent at /status/report", datastore.ErrUnsupported))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, seen := map[string]*v1alpha1.NodeReport{}, errors.New("all were seen")
	err := s.Reports().FollowNodeReports(ctx, func(name string, r *v1alpha1.NodeReport) error {
		if name == "" {
			return seen
		}
		found[name] = r
		return nil
	})
	if !errors.Is(err, seen) {
		return nil, unreachable(err)
	}
	if len(names) == 0 {
		for name := range found {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	var out []*v1alpha1.NodeReport
	for _, name := range names {
		if found[name] == nil {
			return nil, no(fmt.Errorf("node %s has not reported: no agent runs there, or it can't write", name))
		}
		out = append(out, found[name])
	}
	return out, nil
}

func printNode(w io.Writer, r *v1alpha1.NodeReport) {
	s := &r.Status
	fmt.Fprintf(w, "%s: %s on %s, %s, %s, reported %s\n", r.Name, conditionText(r), dataplaneText(s), count(s.Endpoints, "endpoint"),
		counted(s.Policies, "policy or profile", "policies and profiles"), s.Reported.UTC().Format(time.RFC3339))
	for _, a := range s.Assumptions {
		what := map[string]string{"False": "false here", "NotTried": "not tried"}[a.Outcome]
		fmt.Fprintf(w, "  %s: %s: %s\n", what, a.Name, a.Message)
	}
	for _, f := range s.Failed {
		fmt.Fprintf(w, "  not in force: %s: %s\n", f.Object, f.Message)
	}
	for _, u := range s.Unsupported {
		fmt.Fprintf(w, "  not expressed: %s: spec.%s[%d]: %s\n", referenceText(u.Policy), u.Direction, u.Rule, u.Reason)
	}
	printNames(w, "not covered", s.Uncovered, s.UncoveredCount)
	printNames(w, "came without the gate", s.Ungated, s.UngatedCount)
	for _, k := range s.Stale {
		fmt.Fprintf(w, "  not heard of: %s since %s: %s\n", k.Kind, k.Since.UTC().Format(time.RFC3339), k.Reason)
	}
}

func dataplaneText(s *v1alpha1.NodeReportStatus) string {
	if s.Dataplane == "" {
		return s.OS
	}
	return s.OS + " (" + s.Dataplane + ")"
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func conditionText(r *v1alpha1.NodeReport) string {
	for _, kind := range []string{v1alpha1.NodeReady, v1alpha1.NodeEnforcing} {
		if c := meta.FindStatusCondition(r.Status.Conditions, kind); c != nil && c.Status != "True" {
			return fmt.Sprintf("not %s (%s)", strings.ToLower(kind), c.Message)
		}
	}
	return "enforcing"
}

func referenceText(p v1alpha1.PolicyReference) string {
	if p.Namespace == "" {
		return p.Kind + " " + p.Name
	}
	return p.Kind + " " + p.Namespace + "/" + p.Name
}

func printNames(w io.Writer, what string, names []string, all int) {
	if all == 0 {
		return
	}
	text := strings.Join(names, ", ")
	if more := all - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	fmt.Fprintf(w, "  %s: %s\n", what, text)
}
