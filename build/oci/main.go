package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	linux := flag.String("linux", "bin/felid-image.tar", "archive of the image for Linux, as build/image writes it")
	windows := flag.String("windows", "bin/windows-amd64", "folder with felid.exe and felid-cni.exe")
	out := flag.String("out", "bin/felid-image-oci.tar", "archive to write")
	name := flag.String("name", "felid.dev/felid:dev", "name of the image")
	flag.Parse()
	if err := run(*linux, *windows, *out, *name); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(linux, windows, out, name string) error {
	l, err := linuxImage(linux)
	if err != nil {
		return err
	}
	w, err := windowsImage(windows)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".oci-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where it has been renamed
	if err := writeLayout(f, name, l, w); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
