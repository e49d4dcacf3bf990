package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/local"
)

func newValidate(app *App) *cobra.Command {
	in := &input{app: app}
	var output string
	c := &cobra.Command{
		Use:   "validate -f FILE|DIR|-",
		Short: "Say what is wrong with resources, all of it, without applying them",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(in.files) == 0 {
				return usage(errors.New("give files with -f"))
			}
			return in.validate(output)
		},
	}
	addFiles(c, &in.files, "file or folder, or - for standard input (repeatable)")
	addOutput(c, &output, "table", "json")
	return c
}

// validate prints a line for each invalid field, or a JSON array of them. Warnings are no part of the answer.
func (in *input) validate(output string) error {
	found, faults, err := in.read()
	if err != nil {
		return err
	}
	warnings, invalid := split(faults)
	printFaults(in.app.Err, warnings)
	if output != "json" {
		printFaults(in.app.Out, invalid) // they are the answer
	} else if err := printJSON(in.app.Out, faultsJSON(invalid)); err != nil {
		return err
	}
	if v3.Failed(faults) {
		return &exitError{exitNo, nil}
	}
	if output != "json" {
		printValid(in.app.Out, found)
	}
	return nil
}

// printValid says how many objects were read, and which of them have no effect.
func printValid(w io.Writer, found *local.Objects) {
	n := len(found.Raw)
	for i := range found.Found {
		if found.Found[i].Origin == "" {
			n++
		}
	}
	fmt.Fprintf(w, "%d valid\n", n)
	for _, key := range found.NotEnforced {
		fmt.Fprintf(w, "%s: %s\n", key, notEnforced)
	}
	for i := range found.Raw {
		if r := &found.Raw[i]; !r.Enforced() {
			fmt.Fprintf(w, "%s: %s\n", r.Origin, notEnforced)
		}
	}
	printForeign(w, found.Foreign)
}

func split(faults []v3.FieldError) (warnings, invalid []v3.FieldError) {
	for _, f := range faults {
		if f.Warning {
			warnings = append(warnings, f)
		} else {
			invalid = append(invalid, f)
		}
	}
	return warnings, invalid
}

func printFaults(w io.Writer, faults []v3.FieldError) {
	for _, f := range faults {
		fmt.Fprintln(w, f.Error())
	}
}

// faultJSON is a fault as `validate -o json` prints it; its names are stable.
type faultJSON struct {
	Object string `json:"object"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Field  string `json:"field"`
	Error  string `json:"error"`
}

func faultsJSON(faults []v3.FieldError) []faultJSON {
	out := make([]faultJSON, len(faults))
	for i, f := range faults {
		text := f.Problem
		if f.Valid != "" {
			text += "; valid: " + f.Valid
		}
		out[i] = faultJSON{f.Object, f.File, f.Line, f.Field, text}
	}
	return out
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func printForeign(w io.Writer, foreign map[string]int) {
	for _, kind := range slices.Sorted(maps.Keys(foreign)) {
		fmt.Fprintf(w, "%d of %s left alone\n", foreign[kind], kind)
	}
}
