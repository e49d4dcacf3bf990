package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// explainArgs are the arguments of explain, as given.
type explainArgs struct {
	flowText
	port, sourcePort, icmp string
}

func newExplain(app *App) *cobra.Command {
	var a explainArgs
	var output string
	var fix bool
	c := &cobra.Command{
		Use:   "explain --from X --to Y",
		Short: "Say whether a connection is allowed, and why",
		Long: "Say whether a connection is allowed, and why. X and Y are pod/NS/NAME (pod/NS/NAME/INTERFACE for one that is not eth0),\n" +
			"hostendpoint/NAME, node/NAME, or an address. The answer comes from the same core that programs the kernel, for both sides,\n" +
			"whatever node they are on, and for the host endpoints that forward it on the way. It is for the first packet of a connection, as if no\n" +
			"agent was configured otherwise than by default; nothing is known of encapsulation. Where there are staged policies, the answer as it would\n" +
			"be with them follows.",
		Args: cobra.NoArgs,
	}
	in := addInput(c, app)
	f := c.Flags()
	f.StringVar(&a.from, "from", "", "where the connection comes from")
	f.StringVar(&a.to, "to", "", "where it goes to; service/NS/NAME with a --port of the service: to each place where it may end")
	f.StringVar(&a.protocol, "protocol", "", "TCP, UDP, SCTP, ICMP, … or a number (default TCP, or ICMP with --icmp)")
	f.StringVar(&a.port, "port", "", "destination port")
	f.StringVar(&a.sourcePort, "source-port", "", "source port")
	f.StringVar(&a.icmp, "icmp", "", "ICMP TYPE or TYPE/CODE")
	f.IntVar(&a.ipVersion, "ip-version", 0, "4 or 6 (default: 4 where both ends have it)")
	f.BoolVar(&fix, "fix", false, "propose the least policy that turns the verdict, and by diff nothing else")
	addOutput(c, &output, "table", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		args, port, err := a.parse()
		if err == nil && fix {
			err = a.exactly(args)
		}
		if err != nil {
			return usage(err)
		}
		all, err := in.cluster(c.Context())
		if err != nil {
			return err
		}
		if args.to.service != "" {
			return in.explainService(args, all, port, output)
		}
		conn, err := args.find(all)
		if err != nil {
			return no(err)
		}
		conn.flow.DstPort = port
		if fix {
			return conn.printRemedy(app.Out, output, args, conn.explain(port))
		}
		answer := conn.answer(port)
		if output == "json" {
			return printJSON(app.Out, answer)
		}
		printAnswer(app.Out, args, conn, answer)
		return nil
	}
	return c
}

// exactly tells what is missing to know which connection is to be opened or closed.
func (a *explainArgs) exactly(args *flowArgs) error {
	switch {
	case args.to.service != "":
		return errors.New("--to: --fix changes one connection: name where it ends, not a service")
	case hasPorts(args.protocol) && !a.hasPort:
		return errors.New("--port: is missing: --fix changes one connection")
	case (args.protocol == dataplane.ProtoICMP || args.protocol == dataplane.ProtoICMPv6) && args.icmp == nil:
		return errors.New("--icmp: is missing: --fix changes one connection")
	}
	return nil
}

// parse reads what is text.
func (a *explainArgs) parse() (args *flowArgs, port uint16, err error) {
	var errs []error
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	if a.port != "" {
		port, err = parsePort(a.port)
		note("port", err)
		a.hasPort = true
	}
	if a.sourcePort != "" {
		a.flowText.sourcePort, err = parsePort(a.sourcePort)
		note("source-port", err)
	}
	if a.icmp != "" {
		a.flowText.icmp, err = parseICMP(a.icmp)
		note("icmp", err)
	}
	a.services = true
	args, err = a.flowText.parse()
	if args.to.service != "" && a.port == "" {
		note("port", errors.New("is missing; valid: a port of the service"))
	}
	return args, port, errors.Join(append(errs, err)...)
}

func printAnswer(w io.Writer, a *flowArgs, c *connection, answer policy.Answer) {
	f := c.flow
	fmt.Fprintf(w, "%s: %s to %s, %s\n", answer.Verdict, withAddress(a.from, f.Src), withAddress(a.to, f.Dst), matterOf(f))
	noEgress, noIngress := c.silence(c.from, a.from.text), c.silence(c.to, a.to.text)
	printSides(w, "", answer, noEgress, noIngress)
	if s := answer.Staged; s != nil {
		change := "changes nothing"
		if len(s.Changes) > 0 {
			change = "changes " + strings.Join(s.Changes, ", ")
		}
		fmt.Fprintf(w, "with the staged policies: %s (%s)\n", s.Verdict, change)
		printSides(w, "  ", s.Answer, noEgress, noIngress)
	}
}

// silence is why a side may have no say.
func (c *connection) silence(id dataplane.EndpointID, text string) string {
	if c.cluster.state.Endpoints[id] == nil {
		return text + " is no endpoint that felid manages"
	}
	return text + " has no say: what a node and its own pods send each other crosses no interface of the node"
}

// printSides prints all that had a say, in the order of the way, and why a side had none.
func printSides(w io.Writer, indent string, a policy.Answer, noEgress, noIngress string) {
	printSide(w, indent, "egress", a.Egress, noEgress)
	for i := range a.Forward {
		printSide(w, indent, "forward "+a.Forward[i].Direction.String(), &a.Forward[i], "")
	}
	printSide(w, indent, "ingress", a.Ingress, noIngress)
}

// withAddress is an end as it was named, and the address that was chosen.
func withAddress(e end, address netip.Addr) string {
	if e.address.IsValid() {
		return e.text
	}
	return fmt.Sprintf("%s (%s)", e.text, address)
}

// matterOf is protocol and port, or ICMP type.
func matterOf(f policy.Flow) string {
	names := map[uint8]string{
		dataplane.ProtoTCP: "TCP", dataplane.ProtoUDP: "UDP", dataplane.ProtoSCTP: "SCTP", dataplane.ProtoUDPLite: "UDPLite",
		dataplane.ProtoICMP: "ICMP", dataplane.ProtoICMPv6: "ICMPv6",
	}
	name, known := names[f.Protocol]
	if !known {
		name = fmt.Sprintf("protocol %d", f.Protocol)
	}
	if f.ICMPType >= 0 {
		return fmt.Sprintf("%s type %d code %d", name, f.ICMPType, f.ICMPCode)
	}
	if f.DstPort == 0 && hasPorts(f.Protocol) {
		return name + " without a port"
	}
	if f.DstPort != 0 {
		return fmt.Sprintf("%s port %d", name, f.DstPort)
	}
	return name
}

// printSide prints one side's verdict, and the rules that were looked at; or why there is none.
func printSide(w io.Writer, indent, side string, v *policy.Verdict, silence string) {
	if v == nil {
		fmt.Fprintf(w, "%s%s: %s\n", indent, side, silence)
		return
	}
	fmt.Fprintf(w, "%s%s of %s: %s by %s\n", indent, side, v.Endpoint, v.Action, deciderText(v.By))
	for _, s := range v.Trace {
		by := policy.Decider{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Tier: s.Tier}
		result := "matched"
		if !s.Matched {
			result = "not matched: " + s.Why
		}
		stage := ""
		if s.Stage != "" {
			stage = s.Stage + ": "
		}
		fmt.Fprintf(w, "%s  %s%s rule %d %s: %s", indent, stage, nameOfDecider(by), s.Rule, s.Action, result)
		if s.Note != "" {
			fmt.Fprintf(w, " (%s)", s.Note)
		}
		fmt.Fprintln(w)
	}
}

// deciderText is "NetworkPolicy web-ns/p (tier application), rule 2" or "end of tier application, after NetworkPolicy web-ns/p". The stage at a host
// endpoint stands beside the tier: "(tier default, untracked)".
func deciderText(d policy.Decider) string {
	tier := d.Tier
	if d.Stage != "" {
		tier += ", " + d.Stage
	}
	switch {
	case d.Name == "":
		return d.Reason
	case d.Reason == policy.ReasonEndOfTier:
		return fmt.Sprintf("end of tier %s, after %s", tier, nameOfDecider(d))
	case d.Tier != "":
		return fmt.Sprintf("%s (tier %s), rule %d", nameOfDecider(d), tier, d.Rule)
	}
	return fmt.Sprintf("%s, rule %d", nameOfDecider(d), d.Rule)
}

func nameOfDecider(d policy.Decider) string {
	return dataplane.PolicyID{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}.String()
}
