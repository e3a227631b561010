package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Load puts an image into the cluster and reports whether it had to. The source
// is the path of an OCI layout or of an archive made by docker save, or else the
// name of an image in the storage of Docker or buildah.
func Load(ctx context.Context, store Store, tool Tool, source string) (loaded bool, err error) {
	if !store.Exists() {
		return false, errors.New("the cluster is not up: run devcluster up")
	}
	info, err := os.Stat(source)
	if err != nil {
		return loadNamed(ctx, store, tool, source)
	}
	return true, importWith(ctx, store, "", func(out io.Writer) error {
		if info.IsDir() {
			return packLayout(out, source)
		}
		archive, err := os.Open(source)
		if err != nil {
			return err
		}
		defer func() { _ = archive.Close() }()
		return nameArchive(out, archive)
	})
}

// loadNamed carries an image over unless the cluster has the same one.
func loadNamed(ctx context.Context, store Store, tool Tool, name string) (bool, error) {
	id, err := tool.imageID(ctx, name)
	if err != nil {
		return false, err
	}
	if has, err := store.Has(ctx, fullName(name), id); err != nil || has {
		return false, err
	}
	return true, importWith(ctx, store, id, func(out io.Writer) error {
		if tool == Docker {
			return dockerSave(ctx, name, out)
		}
		return buildahSave(ctx, store, name, out)
	})
}

// importWith imports what write writes.
func importWith(ctx context.Context, store Store, id string, write func(io.Writer) error) error {
	in, out := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(out)
		_ = out.CloseWithError(err)
		written <- err
	}()
	_, err := store.Import(ctx, in, id)
	_ = in.CloseWithError(io.ErrClosedPipe) // ends write where the store gave up first
	if cause := <-written; cause != nil && !errors.Is(cause, io.ErrClosedPipe) {
		return errors.Join(cause, err)
	}
	return err
}

// fullName is the name under which Kubernetes knows an image: Docker lets people
// leave out its own registry and the tag latest.
func fullName(name string) string {
	first, _, found := strings.Cut(name, "/")
	switch {
	case !found:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		name = "docker.io/" + name
	}
	if !strings.ContainsAny(name[strings.LastIndex(name, "/"):], ":@") {
		name += ":latest"
	}
	return name
}

// Tool is the program that builds images and keeps them.
type Tool string

// The tools that are known. Docker is preferred where it works, because that is
// what its users look at.
const (
	Docker  Tool = "docker"
	Buildah Tool = "buildah"
)

// FindTool returns the tool that people named, or the one that works.
func FindTool(ctx context.Context, named string) (Tool, error) {
	switch tool := Tool(named); tool {
	case Docker, Buildah:
		return tool, nil
	case "":
	default:
		return "", fmt.Errorf("unknown tool %q: %s and %s are known", named, Docker, Buildah)
	}
	if exec.CommandContext(ctx, string(Docker), "info").Run() == nil {
		return Docker, nil
	}
	return Buildah, nil
}

func (t Tool) imageID(ctx context.Context, name string) (string, error) {
	args := []string{"image", "inspect", "--format", "{{.Id}}", name}
	if t == Buildah {
		args = []string{"inspect", "--type", "image", "--format", "{{.FromImageID}}", name}
	}
	out, err := output(exec.CommandContext(ctx, string(t), args...))
	if err != nil {
		return "", fmt.Errorf("no image %s in %s's storage, and no file of that name: %w", name, t, err)
	}
	return strings.TrimPrefix(strings.TrimSpace(out), "sha256:"), nil
}

// dockerSave writes an image, with its name in it, in the format of docker save.
func dockerSave(ctx context.Context, name string, out io.Writer) error {
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, string(Docker), "image", "save", name)
	cmd.Stdout, cmd.Stderr = out, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("docker image save %s: %w: %s", name, err, complaint.String())
	}
	return nil
}

// buildahSave writes what the store lacks of an image. The image goes through a
// file because buildah writes back into what it has written.
func buildahSave(ctx context.Context, store Store, name string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "devcluster-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "image.tar")
	destination := "docker-archive:" + path + ":" + fullName(name)
	if _, err := output(exec.CommandContext(ctx, string(Buildah), "push", "--quiet", name, destination)); err != nil {
		return err
	}
	archive, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	image, err := openSaved(archive)
	if err != nil {
		return err
	}
	have, err := store.contents(ctx)
	if err != nil {
		return err
	}
	return image.packMissing(out, fullName(name), have)
}
