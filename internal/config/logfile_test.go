package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLogFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "felid.log")
	c := Defaults()
	c.LogFile, c.LogFileSize = path, 1
	log, closer, err := c.OpenLogger()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for i := range 2000 {
				log.Info("a line", "writer", writer, "i", i, "more", strings.Repeat("x", 400))
			}
		})
	}
	all.Wait()
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + ".1"} {
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 || len(data) > 1<<20 {
			t.Errorf("%s has %d bytes, %v", name, len(data), err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "time=") || !strings.HasSuffix(line, "x\n") {
				t.Fatalf("not a line: %q", line)
			}
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
	log.Info("after the end") // is lost, and disturbs nobody
}

func TestLogFileGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "felid.log")
	for i := range 3 {
		f, err := openLogFile(path, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "line 0\nline 1\nline 2\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestLogFileThatCanNotBeRenamed begins anew where it is: the disk comes before the lines.
func TestLogFileThatCanNotBeRenamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "felid.log")
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := openLogFile(path, 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if n, err := fmt.Fprintf(f, "0123456789 line %d\n", i); err != nil || n != 18 {
			t.Fatal(n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "0123456789 line 4\n" {
		t.Errorf("%q, %v", data, err)
	}
}
