package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
)

func newValidate(app *App) *cobra.Command {
	var files []string
	var output string
	c := &cobra.Command{
		Use:   "validate -f FILE|DIR|-",
		Short: "Say what is wrong with resources, all of it, without applying them",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(files) == 0 {
				return usage(errors.New("give files with -f"))
			}
			found, faults, err := readValid(files)
			if err != nil {
				return usage(err)
			}
			if err := printFaults(app, output, faults); err != nil {
				return err
			}
			if v3.Failed(faults) {
				return &exitError{exitNo, nil}
			}
			if output == "table" {
				fmt.Fprintf(app.Out, "%d valid\n", len(found.Found))
				printForeign(app.Out, found.Foreign)
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "file or folder, or - for standard input (repeatable)")
	addOutput(c, &output, "table", "json")
	return c
}

// faultJSON is a fault as `validate -o json` prints it; its names are stable.
type faultJSON struct {
	Object  string `json:"object"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Field   string `json:"field"`
	Error   string `json:"error"`
	Warning bool   `json:"warning,omitempty"`
}

func printFaults(app *App, output string, faults []v3.FieldError) error {
	if output != "json" {
		for _, f := range faults {
			fmt.Fprintln(app.Err, f.Error())
		}
		return nil
	}
	out := make([]faultJSON, len(faults))
	for i, f := range faults {
		text := f.Problem
		if f.Valid != "" {
			text += "; valid: " + f.Valid
		}
		out[i] = faultJSON{f.Object, f.File, f.Line, f.Field, text, f.Warning}
	}
	return printJSON(app.Out, out)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printForeign(w io.Writer, foreign map[string]int) {
	for kind, n := range foreign {
		fmt.Fprintf(w, "%d of %s left alone\n", n, kind)
	}
}
