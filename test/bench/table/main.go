// Command table runs the benchmarks of the core that have a bar, and prints one line a figure: the bar, what was measured, and the
// same with twice the load. Any system.
//
// Figures of CPU time hold on a machine that others use too; the collection of garbage is in them.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// line is a figure with a bar.
type line struct {
	what      string
	benchmark string // with the name of its load, as "%s"
	loads     [2]string
	unit      string // of the benchmark's output
	show      string // the unit to print
	scale     float64
	most      float64
}

// run is one call of go test.
type run struct{ folder, pattern, times string }

var runs = []run{
	{"./policy", "^BenchmarkWideCold$|^BenchmarkCrowdCold$", "1x"},
	{"./policy", "^BenchmarkWideLabelChange$", "2000x"},
	{"./internal/cli", "^BenchmarkDiff$", "1x"},
}

var (
	wide  = [2]string{"namespaces=25000", "namespaces=50000"}
	crowd = [2]string{"pods=10000", "pods=20000"}
	w3    = [2]string{"endpoints=50250", "endpoints=100500"}
)

var lines = []line{
	{"100,000 pods, 75,000 policies, one node: CPU", "WideCold/%s", wide, "cpu-s/op", "s", 1, 5},
	{"100,000 pods, 75,000 policies, one node: wall", "WideCold/%s", wide, "ns/op", "s", 1e-9, 5},
	{"100,000 pods, 75,000 policies: memory", "WideCold/%s", wide, "peak-MB", "MB", 1, 1000},
	{"10,000 pods, 10,000 policies, one namespace: CPU", "CrowdCold/%s", crowd, "cpu-s/op", "s", 1, 5},
	{"the same, every pod on this node: CPU", "CrowdCold/all-local/%s", crowd, "cpu-s/op", "s", 1, 5},
	{"a label of a pod of 100,000, on this node: time", "WideLabelChange/%s/here", wide, "ns/op", "µs", 1e-3, 1000},
	{"a label of a pod of 100,000, on this node", "WideLabelChange/%s/here", wide, "allocs/op", "allocs", 1, 200},
	{"a label of a pod of 100,000, elsewhere: time", "WideLabelChange/%s/elsewhere", wide, "ns/op", "µs", 1e-3, 1000},
	{"a label of a pod of 100,000, elsewhere", "WideLabelChange/%s/elsewhere", wide, "allocs/op", "allocs", 1, 200},
	{"diff of one of 5,000 policies, 50,250 pods: wall", "Diff/%s", w3, "ns/op", "s", 1e-9, 5},
	{"diff of one of 5,000 policies, 50,250 pods: CPU", "Diff/%s", w3, "cpu-s/op", "s", 1, 5},
}

const row = "%-50s %11s %11s %14s  %s\n"

func main() {
	verbose := flag.Bool("v", false, "print what go test prints, too")
	flag.Parse()
	figures := map[string]float64{}
	for _, r := range runs {
		if err := r.measure(figures, *verbose); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
	fmt.Printf(row, "figure", "bar", "measured", "twice the load", "")
	for _, l := range lines {
		l.print(figures)
	}
}

// measure keeps each figure under "NAME UNIT".
func (r *run) measure(figures map[string]float64, verbose bool) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", r.pattern, "-benchtime", r.times, "-benchmem", "-timeout", "30m", r.folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	read(out, figures, verbose)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", r.folder, err)
	}
	return nil
}

// read takes the figures of "BenchmarkNAME-8 1 123 ns/op 4 B/op".
func read(in io.Reader, figures map[string]float64, verbose bool) {
	for scanner := bufio.NewScanner(in); scanner.Scan(); {
		words := strings.Fields(scanner.Text())
		if verbose {
			fmt.Println(scanner.Text())
		}
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(words[0], "Benchmark")
		if dash := strings.LastIndexByte(name, '-'); dash > 0 {
			name = name[:dash]
		}
		for i := 2; i+1 < len(words); i += 2 {
			if value, err := strconv.ParseFloat(words[i], 64); err == nil {
				figures[name+" "+words[i+1]] = value
			}
		}
	}
}

func (l *line) print(figures map[string]float64) {
	value := func(load int) (float64, bool) {
		v, ok := figures[fmt.Sprintf(l.benchmark, l.loads[load])+" "+l.unit]
		return v * l.scale, ok
	}
	measured, ok := value(0)
	if !ok {
		fmt.Printf(row, l.what, number(l.most)+" "+l.show, "-", "-", "NOT MEASURED")
		return
	}
	verdict := "met"
	if measured > l.most {
		verdict = fmt.Sprintf("MISSED by %.0f %%", 100*(measured/l.most-1))
	}
	twice := "-"
	if doubled, ok := value(1); ok {
		twice = fmt.Sprintf("%s (x %.1f)", number(doubled), doubled/measured)
	}
	fmt.Printf(row, l.what, number(l.most)+" "+l.show, number(measured)+" "+l.show, twice, verdict)
}

// number has three digits that mean something.
func number(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
