package kube

import "time"

// doubt judges lists that lost much. An API server that was restarted with an empty etcd, or with an old copy of it, answers as calmly as any;
// what it does not have any more is not believed to be gone until that has stayed so for a while.
type doubt struct {
	since    time.Time // of the first list that is doubted; zero: none is
	revision string    // the highest seen
}

// manyObjects is how many objects of a resource are so many that it is odd to lose half of them at once.
const manyObjects = 10

// odd tells whether a list is to be doubted that has lost so many of so many objects known: all of them, most of many, or any at all while the
// server's revision went back, which it never does in one cluster's life.
func (d *doubt) odd(known, lost int, revision string) bool {
	return lost > 0 && (lost == known || known >= manyObjects && lost > known/2 || earlier(revision, d.revision))
}

// believe judges a list; patience is how long one that is odd has to stay so.
func (d *doubt) believe(known, lost int, revision string, now time.Time, patience time.Duration) bool {
	if !d.odd(known, lost, revision) {
		*d = doubt{revision: revision}
		return true
	}
	if d.since.IsZero() {
		d.since = now
	}
	if now.Sub(d.since) < patience {
		return false
	}
	*d = doubt{revision: revision}
	return true
}

// seen remembers a revision that a watch showed.
func (d *doubt) seen(revision string) {
	if d.since.IsZero() {
		d.revision = revision
	}
}
