// Package image builds the project's images and carries images from wherever
// they are into the cluster's containerd.
package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// idLabel is the label by which an image in the cluster tells what it was made
// from, so that it is not carried over once more.
const idLabel = "dev.sampan.devcluster/id"

// Store is the cluster's containerd.
type Store struct {
	// Ctr is containerd's own client program, and Socket where containerd listens.
	Ctr, Socket string
}

// Exists reports whether its containerd has been started.
func (s Store) Exists() bool {
	_, err := os.Stat(s.Socket)
	return err == nil
}

func (s Store) command(ctx context.Context, args ...string) *exec.Cmd {
	// The namespace of images that the kubelet sees.
	return exec.CommandContext(ctx, s.Ctr, append([]string{"--address", s.Socket, "--namespace", "k8s.io"}, args...)...)
}

// Has reports whether the store has the image under this name and made from id.
func (s Store) Has(ctx context.Context, name, id string) (bool, error) {
	out, err := output(s.command(ctx, "images", "list", "--quiet", fmt.Sprintf("name==%s,labels.%q==%s", name, idLabel, id)))
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(out) != "", nil
}

// contents lists, by digest, every part of an image that the store has whole.
func (s Store) contents(ctx context.Context) ([]string, error) {
	out, err := output(s.command(ctx, "content", "list", "--quiet"))
	return strings.Fields(out), err
}

// Import reads an archive of images, in Docker's or OCI's format, whose names
// are in it. A non-empty id is remembered for Has.
func (s Store) Import(ctx context.Context, archive io.Reader, id string) (names string, err error) {
	args := []string{"images", "import"}
	if id != "" {
		args = append(args, "--label", idLabel+"="+id)
	}
	cmd := s.command(ctx, append(args, "-")...)
	cmd.Stdin = archive
	return output(cmd)
}

// output runs a program and returns what it printed, or an error with what it
// complained about.
func output(cmd *exec.Cmd) (string, error) {
	var out, complaint strings.Builder
	cmd.Stdout = &out
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
