package ipset

import (
	"context"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func members(list ...string) []Member {
	var out []Member
	for _, p := range list {
		out = append(out, Member{Prefix: netip.MustParsePrefix(p)})
	}
	return out
}

// mustAdd puts members in, and takes out those that are none any more.
func mustAdd(t testing.TB, s *Sets, failed ...string) Result {
	t.Helper()
	res, err := s.ApplyAdds(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	deletes, err := s.ApplyDeletes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(res.Failed, deletes.Failed)
	res.Writes += deletes.Writes
	res.Repairs += deletes.Repairs
	if diff := cmp.Diff(failed, slices.Sorted(maps.Keys(res.Failed))); diff != "" {
		t.Fatalf("failed (-want +got):\n%s\n%v", diff, res.Failed)
	}
	return res
}

func mustRemove(t testing.TB, s *Sets) Result {
	t.Helper()
	res, err := s.ApplyRemoves(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func wantSet(t testing.TB, w *Twin, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, w.Members(name)); diff != "" {
		t.Errorf("%s (-want +kernel):\n%s", name, diff)
	}
}

func TestTheWholeAddressSpaceIsTwoHalves(t *testing.T) {
	w := &Twin{}
	s := New(Config{Kernel: w})
	s.SetDesired("felid6-x", HashNet, IPv6, slices.Values(members("::/0", "2001:db8::/32")))
	mustAdd(t, s)
	wantSet(t, w, "felid6-x", "2001:db8::/32", "8000::/1", "::/1")
	s.AddMembers("felid6-x", slices.Values(members("8000::/1")))
	s.RemoveMembers("felid6-x", slices.Values(members("::/0")))
	mustAdd(t, s)
	wantSet(t, w, "felid6-x", "2001:db8::/32", "8000::/1")
	s.AddMembers("felid6-x", slices.Values(members("::/0")))
	s.RemoveMembers("felid6-x", slices.Values(members("8000::/1")))
	mustAdd(t, s)
	wantSet(t, w, "felid6-x", "2001:db8::/32", "8000::/1", "::/1")
	s.SetDesired("felid6-x", HashNet, IPv6, slices.Values(members("::/1")))
	mustAdd(t, s)
	wantSet(t, w, "felid6-x", "::/1")
}

func TestRefusedMembersDoNotKeepOthersOut(t *testing.T) {
	w := &Twin{Refuse: func(c Command) syscall.Errno {
		if c.Op == OpCreate && c.Set == "felid4-bad" {
			return syscall.ENOMEM
		}
		return 0
	}}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-bad", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	s.SetDesired("felid4-good", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s, "felid4-bad")
	wantSet(t, w, "felid4-good", "10.0.0.0/8")
	s.AddMembers("felid4-good", slices.Values(members("11.0.0.0/8")))
	mustAdd(t, s, "felid4-bad")
	wantSet(t, w, "felid4-good", "10.0.0.0/8", "11.0.0.0/8")
	w.Refuse = nil
	mustAdd(t, s)
	wantSet(t, w, "felid4-bad", "10.0.0.0/8")
	if res := mustAdd(t, s); res.Writes != 0 {
		t.Errorf("%+v", res)
	}
}

func TestOneMemberRefused(t *testing.T) {
	w := &Twin{}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s)
	w.sets["felid4-x"].header.MaxElem = 3 // less than was asked for
	s.AddMembers("felid4-x", slices.Values(members("11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8")))
	res := mustAdd(t, s, "felid4-x")
	if text := res.Failed["felid4-x"].Error(); !strings.Contains(text, "the set is full") || !strings.Contains(text, ".0.0.0/8") {
		t.Errorf("error %q", text)
	}
	if n := len(w.Members("felid4-x")); n != 3 {
		t.Errorf("%d members went in, want 3", n)
	}
	if s.sets["felid4-x"].members.PendingUpdates() != 1 {
		t.Error("the refused member is not pending")
	}
	s.Forget() // the read shows the limit, and the set is made anew
	mustAdd(t, s)
	wantSet(t, w, "felid4-x", "10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8")
	if names := w.Names(); len(names) != 1 {
		t.Errorf("sets %v", names)
	}
}

func TestSwapThatFailsLeavesNothingBehind(t *testing.T) {
	w := &Twin{}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s)
	w.sets["felid4-x"].header.MaxElem = 1
	s.Forget()
	s.AddMembers("felid4-x", slices.Values(members("11.0.0.0/8")))
	w.Refuse = func(c Command) syscall.Errno {
		if c.Op == OpSwap || c.Op == OpDestroy {
			return syscall.ENOMEM
		}
		return 0
	}
	mustAdd(t, s, "felid4-x")
	wantSet(t, w, "felid4-x", "10.0.0.0/8")
	w.Refuse = nil
	if res := mustRemove(t, s); res.Writes != 1 {
		t.Errorf("%+v", res)
	}
	if diff := cmp.Diff([]string{"felid4-x"}, w.Names()); diff != "" {
		t.Errorf("sets (-want +kernel):\n%s", diff)
	}
	mustAdd(t, s)
	wantSet(t, w, "felid4-x", "10.0.0.0/8", "11.0.0.0/8")
}

// A new set that could not be filled does not take the place of the old one.
func TestHalfASetIsNotSwappedIn(t *testing.T) {
	w := &Twin{}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s)
	w.sets["felid4-x"].header.MaxElem = 1
	s.Forget()
	s.AddMembers("felid4-x", slices.Values(members("11.0.0.0/8")))
	w.Refuse = func(c Command) syscall.Errno {
		if c.Op == OpAdd && c.Set != "felid4-x" {
			return syscall.ENOMEM
		}
		return 0
	}
	mustAdd(t, s, "felid4-x")
	wantSet(t, w, "felid4-x", "10.0.0.0/8")
	w.Refuse = nil
	mustAdd(t, s)
	wantSet(t, w, "felid4-x", "10.0.0.0/8", "11.0.0.0/8")
	mustRemove(t, s)
	if diff := cmp.Diff([]string{"felid4-x"}, w.Names()); diff != "" {
		t.Errorf("sets (-want +kernel):\n%s", diff)
	}
}

func TestRemovalIsBoundedAndForgives(t *testing.T) {
	w := &Twin{InUse: map[string]bool{"felid4-0": true}}
	s := New(Config{Kernel: w, MaxDestroys: 2})
	names := []string{"felid4-0", "felid4-1", "felid4-2", "felid4-3"}
	for _, n := range names {
		s.SetDesired(n, HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	}
	mustAdd(t, s)
	for _, n := range names {
		s.Remove(n)
	}
	before := w.Commands
	s.SetDesired("felid4-3", HashNet, IPv4, slices.Values(members("10.0.0.0/8", "11.0.0.0/8"))) // wanted again, before it went
	mustAdd(t, s)
	if w.Commands != before+1 {
		t.Errorf("%d commands for one member", w.Commands-before)
	}
	for range 100 { // which two are tried at a time is left to chance
		if res := mustRemove(t, s); res.Unused <= 1 {
			break
		}
	}
	if diff := cmp.Diff([]string{"felid4-0", "felid4-3"}, w.Names()); diff != "" {
		t.Errorf("sets (-want +kernel):\n%s", diff)
	}
	delete(w.InUse, "felid4-0")
	if res := mustRemove(t, s); res.Unused != 0 || len(res.Failed) > 0 {
		t.Errorf("%+v", res)
	}
}

func TestTypeOfASetMayChange(t *testing.T) {
	w := &Twin{}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	mustAdd(t, s)
	port := Member{netip.MustParsePrefix("10.0.0.1/32"), 6, 80}
	s.SetDesired("felid4-x", HashIPPort, IPv4, slices.Values([]Member{port}))
	mustAdd(t, s)
	wantSet(t, w, "felid4-x", "10.0.0.1,6:80")
	s.Remove("felid4-x")
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	w.InUse = map[string]bool{"felid4-x": true}
	res := mustAdd(t, s, "felid4-x")
	if text := res.Failed["felid4-x"].Error(); !strings.Contains(text, "in use") {
		t.Errorf("error %q", text)
	}
	w.InUse = nil
	mustAdd(t, s)
	wantSet(t, w, "felid4-x", "10.0.0.0/8")
}

func TestReadBackIsDiscardedAfterAWrite(t *testing.T) {
	s := New(Config{Kernel: &Twin{}})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("10.0.0.0/8")))
	rb, err := s.ReadBack(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, s)
	if s.Reconcile(rb) {
		t.Error("an outdated read was taken in")
	}
}

func TestMembersOfTheOtherFamilyAreABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s := New(Config{Kernel: &Twin{}})
	s.SetDesired("felid4-x", HashNet, IPv4, slices.Values(members("2001:db8::/32")))
}

// world is Sets over a Twin, and what was last said of each set.
type world struct {
	twin *Twin
	sets *Sets
	want map[string]map[string]bool
}

var (
	someName    = rapid.SampledFrom([]string{"felid4-a", "felid4-b", "felid4-c"})
	someMembers = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "192.0.2.1/32"}), 0, 4,
		rapid.ID[string])
)

func (x *world) set(t *rapid.T) {
	n, m := someName.Draw(t, "name"), someMembers.Draw(t, "members")
	x.sets.SetDesired(n, HashNet, IPv4, slices.Values(members(m...)))
	x.want[n] = map[string]bool{}
	for _, p := range m {
		x.want[n][p] = true
	}
}

func (x *world) move(t *rapid.T) {
	n, m, out := someName.Draw(t, "name"), someMembers.Draw(t, "members"), rapid.Bool().Draw(t, "out")
	switch {
	case x.want[n] == nil:
		return
	case out:
		x.sets.RemoveMembers(n, slices.Values(members(m...)))
	default:
		x.sets.AddMembers(n, slices.Values(members(m...)))
	}
	for _, p := range m {
		delete(x.want[n], p)
		if !out {
			x.want[n][p] = true
		}
	}
}

func (x *world) remove(t *rapid.T) {
	n := someName.Draw(t, "name")
	x.sets.Remove(n)
	delete(x.want, n)
}

// foreign is another hand: a set is gone, or of another type, or was made with a lower limit.
func (x *world) foreign(t *rapid.T) {
	n := someName.Draw(t, "name")
	defer x.sets.Forget()
	if lower := x.twin.sets[n]; lower != nil && len(lower.members) > 0 && rapid.Bool().Draw(t, "lower limit") {
		lower.header.MaxElem = uint32(len(lower.members))
		return
	}
	delete(x.twin.sets, n)
	if rapid.Bool().Draw(t, "other type") && x.twin.sets != nil {
		x.twin.sets[n] = &twinSet{Header{Type: "hash:mac"}, map[element]struct{}{}}
	}
}

func (x *world) apply(t *rapid.T) {
	ctx := context.Background()
	if res, err := x.sets.ApplyAdds(ctx); err != nil || len(res.Failed) > 0 {
		t.Fatal(res, err)
	}
	if res, err := x.sets.ApplyDeletes(ctx); err != nil || len(res.Failed) > 0 {
		t.Fatal(res, err)
	}
	if res, err := x.sets.ApplyRemoves(ctx); err != nil || len(res.Failed)+res.Unused > 0 {
		t.Fatal(res, err)
	}
	if drifted, err := x.sets.Drifted(ctx); err != nil || drifted {
		t.Fatal("drifted", err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(x.want)), x.twin.Names(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("sets (-want +kernel):\n%s", diff)
	}
	for n, m := range x.want {
		wantHalves(t, x.twin.Members(n), m)
	}
}

// Whatever is said in whatever order, with whatever foreign hands between: the kernel holds it in the end.
func TestSetsEqualDesired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Twin{}
		x := &world{w, New(Config{Kernel: w}), map[string]map[string]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"set": x.set, "move": x.move, "remove": x.remove, "foreign": x.foreign, "apply": x.apply,
		})
		x.apply(t)
	})
}

// wantHalves compares with members in which the whole address space is still one.
func wantHalves(t *rapid.T, got []string, want map[string]bool) {
	all := maps.Clone(want)
	if all["0.0.0.0/0"] {
		delete(all, "0.0.0.0/0")
		all["0.0.0.0/1"], all["128.0.0.0/1"] = true, true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(all)), got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("members (-want +kernel):\n%s", diff)
	}
}

// TestNobodyIsInNoSetBetween: who goes from the set of one Deny to that of another must match one of them all the time.
func TestNobodyIsInNoSetBetween(t *testing.T) {
	var moves []string
	w := &Twin{Refuse: func(c Command) syscall.Errno {
		moves = append(moves, c.Op.String()+" "+c.Set)
		return 0
	}}
	s := New(Config{Kernel: w})
	s.SetDesired("felid4-a", HashNet, IPv4, slices.Values(members("10.0.0.1/32", "10.0.0.2/32")))
	s.SetDesired("felid4-b", HashNet, IPv4, slices.Values(members("10.0.0.3/32")))
	mustAdd(t, s)
	moves = nil
	for _, to := range [][2]string{{"felid4-a", "felid4-b"}, {"felid4-b", "felid4-a"}} {
		s.RemoveMembers(to[0], slices.Values(members("10.0.0.1/32")))
		s.AddMembers(to[1], slices.Values(members("10.0.0.1/32")))
		mustAdd(t, s)
		want := []string{"add " + to[1], "del " + to[0]}
		if diff := cmp.Diff(want, moves); diff != "" {
			t.Errorf("from %s to %s (-want +got):\n%s", to[0], to[1], diff)
		}
		moves = nil
	}
	wantSet(t, w, "felid4-a", "10.0.0.1/32", "10.0.0.2/32")
	wantSet(t, w, "felid4-b", "10.0.0.3/32")
}

// TestCount follows the number of members through all that changes it.
func TestCount(t *testing.T) {
	s := New(Config{Kernel: &Twin{}})
	list := func(texts ...string) iter.Seq[Member] { return slices.Values(members(texts...)) }
	want := func(sets, members int) {
		t.Helper()
		if gotSets, gotMembers := s.Count(); gotSets != sets || gotMembers != members {
			t.Errorf("%d sets with %d members, want %d with %d", gotSets, gotMembers, sets, members)
		}
	}
	s.SetDesired("felid4-a", HashNet, IPv4, list("10.0.0.0/8", "10.1.0.0/16"))
	s.SetDesired("felid4-b", HashNet, IPv4, list("10.0.0.0/8"))
	want(2, 3)
	s.AddMembers("felid4-b", list("10.0.0.0/8", "0.0.0.0/0")) // the whole is two halves
	want(2, 5)
	s.RemoveMembers("felid4-a", list("10.1.0.0/16", "10.2.0.0/16"))
	want(2, 4)
	s.Remove("felid4-a")
	want(1, 3)
	s.SetDesired("felid4-a", HashNet, IPv4, list("10.3.0.0/16"))
	s.SetDesired("felid4-b", HashIPPort, IPv4, func(func(Member) bool) {})
	want(2, 1)
}
