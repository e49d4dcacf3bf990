package install

import (
	"bytes"
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

// put makes path hold data, at once or not at all.
func put(path string, data []byte, mode fs.FileMode) (err error) {
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
	if err = os.Rename(f.Name(), path); err != nil {
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

// dropTemps removes what a process that died left half written.
func dropTemps(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range names {
		if strings.HasPrefix(d.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(dir, d.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// others are the plugins that a runtime (loopback) and felid's own list (portmap) call. Hosts have them, most often.
var others = []string{"loopback", "portmap"}

// programs writes felid-cni, and its other name felid-ipam, from the folder from into dir, and, where felid is the network, those of others
// that dir has not. hasPortmap tells whether that is there in the end.
func programs(from, dir string, guest bool) (hasPortmap bool, err error) {
	if err := dropTemps(dir); err != nil {
		return false, fmt.Errorf("the folder of CNI plugins: %w", err)
	}
	if err := putProgram(from, dir, pluginName); err != nil {
		return false, err
	}
	if err := putLink(filepath.Join(dir, "felid-ipam"), pluginName); err != nil {
		return false, fmt.Errorf("writing CNI plugin felid-ipam: %w", err)
	}
	for _, name := range others {
		_, err = os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && !guest {
			err = putProgram(from, dir, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return err == nil, nil // portmap is the last of them
}

// putProgram copies a program, unless it is there as it should be.
func putProgram(from, dir, name string) error {
	data, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return fmt.Errorf("writing CNI plugin %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() == 0o755 && info.Size() == int64(len(data)) {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, data) {
			return nil
		}
	}
	if err := put(path, data, 0o755); err != nil {
		return fmt.Errorf("writing CNI plugin %s: %w", name, err)
	}
	return nil
}
