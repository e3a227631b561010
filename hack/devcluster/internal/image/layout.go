package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// refNameAnnotation is where OCI's tools keep an image's name, often the whole
	// of it. https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
	refNameAnnotation = "org.opencontainers.image.ref.name"
	// fullNameAnnotation is where containerd looks for a name to take as it is.
	fullNameAnnotation = "io.containerd.image.name"
	// indexFile lists the images of a layout.
	indexFile = "index.json"
	// largestIndex is far beyond what an index of a few images needs.
	largestIndex = 4 << 20
)

// packLayout writes an OCI layout as an archive that containerd imports under
// the names that are in it.
func packLayout(out io.Writer, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, indexFile)); err != nil {
		return fmt.Errorf("%s is not an OCI layout: %w", dir, err)
	}
	writer := tar.NewWriter(out)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return packFile(writer, path, filepath.ToSlash(relative))
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", dir, err)
	}
	return writer.Close()
}

func packFile(writer *tar.Writer, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return packEntry(writer, &tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}, file)
}

// nameArchive copies an archive, and completes the names in it where it is one
// of an OCI layout.
func nameArchive(out io.Writer, archive io.Reader) error {
	reader, writer := tar.NewReader(archive), tar.NewWriter(out)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return writer.Close()
		}
		if err != nil {
			return fmt.Errorf("reading the archive (it must not be compressed): %w", err)
		}
		if err := packEntry(writer, header, reader); err != nil {
			return err
		}
	}
}

// packEntry copies one file of an archive, and completes the names in an index.
func packEntry(writer *tar.Writer, header *tar.Header, content io.Reader) error {
	if strings.TrimPrefix(header.Name, "./") == indexFile {
		index, err := io.ReadAll(io.LimitReader(content, largestIndex))
		if err != nil {
			return err
		}
		if index, err = completeNames(index); err != nil {
			return err
		}
		header.Size = int64(len(index))
		content = bytes.NewReader(index)
	}
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(writer, content)
	return err
}

// completeNames copies to where containerd looks for it each image's name that
// is a whole one. A tag alone stays what it is. What it does not know of an
// index it leaves as it was.
func completeNames(index []byte) ([]byte, error) {
	var document map[string]json.RawMessage
	if err := json.Unmarshal(index, &document); err != nil {
		return nil, fmt.Errorf("reading %s: %w", indexFile, err)
	}
	var manifests []map[string]json.RawMessage
	if err := json.Unmarshal(document["manifests"], &manifests); err != nil {
		return nil, fmt.Errorf("reading the images of %s: %w", indexFile, err)
	}
	for _, manifest := range manifests {
		annotations := map[string]string{}
		if raw, ok := manifest["annotations"]; ok {
			if err := json.Unmarshal(raw, &annotations); err != nil {
				return nil, fmt.Errorf("reading the annotations of %s: %w", indexFile, err)
			}
		}
		name := annotations[refNameAnnotation]
		if annotations[fullNameAnnotation] != "" || !strings.ContainsAny(name, "/:") {
			continue
		}
		annotations[fullNameAnnotation] = fullName(name)
		raw, err := json.Marshal(annotations)
		if err != nil {
			return nil, err
		}
		manifest["annotations"] = raw
	}
	raw, err := json.Marshal(manifests)
	if err != nil {
		return nil, err
	}
	document["manifests"] = raw
	return json.Marshal(document)
}
