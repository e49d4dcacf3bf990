package etcd

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// reads is a paced connection whose other end writes a byte each step, and when each read of it returned, from its first.
type reads struct {
	*pacedConn
	t     *testing.T
	start time.Time
}

func newReads(t *testing.T, step time.Duration) *reads {
	near, far := net.Pipe()
	stop := make(chan struct{})
	go func() {
		for i := 1; ; i++ {
			if _, err := far.Write([]byte{byte(i)}); err != nil {
				return
			}
			select {
			case <-time.After(step):
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		_, _ = near.Close(), far.Close()
	})
	return &reads{pacedConn: &pacedConn{Conn: near, pace: newPace()}, t: t, start: time.Now()}
}

// next reads into a buffer of that size, and tells when.
func (r *reads) next(size int) time.Duration {
	r.t.Helper()
	if _, err := r.Read(make([]byte, size)); err != nil {
		r.t.Fatal(err)
	}
	return time.Since(r.start)
}

// TestStreamIsPaced: the first of a stream are read at once, and then one each paceEvery.
func TestStreamIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const step = time.Millisecond
		r := newReads(t, step)
		for i := range paceAfter + 1 {
			if at := r.next(8); at != time.Duration(i)*step {
				t.Errorf("read %d at %s, want as soon as it came", i, at)
			}
		}
		last := time.Since(r.start)
		for i := range 5 {
			at := r.next(8)
			if at-last != paceEvery {
				t.Errorf("read %d of the stream %s after the last, want %s", i, at-last, paceEvery)
			}
			last = at
		}
	})
}

// TestWhatComesAloneIsNotHeld: neither what comes rarely, nor what fills the room that there was, nor the answer to a call.
func TestWhatComesAloneIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReads(t, paceGap)
		for i := range 10 {
			if at := r.next(8); at != time.Duration(i)*paceGap {
				t.Errorf("read %d at %s", i, at)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newReads(t, time.Millisecond)
		for i := range 20 {
			if at := r.next(1); at != time.Duration(i)*time.Millisecond {
				t.Errorf("read %d, which leaves no room, at %s", i, at)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newReads(t, time.Millisecond)
		for range paceAfter + 1 {
			r.next(8)
		}
		before := time.Since(r.start)
		time.AfterFunc(paceEvery/4, func() {
			end := r.pace.call()
			time.AfterFunc(time.Second, end)
		})
		if at := r.next(8); at-before != paceEvery/4 {
			t.Errorf("read %s after the last, want when the call began, after %s", at-before, paceEvery/4)
		}
		for i := range 20 {
			before := time.Since(r.start)
			if at := r.next(8); at-before > time.Millisecond {
				t.Errorf("read %d during a call was held for %s", i, at-before)
			}
		}
	})
}

// TestPacedConnectionHangsUp: to close it ends a read that is held at the next.
func TestPacedConnectionHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReads(t, time.Millisecond)
		for range paceAfter + 1 {
			r.next(8)
		}
		before := time.Now()
		time.AfterFunc(time.Millisecond, func() { _ = r.Close() })
		if _, err := r.Read(make([]byte, 8)); err == nil || time.Since(before) > paceEvery {
			t.Errorf("%v after %s", err, time.Since(before))
		}
	})
}
