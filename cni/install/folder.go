package install

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix begins the names of files that are being written. No runtime looks at a name like that.
const tempPrefix = ".felid-tmp-"

// maxConfig is the longest configuration that is read, in bytes.
const maxConfig = 1 << 20

// readFolder reads the configuration files of a folder.
func readFolder(dir string) ([]File, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of CNI configuration: %w", err)
	}
	var files []File
	for _, d := range names {
		if d.IsDir() || !isConfig(d.Name()) {
			continue
		}
		path := filepath.Join(dir, d.Name())
		info, err := os.Stat(path) // a link may be what counts
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxConfig) {
			err = errors.New("not a file of at most 1 MiB")
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, fmt.Errorf("reading CNI configuration %s: %w", d.Name(), err)
		}
		files = append(files, File{Name: d.Name(), Data: data})
	}
	return files, nil
}

// put makes path hold data, at once or not at all. rename is what moves the file to its place.
func put(path string, data []byte, mode fs.FileMode, rename func(from, to string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // closed already, perhaps
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// putLink makes path a link to target, at once.
func putLink(path, target string) error {
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+"link")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// syncFolder makes names durable, where the system can.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync() // not every file system, nor Windows, can do this to a folder
	return nil
}

// asidePrefix begins the names of programs that have been put aside because they run.
const asidePrefix = tempPrefix + "aside-"

// replaceProgram moves a file to the place of a program. Windows does not let a program that runs be replaced or removed, but be renamed.
func replaceProgram(rename func(from, to string) error, from, to string) error {
	failure := rename(from, to)
	if failure == nil {
		return nil
	}
	aside := asideOf(to)
	if err := rename(to, aside); err != nil {
		return failure
	}
	if err := rename(from, to); err != nil {
		return errors.Join(err, rename(aside, to))
	}
	return nil
}

// removeProgram removes a program, or, while it runs, puts it aside.
func removeProgram(remove func(string) error, path string) error {
	failure := remove(path)
	if failure == nil || errors.Is(failure, fs.ErrNotExist) {
		return nil
	}
	if err := os.Rename(path, asideOf(path)); err != nil {
		return failure
	}
	return nil
}

// asideOf is a name in the same folder that nothing has.
func asideOf(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, asidePrefix+rand.Text()+"-"+name)
}

// dropTemps removes what a process that died left half written, and programs that were put aside, unless they run still.
func dropTemps(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range names {
		if !strings.HasPrefix(d.Name(), tempPrefix) {
			continue
		}
		err := os.Remove(filepath.Join(dir, d.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(d.Name(), asidePrefix) {
			return err
		}
	}
	return nil
}

// others are the plugins that a runtime (loopback) and felid's own list (portmap) call. Hosts have them, most often.
var others = []string{"loopback", "portmap"}

// binFolder is a host's folder of plugins.
type binFolder struct {
	dir     string
	from    string // the folder that programs are copied from
	windows bool   // programs are called *.exe, and have no mode
}

// path of a plugin.
func (b binFolder) path(name string) string { return filepath.Join(b.dir, b.file(name)) }

func (b binFolder) file(name string) string {
	if b.windows {
		return name + ".exe"
	}
	return name
}

// install writes felid-cni, its other name felid-ipam, and, where felid is the network, those of others that the folder has not. On Windows felid
// is the network of no host, and only felid-cni is written. hasPortmap tells whether that is there in the end.
func (b binFolder) install(guest bool) (hasPortmap bool, err error) {
	if err := dropTemps(b.dir); err != nil {
		return false, fmt.Errorf("the folder of CNI plugins: %w", err)
	}
	if err := b.put(pluginName); err != nil || b.windows {
		return false, err
	}
	if err := putLink(b.path("felid-ipam"), pluginName); err != nil {
		return false, fmt.Errorf("writing CNI plugin felid-ipam: %w", err)
	}
	for _, name := range others {
		_, err = os.Stat(b.path(name))
		if errors.Is(err, fs.ErrNotExist) && !guest {
			err = b.put(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return err == nil, nil // portmap is the last of them
}

// put copies a program, unless it is there as it should be.
func (b binFolder) put(name string) error {
	data, err := os.ReadFile(filepath.Join(b.from, b.file(name)))
	if err != nil {
		return fmt.Errorf("writing CNI plugin %s: %w", name, err)
	}
	path := b.path(name)
	info, err := os.Stat(path)
	if err == nil && (b.windows || info.Mode().Perm() == 0o755) && info.Size() == int64(len(data)) {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, data) {
			return nil
		}
	}
	err = put(path, data, 0o755, func(from, to string) error { return replaceProgram(os.Rename, from, to) })
	if err != nil {
		return fmt.Errorf("writing CNI plugin %s: %w", name, err)
	}
	return nil
}

// remove takes felid's own programs away. One that runs goes when the folder is looked at again.
func (b binFolder) remove() error {
	for _, name := range []string{"felid-ipam", pluginName} {
		if err := removeProgram(os.Remove, b.path(name)); err != nil {
			return err
		}
	}
	return dropTemps(b.dir)
}
