package wine

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Options of a program that is built.
type Options struct {
	// Race builds it with the race detector, by mingw's C compiler.
	Race bool
	// Tags are build tags, separated by commas.
	Tags string
	// AsShipped: without what tests need of Go's library under Wine 8 (see overlay). Programs are always so.
	AsShipped bool
}

// Program builds the command in a package of ours ("./cmd/felid") for Windows and gives its path. Programs are kept in the user's cache; go
// builds again what has changed.
func Program(t testing.TB, pkg string, o Options) string {
	t.Helper()
	o.AsShipped = true
	return build(t, pkg, o, "build")
}

// TestProgram builds the tests of a package for Windows, ours ("./cni") or another ("github.com/Microsoft/hcsshim/hcn").
func TestProgram(t testing.TB, pkg string, o Options) string {
	t.Helper()
	return build(t, pkg, o, "test", "-c")
}

// Folder is where the tests of a package of ours run, as go test has it.
func Folder(t testing.TB, pkg string) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, filepath.FromSlash(pkg))
}

func build(t testing.TB, pkg string, o Options, verb ...string) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	args, err := o.arguments(folder)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(folder, "bin", name(root, pkg, verb[0], args))
	cmd := exec.Command("go", append(append(verb, args...), "-o", exe, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if o.Race {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1", "CC=x86_64-w64-mingw32-gcc")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s for Windows: %v\n%s", pkg, err, out)
	}
	if _, err := os.Stat(exe); err != nil {
		t.Fatalf("building %s for Windows made no program: has it tests? %v", pkg, err)
	}
	return exe
}

// name keeps the programs of different checkouts and options apart.
func name(root, pkg, verb string, args []string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{root, pkg, verb}, args...), "\x00")))
	return fmt.Sprintf("%x/%s.exe", sum[:6], path.Base(pkg))
}

func (o Options) arguments(folder string) ([]string, error) {
	var args []string
	if o.Race {
		args = append(args, "-race")
	}
	if o.Tags != "" {
		args = append(args, "-tags", o.Tags)
	}
	if !o.AsShipped {
		file, err := overlay(folder)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", file)
	}
	return args, nil
}

// patches of Go's library, for what Wine 8 lacks and Windows has: FileDispositionInformationEx, without which os.RemoveAll, and so t.TempDir, fail;
// and SIO_UDP_NETRESET, without which there is no UDP.
var patches = []struct{ file, old, new string }{
	{"internal/syscall/windows/at_windows.go", "STATUS_NOT_SUPPORTED: ", "STATUS_NOT_SUPPORTED, NTStatus(0xC0000002): "},
	{
		"net/fd_windows.go",
		"windows.SIO_UDP_NETRESET, (*byte)(unsafe.Pointer(&flag)), size, nil, 0, &ret, nil, 0)\n\t\tif err != nil {",
		"windows.SIO_UDP_NETRESET, (*byte)(unsafe.Pointer(&flag)), size, nil, 0, &ret, nil, 0)\n\t\tif err != nil && err != syscall.Errno(10045) {",
	},
}

// overlay writes the patched files and the file that names them to go.
func overlay(folder string) (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src")
	replace := map[string]string{}
	for _, p := range patches {
		original := filepath.Join(source, p.file)
		patched := filepath.Join(folder, "overlay", p.file)
		if err := patch(original, patched, p.old, p.new); err != nil {
			return "", err
		}
		replace[original] = patched
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "overlay", "overlay.json")
	return file, write(file, text)
}

func patch(original, patched, old, replacement string) error {
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	if bytes.Count(text, []byte(old)) != 1 {
		return fmt.Errorf("%s does not have %q once: this version of Go needs another patch for Wine", original, old)
	}
	return write(patched, bytes.Replace(text, []byte(old), []byte(replacement), 1))
}

// write leaves a file alone that is as it should be: another test may be compiling it.
func write(file string, text []byte) error {
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), "new")
	if err != nil {
		return err
	}
	if _, err := temporary.Write(text); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}
