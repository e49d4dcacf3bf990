package controller

import (
	"container/heap"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// task is an item of a reconciler.
type task struct {
	reconciler int // place in the loop's list
	item       v3.Key
}

// schedule is when each task is to be planned: at most once, at the earliest time that was asked for.
type schedule struct {
	at    map[task]time.Time
	queue queue
}

type entry struct {
	task task
	at   time.Time
}

func newSchedule() *schedule { return &schedule{at: map[task]time.Time{}} }

// add asks for a task at a time; an earlier time that was asked for already stays.
func (s *schedule) add(t task, at time.Time) {
	if before, ok := s.at[t]; ok && !at.Before(before) {
		return
	}
	s.at[t] = at
	heap.Push(&s.queue, entry{t, at})
}

// pop takes the first task whose time has come.
func (s *schedule) pop(now time.Time) (task, bool) {
	next, ok := s.next()
	if !ok || next.After(now) {
		return task{}, false
	}
	e := heap.Pop(&s.queue).(entry)
	delete(s.at, e.task)
	return e.task, true
}

// next is when the first task is due; false if there is none.
func (s *schedule) next() (time.Time, bool) {
	for len(s.queue) > 0 {
		first := s.queue[0]
		if at, ok := s.at[first.task]; ok && at.Equal(first.at) {
			return at, true
		}
		heap.Pop(&s.queue) // was asked for earlier, and done
	}
	return time.Time{}, false
}

func (s *schedule) len() int { return len(s.at) }

// queue is a heap of entries by time.
type queue []entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = entry{}
	*q = (*q)[:last]
	return e
}
