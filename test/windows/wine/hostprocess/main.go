// Command hostprocess runs a Windows program as the runtime of HostProcess containers does: in a job that ends with this process. When
// its own input ends, it stops the program by CTRL_SHUTDOWN, in the way of hcsshim: a thread in the program, at kernel32's CtrlRoutine. It ends
// with the program's exit code.
package main

import (
	"fmt"
	"os"
)

// failed is the exit code for what goes wrong here.
const failed = 125

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: hostprocess PROGRAM [ARGUMENT…]")
		os.Exit(failed)
	}
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostprocess:", err)
		os.Exit(failed)
	}
	os.Exit(code)
}
