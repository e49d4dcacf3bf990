package cli

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/felid-net/felid/policy"
)

// serviceJSON is what becomes of connections to a service, as -o json prints it.
type serviceJSON struct {
	Service  string        `json:"service"`
	Backends []backendJSON `json:"backends"`
}

// backendJSON is one place where a connection to the service may end, and what becomes of it then.
type backendJSON struct {
	Backend string        `json:"backend"` // the endpoint, or the address of what is none
	Address netip.Addr    `json:"address"`
	Port    uint16        `json:"port"`
	Result  policy.Answer `json:"result"`
}

// explainService judges the connection to each place where it may end, of the family that is asked for or else of each that both ends have.
func (in *input) explainService(args *flowArgs, all *cluster, port uint16, output string) error {
	to := args.to
	places, err := policy.Backends(all.objects, to.namespace, to.service, args.protocol, port)
	if err != nil {
		return no(fmt.Errorf("to: %w", err))
	}
	out := serviceJSON{Service: to.text, Backends: []backendJSON{}}
	var wrong error
	for _, place := range places {
		one, name := *args, place.Addr().String()
		one.to = end{address: place.Addr(), text: name}
		if id := all.explainer().EndpointAt(place.Addr()); id != "" {
			name = string(id)
			one.to.text = fmt.Sprintf("%s (%s)", id, place.Addr())
		}
		conn, err := one.find(all)
		if err != nil {
			wrong = err // of another family
			continue
		}
		answer := conn.answer(place.Port())
		out.Backends = append(out.Backends, backendJSON{name, place.Addr(), place.Port(), answer})
		if output != "json" {
			conn.flow.DstPort = place.Port()
			printAnswer(in.app.Out, &one, conn, answer)
		}
	}
	if len(out.Backends) == 0 {
		return no(errors.Join(fmt.Errorf("%s has nowhere to go to at port %d", to.text, port), wrong))
	}
	if output == "json" {
		return printJSON(in.app.Out, out)
	}
	return nil
}
