package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// EnsurePause makes the image of the container that holds a pod's namespaces
// from one static program, and puts it into the store unless it is there.
func EnsurePause(ctx context.Context, store Store, program, name string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading the pause program: %w", err)
	}
	id := digestOf(content)
	if has, err := store.Has(ctx, name, id); err != nil || has {
		return err
	}
	archive, err := singleProgram(name, "/pause", content)
	if err != nil {
		return err
	}
	_, err = store.Import(ctx, bytes.NewReader(archive), id)
	return err
}

// singleProgram returns an image with one file, in the format of docker save.
func singleProgram(name, path string, program []byte) ([]byte, error) {
	layer, err := archive(entry{path[1:], program, 0o755})
	if err != nil {
		return nil, err
	}
	// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{path}, "User": "65535:65535"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digestOf(layer)}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding image configuration: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, fmt.Errorf("encoding image manifest: %w", err)
	}
	return archive(
		entry{"layer.tar", layer, 0o644}, entry{"config.json", config, 0o644}, entry{"manifest.json", manifest, 0o644},
	)
}

// entry is one file of an archive.
type entry struct {
	path    string
	content []byte
	mode    int64
}

// archive packs files without times or owners, so that the same files always
// make the same archive.
func archive(entries ...entry) ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, e := range entries {
		header := &tar.Header{Name: e.path, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", e.path, err)
		}
		if _, err := writer.Write(e.content); err != nil {
			return nil, fmt.Errorf("packing %s: %w", e.path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return out.Bytes(), nil
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
