package iptables

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestKernelEdits: chains of which few rules change are edited, to the same end as if they were written whole, and with few lines.
func TestKernelEdits(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Driver, f Family) {
		table := d.Table(f, "filter")
		rules := func(ports ...int) []string {
			var out []string
			for _, p := range ports {
				out = append(out, fmt.Sprintf("-p tcp -m multiport --dports %d -j felid-a", p))
			}
			return append(out, "-j DROP")
		}
		table.SetChain("felid-a", []string{"-j RETURN"})
		long := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
		table.SetChain("felid-x", rules(long...))
		table.SetChain("felid-y", rules(long...))
		apply(t, table)
		for _, to := range [][]int{
			{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {0, 1, 2, 3, 4, 50, 51, 52, 6, 7, 8, 9, 10, 11, 12}, {0, 1, 2, 3, 4, 50, 52, 6, 7, 8, 9, 10, 11, 12},
			{0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12}, {0, 1, 2, 3, 4, 7, 8, 10, 9, 11, 12}, {1, 2, 3, 4, 7, 8, 10, 9, 11, 12, 12, 13},
		} {
			table.SetChain("felid-x", rules(to...))
			table.SetChain("felid-y", rules(append([]int{99}, to...)...))
			table.SetChain("felid-new", []string{"-j felid-x"})
			p, err := table.next()
			if err != nil || len(p.edits) == 0 && to[0] == 0 { // the last one changes at both ends, and is written whole
				t.Errorf("%v: %d edits, %v", to, len(p.edits), err)
			}
			apply(t, table)
			wantKernel(t, d, f, "felid-x", rules(to...)...)
			wantKernel(t, d, f, "felid-y", rules(append([]int{99}, to...)...)...)
			rb, err := table.ReadBack(context.Background())
			if err != nil || !table.Reconcile(rb) || table.Pending() {
				t.Fatalf("%v: after reading back something is to be written: %v", to, err)
			}
		}
		run(t, strings.TrimSuffix(program(f, d.Variant(), ""), "-"), "-D", "felid-x", "1")
		table.SetChain("felid-x", rules(append([]int{70}, long...)...))
		table.SetChain("felid-x", rules(append([]int{71}, long...)...))
		apply(t, table)
		wantKernel(t, d, f, "felid-x", rules(append([]int{71}, long...)...)...)
	})
}
