package iptables

import (
	"bytes"
	"context"
	"fmt"
	"testing"
)

// w2 fills a table as the benchmark workload does: 14,000 rules in 2,333 chains, and a hook.
func w2(table *Table) {
	manyChains(table)
	table.SetHooks("FORWARD", []string{"-j felid-p-00001"})
}

// BenchmarkKernel opens a namespace in each leaf: sub-benchmarks run on threads of their own.
func BenchmarkKernel(b *testing.B) {
	for _, v := range []Variant{NFT, Legacy} {
		b.Run(string(v)+"/fill", func(b *testing.B) { benchmarkFill(b, open(b, v)) })
		b.Run(string(v)+"/bare", func(b *testing.B) { benchmarkBare(b, open(b, v)) })
		b.Run(string(v)+"/one-chain", func(b *testing.B) {
			_, table := filled(b, v)
			for n := 0; b.Loop(); n++ {
				table.SetChain("felid-p-00007", []string{fmt.Sprintf("-p tcp -m tcp --dport %d -j ACCEPT", n%60000+1)})
				if res := apply(b, table); res.Writes != 1 {
					b.Fatal(res)
				}
			}
		})
		b.Run(string(v)+"/read-back", func(b *testing.B) {
			_, table := filled(b, v)
			for b.Loop() {
				table.Forget()
				if res := apply(b, table); res.Writes != 0 {
					b.Fatal(res)
				}
			}
		})
		b.Run(string(v)+"/drifted", func(b *testing.B) {
			d, _ := filled(b, v)
			b.ReportAllocs()
			for b.Loop() {
				if drifted, err := d.Drifted(); err != nil || len(drifted) > 0 {
					b.Fatal(drifted, err)
				}
			}
		})
	}
}

func filled(b *testing.B, v Variant) (*Driver, *Table) {
	d := open(b, v)
	table := d.Table(IPv4, "filter")
	w2(table)
	apply(b, table)
	return d, table
}

func benchmarkFill(b *testing.B, d *Driver) {
	for b.Loop() {
		table := d.Table(IPv4, "filter")
		w2(table)
		apply(b, table)
		b.StopTimer()
		apply(b, d.Table(IPv4, "filter"))
		d.tables = nil
		b.StartTimer()
	}
}

// benchmarkBare is the bare program with the same rules, without marks.
func benchmarkBare(b *testing.B, d *Driver) {
	table := d.Table(IPv4, "filter")
	w2(table)
	var text bytes.Buffer
	text.WriteString("*filter\n")
	for name := range table.chains {
		fmt.Fprintf(&text, ":%s - [0:0]\n", name)
	}
	for name := range table.chains {
		for _, rule := range table.Rules(name) {
			fmt.Fprintf(&text, "-A %s %s\n", name, rule)
		}
	}
	text.WriteString("COMMIT\n")
	for b.Loop() {
		if err := d.restore(context.Background(), IPv4, text.Bytes()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		apply(b, d.Table(IPv4, "filter"))
		d.tables = nil
		b.StartTimer()
	}
}
