package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// image is one system's part.
type image struct {
	platform platform
	config   json.RawMessage
	layers   [][]byte // archives, as they were hashed for the configuration
}

// platform of the OCI image index.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	OSVersion    string `json:"os.version,omitempty"`
}

// config is what felid says in the configuration of an image.
type config struct {
	Architecture string  `json:"architecture"`
	OS           string  `json:"os"`
	Created      string  `json:"created"`
	Config       process `json:"config"`
	RootFS       rootFS  `json:"rootfs"`
}

type process struct {
	Env        []string
	Entrypoint []string
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// epoch is when everything was made.
const epoch = "1970-01-01T00:00:00Z"

// linuxImage reads an archive as docker save and build/image write it.
func linuxImage(path string) (*image, error) {
	files, err := readArchive(path)
	if err != nil {
		return nil, fmt.Errorf("%w; valid: an archive of build/image", err)
	}
	var manifests []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifests); err != nil || len(manifests) != 1 {
		return nil, fmt.Errorf("%s: manifest.json is not that of one image: %w", path, err)
	}
	var c config
	if err := json.Unmarshal(files[manifests[0].Config], &c); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, manifests[0].Config, err)
	}
	if len(c.RootFS.DiffIDs) != len(manifests[0].Layers) {
		return nil, fmt.Errorf("%s: %d layers, and %d in the configuration", path, len(manifests[0].Layers), len(c.RootFS.DiffIDs))
	}
	i := &image{platform: platform{Architecture: c.Architecture, OS: c.OS}, config: files[manifests[0].Config]}
	for n, name := range manifests[0].Layers {
		if digest(files[name]) != c.RootFS.DiffIDs[n] {
			return nil, fmt.Errorf("%s: %s is not the layer %s", path, name, c.RootFS.DiffIDs[n])
		}
		i.layers = append(i.layers, files[name])
	}
	return i, nil
}

func readArchive(path string) (map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(r)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
}

// programs are those that the image for Windows has.
var programs = []string{"felid.exe", "felid-cni.exe"}

// hives are the files by which Windows knows a base layer.
var hives = []string{"DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"}

// windowsImage has the programs of a folder at the root of its layer, which a HostProcess container finds below %CONTAINER_SANDBOX_MOUNT_POINT%.
func windowsImage(folder string) (*image, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(name string, data []byte) error {
		h := &tar.Header{Name: "Files/" + name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if data == nil {
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	for _, dir := range []string{"", "Windows/", "Windows/System32/", "Windows/System32/config/"} {
		if err := add(dir, nil); err != nil {
			return nil, err
		}
	}
	for _, name := range hives {
		if err := add("Windows/System32/config/"+name, emptyHive(name)); err != nil {
			return nil, err
		}
	}
	for _, name := range programs {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("%w; make build writes it", err)
		}
		if err := add(name, data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	c, err := json.Marshal(config{
		Architecture: "amd64", OS: "windows", Created: epoch,
		Config: process{Env: []string{`PATH=C:\Windows\system32;C:\Windows`}, Entrypoint: []string{"felid.exe"}},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{digest(layer.Bytes())}},
	})
	return &image{platform: platform{Architecture: "amd64", OS: "windows"}, config: c, layers: [][]byte{layer.Bytes()}}, err
}
