package wine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is Debian's loader, which is in no folder of PATH.
const program = "/usr/lib/wine/wine64"

// Prefix is a Windows installation.
type Prefix struct {
	folder string
	build  int
}

// New gives the prefix of a build (20348 or 26100), with its services running. It fails the test where Wine is missing.
func New(t testing.TB, build int) *Prefix {
	t.Helper()
	p, err := prefixes[build]()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// prefixes are opened once a process.
var prefixes = map[int]func() (*Prefix, error){
	20348: sync.OnceValues(func() (*Prefix, error) { return open(20348) }),
	26100: sync.OnceValues(func() (*Prefix, error) { return open(26100) }),
}

func open(build int) (*Prefix, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("this test needs Wine on Linux, and this is %s", runtime.GOOS)
	}
	folder, err := cache()
	if err != nil {
		return nil, err
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	setup := exec.Command(filepath.Join(root, "test", "windows", "setup"), strconv.Itoa(build))
	if out, err := setup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a Wine prefix (make wine): %w\n%s", err, out)
	}
	p := &Prefix{folder: filepath.Join(folder, strconv.Itoa(build)), build: build}
	return p, p.warm()
}

// cache is the folder of prefixes and built programs.
func cache() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for Wine's prefixes: %w", err)
	}
	return filepath.Join(user, "felid", "wine"), nil
}

// repository is the folder of go.mod.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// warm starts the services of Windows. Whoever starts the first program of a prefix starts them, and they keep the pipes that it has: so this is
// done with none. They end some minutes after the last program.
func (p *Prefix) warm() error {
	server := exec.Command("wineserver", "-p300")
	server.Env = p.environment()
	_ = server.Run() // fails where one is running
	boot := exec.Command(program, "wineboot")
	boot.Env = p.environment()
	if err := boot.Run(); err != nil {
		return fmt.Errorf("starting Wine in %s: %w", p.folder, err)
	}
	return nil
}

func (p *Prefix) environment() []string {
	env := []string{"WINEPREFIX=" + p.folder, "WINEARCH=win64", "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree=;mshtml=;winemenubuilder.exe="}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "WINE") && name != "DISPLAY" && name != "HNSEMU_ADDR" {
			env = append(env, e)
		}
	}
	return env
}

// Build of Windows that the prefix says it is.
func (p *Prefix) Build() int { return p.build }

// Command runs a Windows program, given by its path on Linux. It ends with the context; its pipes are closed soon after its end, whatever it
// has started. env are further variables, as NAME=VALUE.
func (p *Prefix) Command(ctx context.Context, env []string, exe string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, append([]string{exe}, args...)...)
	cmd.Env = append(p.environment(), env...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Path is how Windows programs name a file of Linux, given by its absolute path.
func Path(linux string) string {
	return `Z:` + strings.ReplaceAll(linux, "/", `\`)
}
