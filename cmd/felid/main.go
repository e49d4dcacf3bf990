// Command felid is the node agent and the operator's tool. It also answers as a kubectl plugin, by the name kubectl-felid.
package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/felid-net/felid/internal/cli"
)

func main() {
	app := cli.App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: cli.OSEnv, NewDataplane: newDataplane, Survey: survey, Probe: probeHost}
	app.Plugin = strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "kubectl-felid"
	os.Exit(cli.Main(context.Background(), app, os.Args[1:]))
}
