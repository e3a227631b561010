package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Media types of https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// descriptor refers to a part of an image by its content.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// file is a file in an archive, by where its content is.
type file struct{ offset, size int64 }

// saved is an image in the format of docker save with layers that are not
// compressed, as buildah writes it.
type saved struct {
	archive io.ReadSeeker
	files   map[string]file
	config  []byte
	layers  []string // files, by their names in the archive
	digests []string // of the layers
}

// openSaved finds the parts of the only image in an archive.
func openSaved(archive io.ReadSeeker) (*saved, error) {
	s := &saved{archive: archive, files: map[string]file{}}
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		offset, err := archive.Seek(0, io.SeekCurrent) // the reader reads no further than it has to
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeReg {
			s.files[header.Name] = file{offset, header.Size}
		}
	}
	var manifests []struct {
		Config string
		Layers []string
	}
	content, err := s.read("manifest.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, &manifests); err != nil || len(manifests) != 1 {
		return nil, errors.Join(fmt.Errorf("the archive has %d images, not one", len(manifests)), err)
	}
	if s.config, err = s.read(manifests[0].Config); err != nil {
		return nil, err
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(s.config, &config); err != nil {
		return nil, fmt.Errorf("reading the image's configuration: %w", err)
	}
	s.layers, s.digests = manifests[0].Layers, config.RootFS.DiffIDs
	if len(s.layers) != len(s.digests) {
		return nil, fmt.Errorf("the image has %d layers and names %d", len(s.layers), len(s.digests))
	}
	return s, nil
}

func (s *saved) read(name string) ([]byte, error) {
	f, ok := s.files[name]
	if !ok || f.size > largestIndex {
		return nil, fmt.Errorf("the archive has no usable file %s", name)
	}
	content := make([]byte, f.size)
	if _, err := s.archive.Seek(f.offset, io.SeekStart); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(s.archive, content)
	return content, err
}

// packMissing writes the image as an OCI layout under a name, without those
// layers that the store already has: after a change of a program that is one
// layer of a few megabytes instead of a whole image.
func (s *saved) packMissing(out io.Writer, name string, have []string) error {
	layers := []descriptor{}
	for i, digest := range s.digests {
		f, ok := s.files[s.layers[i]]
		if !ok {
			return fmt.Errorf("the archive has no layer %s", s.layers[i])
		}
		layers = append(layers, descriptor{MediaType: layerType, Digest: digest, Size: f.size})
	}
	config := describe(configType, s.config)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers,
	})
	if err != nil {
		return err
	}
	image := describe(manifestType, manifest)
	image.Annotations = map[string]string{fullNameAnnotation: name}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{image},
	})
	if err != nil {
		return err
	}

	writer := tar.NewWriter(out)
	for _, small := range []struct {
		name    string
		content []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{indexFile, index},
		{blobFile(image.Digest), manifest},
		{blobFile(config.Digest), s.config},
	} {
		header := &tar.Header{Name: small.name, Mode: 0o644, Size: int64(len(small.content)), Typeflag: tar.TypeReg}
		if err := packEntry(writer, header, bytes.NewReader(small.content)); err != nil {
			return err
		}
	}
	written := slices.Clone(have)
	for i, layer := range layers {
		if slices.Contains(written, layer.Digest) {
			continue
		}
		written = append(written, layer.Digest)
		if _, err := s.archive.Seek(s.files[s.layers[i]].offset, io.SeekStart); err != nil {
			return err
		}
		header := &tar.Header{Name: blobFile(layer.Digest), Mode: 0o644, Size: layer.Size, Typeflag: tar.TypeReg}
		if err := packEntry(writer, header, io.LimitReader(s.archive, layer.Size)); err != nil {
			return err
		}
	}
	return writer.Close()
}

func describe(mediaType string, content []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digestOf(content), Size: int64(len(content))}
}

// blobFile is where a layout keeps the content with this digest.
func blobFile(digest string) string { return "blobs/sha256/" + digest[len("sha256:"):] }
