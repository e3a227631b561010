package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/host"
)

// Target is an image of the project's Dockerfile.
type Target struct {
	// Name is the stage in the Dockerfile.
	Name string
	// Programs are the folders below cmd of the programs in it.
	Programs []string
	// Image is what the result is called.
	Image string
}

// Builder builds the project's images.
type Builder struct {
	// Repo is the checkout, and Tool what builds.
	Repo string
	Tool Tool
	// Base is what the images are based on, in place of the Dockerfile's default; Pin
	// looks up the digest of that default, for images that leave this machine.
	Base string
	Pin  bool
	// Progress receives what the tools print.
	Progress io.Writer
}

// Build compiles a target's programs and puts them into an image.
func (b Builder) Build(ctx context.Context, target Target) error {
	for _, program := range target.Programs {
		if err := b.compile(ctx, program); err != nil {
			return fmt.Errorf("compiling %s: %w", program, err)
		}
	}
	args := []string{"build", "--target", target.Name, "--tag", target.Image}
	base, err := b.base(ctx)
	if err != nil {
		return fmt.Errorf("looking up the base image: %w", err)
	}
	if base != "" {
		_, _ = fmt.Fprintf(b.Progress, "Based on %s\n", base)
		args = append(args, "--build-arg", "BASE="+base, "--label", "org.opencontainers.image.base.name="+base)
	}
	if b.Tool == Buildah {
		if err := host.Ensure(ctx, b.Progress, host.ForImages); err != nil {
			return err
		}
		if err := ensureBase(ctx, b.Progress); err != nil {
			return fmt.Errorf("making the base image: %w", err)
		}
		// Isolation by chroot works inside of containers too, and without the
		// privileges that a container's own namespaces need.
		args = append(args, "--isolation", "chroot", "--layers", "--pull-never")
		args = append(args, aptProxies(ctx)...)
	}
	cmd := exec.CommandContext(ctx, string(b.Tool), append(args, ".")...)
	cmd.Dir = b.Repo
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building image %s: %s: %w\n%s", target.Image, strings.Join(cmd.Args, " "), err, out)
	}
	_, _ = fmt.Fprintf(b.Progress, "Built %s\n", target.Image)
	return nil
}

// base is what the images are to be based on, by digest; empty is the Dockerfile's
// default. Buildah's is made here, and has no digest in any registry.
func (b Builder) base(ctx context.Context) (string, error) {
	if b.Base != "" || !b.Pin || b.Tool == Buildah {
		return b.Base, nil
	}
	docker := func(args ...string) (string, error) {
		out, err := output(exec.CommandContext(ctx, string(b.Tool), args...))
		return strings.TrimSpace(out), err
	}
	if _, err := docker("pull", "--quiet", baseName); err != nil {
		return "", err
	}
	found, err := docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", baseName)
	if err == nil && !strings.Contains(found, "@sha256:") {
		err = fmt.Errorf("%s has no digest: %q", baseName, found)
	}
	return found, err
}

// Push sends an image to the registry in its name, as who is logged in there.
func Push(ctx context.Context, tool Tool, name string) error {
	if _, err := output(exec.CommandContext(ctx, string(tool), "push", "--quiet", name)); err != nil {
		return fmt.Errorf("pushing %s: %w", name, err)
	}
	return nil
}

// aptProxies are arguments that pass on, without a trace in the image, the
// proxies through which this machine's apt reaches its archive.
func aptProxies(ctx context.Context) []string {
	var args []string
	for _, scheme := range []string{"http", "https"} {
		out, err := exec.CommandContext(ctx, "apt-config", "shell", "PROXY", "Acquire::"+scheme+"::Proxy").Output()
		if err != nil {
			continue
		}
		_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
		if value = strings.Trim(value, "'"); value != "" && value != "DIRECT" {
			args = append(args, "--build-arg", scheme+"_proxy="+value)
		}
	}
	return args
}

// compile builds a static program for the image. The same source makes the same
// bytes, so an image of an unchanged program comes from the cache.
func (b Builder) compile(ctx context.Context, program string) error {
	out := filepath.Join(b.Repo, "bin", "image")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	flags := "-s -w"
	if version := os.Getenv("VERSION"); version != "" {
		flags += " -X github.com/sampan-dev/sampan/internal/version.linked=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", flags, //nolint:gosec // VERSION is of who builds
		"-o", filepath.Join(out, program), "./cmd/"+program)
	cmd.Dir = b.Repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	cmd.Stdout, cmd.Stderr = b.Progress, b.Progress
	return cmd.Run()
}
