// Package agent is the node loop: watch, resolve, apply, report.
//
// One goroutine owns the resolvers and calls the dataplane; everybody else (the syncer, the CNI server, the HTTP endpoints, the drift
// watch) talks to it by channels. Updates are taken until the queue is empty or 5 ms have passed since the first, then flushed and
// applied. Nothing is applied before the datastore is in sync, so that rules already in the kernel stay as they are until the agent
// knows better.
//
// A pod's endpoint is given directly by the CNI server and counts until the watch shows the same sandbox or a newer one; the CNI
// server waits for the first Apply whose Result does not name it. The loop never waits for the datastore nor for a CNI call.
//
// The package knows no driver and no datastore back end: both are chosen in cmd/felid.
package agent
