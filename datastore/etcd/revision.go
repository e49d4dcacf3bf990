package etcd

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felid-net/felid/datastore"
)

// lineage tells one history of a store from another: etcd's revisions only grow until it is restored or emptied. It has a lock of its own.
type lineage struct {
	mu      sync.Mutex
	cluster uint64 // 0: not seen yet
	highest int64  // revision seen
	era     int    // how many histories were believed before
	doubt   time.Duration
	until   time.Time // a break is doubted until then; zero: there is none
	broken  string    // what was seen of it
}

// seen is what a call that began then may expect.
type seen struct {
	cluster uint64
	highest int64
	era     int
}

func (l *lineage) before() seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	return seen{l.cluster, l.highest, l.era}
}

// answer judges the head of an answer that is linearizable, to a call that began at then. An error means that the answer is of another
// history; started is true for the first such.
func (l *lineage) answer(then seen, cluster uint64, revision int64, now time.Time) (started bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := then.cluster == 0 || cluster == l.cluster && (revision >= then.highest || then.era != l.era)
	if same && l.until.IsZero() {
		l.cluster, l.highest = cluster, max(l.highest, revision)
		return false, nil
	}
	switch {
	case same: // the old history is back
		l.highest = max(l.highest, revision)
		l.until = time.Time{}
		return false, nil
	case l.until.IsZero():
		started = true
		l.until = now.Add(l.doubt)
		l.broken = fmt.Sprintf("its revision was %d and is %d", l.highest, revision)
		if cluster != l.cluster {
			l.broken = "it is another cluster"
		}
	case !now.Before(l.until): // it has stayed
		l.cluster, l.highest, l.until = cluster, revision, time.Time{}
		l.era++
		return false, nil
	}
	return started, fmt.Errorf("%w: etcd was restored or emptied: %s; what was known before stays until %s, then what it has by then counts",
		datastore.ErrUnreachable, l.broken, l.until.UTC().Format(time.RFC3339))
}

func (l *lineage) doubted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.until.IsZero()
}

func (l *lineage) eraNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.era
}

// objectRevision is an object's revision as text; the era is left out where there was one alone.
func objectRevision(revision int64, era int) string {
	text := strconv.FormatInt(revision, 10)
	if era > 0 {
		text += "-" + strconv.Itoa(era)
	}
	return text
}

// parseObjectRevision reads what objectRevision wrote; false for what is of another era, or nobody's.
func parseObjectRevision(text string, era int) (int64, bool) {
	number, _, _ := strings.Cut(text, "-")
	revision, err := strconv.ParseInt(number, 10, 64)
	return revision, err == nil && revision > 0 && text == objectRevision(revision, era)
}

// listRevision is what a Watch goes on from.
type listRevision struct {
	cluster  uint64
	revision int64
	era      int
}

func (r listRevision) String() string {
	return strconv.FormatUint(r.cluster, 16) + "." + objectRevision(r.revision, r.era)
}

func parseListRevision(text string, era int) (listRevision, bool) {
	cluster, number, ok := strings.Cut(text, ".")
	id, err := strconv.ParseUint(cluster, 16, 64)
	revision, current := parseObjectRevision(number, era)
	return listRevision{id, revision, era}, ok && err == nil && current
}
