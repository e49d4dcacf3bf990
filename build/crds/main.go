package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := generate(".", "."); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// generate reads the types below root and writes deploy/crds and the deep copies below out.
func generate(root, out string) error {
	work, err := os.MkdirTemp("", "felid-crds-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	tool := filepath.Join(work, "controller-gen")
	if err := run(filepath.Join(root, "build", "tools"), "go", "build", "-o", tool, "sigs.k8s.io/controller-tools/cmd/controller-gen"); err != nil {
		return err
	}
	for _, group := range []string{"v3", "v1alpha1"} {
		copies, err := filepath.Abs(filepath.Join(out, "api", group))
		if err != nil {
			return err
		}
		if err := run(root, tool, "paths=./api/"+group, "object", "crd:allowDangerousTypes=true", "output:crd:dir="+work, "output:object:dir="+copies); err != nil {
			return err
		}
	}
	return finish(work, filepath.Join(out, "deploy", "crds"))
}

func run(dir, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, output)
	}
	return nil
}

// finish writes each CRD of one folder, completed, into another, and those of kinds known by name alone.
func finish(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, path := range made {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if data, err = complete(data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		files[filepath.Base(path)] = data
	}
	if err := addNamed(files); err != nil {
		return err
	}
	return write(to, files)
}

// write makes a folder of these YAML files and no others; an empty file is none.
func write(dir string, files map[string][]byte) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if len(files[filepath.Base(path)]) > 0 {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for name, data := range files {
		if len(data) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
