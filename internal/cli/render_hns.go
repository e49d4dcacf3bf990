package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/felid-net/felid/dataplane"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// hnsOptions say which HNS is rendered for.
type hnsOptions struct {
	build    int
	features []string
	form     windows.Form
}

func (o *hnsOptions) flags(flags *pflag.FlagSet) {
	flags.IntVar(&o.build, "hns-build", 20348, "of hns, the build of Windows: "+strings.ReplaceAll(strings.Trim(fmt.Sprint(windows.Builds()), "[]"), " ", ", "))
	flags.StringSliceVar(&o.features, "hns-features", []string{"ipv6"}, "of hns, all that lists may use besides plain IPv4 addresses: "+
		strings.Join(windows.Features(), ", ")+`; "" for nothing`)
}

func (o *hnsOptions) check(flags *pflag.FlagSet, dataplane string) error {
	if (flags.Changed("hns-build") || flags.Changed("hns-features")) && dataplane != "hns" {
		return errors.New("--hns-build and --hns-features go with --dataplane hns")
	}
	var err error
	if o.form, err = windows.FormOfBuild(o.build, o.features); err != nil {
		return fmt.Errorf("--hns-build and --hns-features: %w", err)
	}
	return nil
}

// renderedHNS is a node as HNS would be given it.
type renderedHNS struct {
	Build int    `json:"build"`
	Form  string `json:"form"`
	// Sets are to stand on each network that has one of their endpoints, before the lists.
	Sets      []renderedSet      `json:"sets,omitempty"`
	Endpoints []renderedEndpoint `json:"endpoints"`
}

type renderedSet struct {
	Settings  json.RawMessage        `json:"settings"` // of a SetPolicy
	Means     string                 `json:"means"`
	Endpoints []dataplane.EndpointID `json:"endpoints"`
}

type renderedEndpoint struct {
	Endpoint dataplane.EndpointID `json:"endpoint"`
	ACLs     []hns.ACL            `json:"acls"`
	// Expanded are what those IP sets mean whose members are written out in the list, though it names sets.
	Expanded    []string `json:"expanded,omitempty"`
	Unsupported []string `json:"unsupported,omitempty"`
}

func renderHNS(w io.Writer, s *dataplane.State, o *hnsOptions) error {
	out := renderedHNS{Build: o.build, Form: o.form.String(), Endpoints: []renderedEndpoint{}}
	r := windows.NewRenderer(s, windows.Options{Form: o.form})
	users := map[windows.SetRef][]dataplane.EndpointID{}
	for _, e := range sortedEndpoints(s) {
		list := r.List(e.ID)
		for _, ref := range list.Sets {
			users[ref] = append(users[ref], e.ID)
		}
		out.Endpoints = append(out.Endpoints, renderedList(s, e.ID, &list, o.form.Sets))
	}
	for ref, endpoints := range users {
		out.Sets = append(out.Sets, renderedSet{r.Set(ref).Raw(), s.IPSets[ref.Set].Text, endpoints})
	}
	slices.SortFunc(out.Sets, func(a, b renderedSet) int { return bytes.Compare(a.Settings, b.Settings) }) // which begin with the Id
	return printJSON(w, out)
}

func renderedList(s *dataplane.State, id dataplane.EndpointID, list *windows.List, sets bool) renderedEndpoint {
	r := renderedEndpoint{Endpoint: id, ACLs: list.ACLs}
	if r.ACLs == nil {
		r.ACLs = []hns.ACL{}
	}
	for _, set := range list.Expanded {
		if sets {
			r.Expanded = append(r.Expanded, s.IPSets[set].Text)
		}
	}
	for _, u := range list.Unsupported {
		r.Unsupported = append(r.Unsupported, fmt.Sprintf("%s %s rule %d: %s", u.Policy, u.Direction, u.Rule, u.Reason))
	}
	return r
}
