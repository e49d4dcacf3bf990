// Package cli holds the subcommands of felid, one file each, by the contract in docs/command-line.md.
//
// A command object only parses its arguments and then calls a plain function with its input and a writer. Errors carry the exit
// status: 1 the answer is no, 2 the call itself is wrong, 3 the datastore, the agent or the host could not be reached or refused.
package cli
