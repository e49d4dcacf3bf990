//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is one set of measurements.
type bench struct {
	bin, backend string
	store        string // a name of stores
	only         []string
	ipv6, header bool
	runs         int
	idleSpan     time.Duration
}

func (b *bench) wants(what string) bool { return slices.Contains(b.only, what) }

// flags are those of the agent that this set is about.
func (b *bench) flags() []string {
	return []string{"--iptables-backend", b.backend, fmt.Sprintf("--ipv6=%t", b.ipv6)}
}

// bar is what a figure has to be at most, and what Calico's agent was measured to need for the same.
type bar struct{ calico, most float64 }

// none is for figures that have no bar.
var none = bar{math.NaN(), math.NaN()}

// barsOf says that a figure's bar counts only with one variant of iptables, IPv6 off.
func (b *bench) barsOf(backend string, calico, most float64) bar {
	if b.ipv6 || b.backend != backend {
		return none
	}
	return bar{calico, most}
}

func printHeader() {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Printf("Linux %s, %d CPUs, load %s (wall times are only as good as the machine is quiet)\n", strings.TrimSpace(string(kernel)), runtime.NumCPU(), load())
	fmt.Printf(row, "backend", "figure", "Calico", "bar", "measured", "")
}

const row = "%-13s %-44s %10s %10s %10s  %s\n"

// figure prints one line: value is in unit, and good at most at bar.
func (b *bench) figure(what, unit string, value float64, limit bar) {
	verdict := ""
	switch {
	case math.IsNaN(limit.most):
	case value <= limit.most:
		verdict = "met"
	default:
		verdict = fmt.Sprintf("MISSED by %.0f %%", 100*(value/limit.most-1))
		if limit.most == 0 {
			verdict = "MISSED"
		}
	}
	config := b.backend
	if b.ipv6 {
		config += " IPv6"
	}
	fmt.Printf(row, config, what, number(limit.calico, unit), number(limit.most, unit), number(value, unit), verdict)
}

func number(v float64, unit string) string {
	if math.IsNaN(v) {
		return "-"
	}
	text := fmt.Sprintf("%.3g", v)
	if v >= 1000 {
		text = fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSpace(text + " " + unit)
}

// note prints a line about the figures before it.
func (b *bench) note(format string, args ...any) {
	fmt.Printf("%-13s   %s\n", "", fmt.Sprintf(format, args...))
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// percentile of values, by nearest rank.
func percentile[T int | float64 | time.Duration](values []T, p int) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
