package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Media types of the OCI image specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// windowsReleases are those that containerd before 1.7 looks for in an index: it takes no image there that does not name the node's.
var windowsReleases = []string{"10.0.20348", "10.0.26100"}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// layout is an image layout while it is made.
type layout struct {
	blobs map[string][]byte // by digest
}

// writeLayout writes the archive of a layout whose one image has these parts.
func writeLayout(w io.Writer, name string, parts ...*image) error {
	l := layout{blobs: map[string][]byte{}}
	all := index{SchemaVersion: 2, MediaType: typeIndex}
	for _, part := range parts {
		d, err := l.addImage(part)
		if err != nil {
			return err
		}
		for _, p := range platforms(part.platform) {
			d.Platform = &p
			all.Manifests = append(all.Manifests, d)
		}
	}
	d, err := l.addJSON(typeIndex, all)
	if err != nil {
		return err
	}
	_, tag, _ := strings.Cut(name, ":")
	d.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
	top, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return err
	}
	return l.write(w, top)
}

// platforms are all that a part is listed for.
func platforms(p platform) []platform {
	all := []platform{p}
	if p.OS == "windows" {
		for _, release := range windowsReleases {
			all = append(all, platform{p.Architecture, p.OS, release})
		}
	}
	return all
}

// addImage adds a part's blobs, and describes its manifest.
func (l *layout) addImage(i *image) (descriptor, error) {
	m := manifest{SchemaVersion: 2, MediaType: typeManifest, Config: l.add(typeConfig, i.config)}
	for _, layer := range i.layers {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(layer); err != nil {
			return descriptor{}, err
		}
		if err := w.Close(); err != nil {
			return descriptor{}, err
		}
		m.Layers = append(m.Layers, l.add(typeLayer, packed.Bytes()))
	}
	return l.addJSON(typeManifest, m)
}

func (l *layout) addJSON(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	return l.add(mediaType, data), err
}

func (l *layout) add(mediaType string, data []byte) descriptor {
	d := digest(data)
	l.blobs[d] = data
	return descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (l *layout) write(w io.Writer, top []byte) error {
	t := tar.NewWriter(w)
	put := func(name string, data []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	if err := put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := put("index.json", top); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(l.blobs)) {
		if err := put("blobs/"+strings.Replace(d, ":", "/", 1), l.blobs[d]); err != nil {
			return err
		}
	}
	return t.Close()
}
