// Command felid-cni is the CNI plugin of felid. A container runtime runs it for each pod; it asks the felid agent of the node.
package main

import (
	"os"

	"github.com/felid-net/felid/cni"
)

func main() {
	os.Exit(cni.Main(os.Args[0]))
}
