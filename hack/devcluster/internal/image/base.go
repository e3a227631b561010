package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// baseName is what the Dockerfile is based on.
	baseName = "docker.io/library/debian:bookworm-slim"
	// baseRelease is the release of Debian that baseName stands for.
	baseRelease = "bookworm"
	// defaultMirror is Debian's own.
	defaultMirror = "http://deb.debian.org/debian"
)

// ensureBase makes the base image from Debian's packages unless buildah has an
// image of that name, pulled or made. It needs no registry of images.
func ensureBase(ctx context.Context, progress io.Writer) error {
	if _, err := Buildah.imageID(ctx, baseName); err == nil {
		return nil
	}
	_, _ = fmt.Fprintf(progress, "Making %s from Debian's packages\n", baseName)
	dir, err := os.MkdirTemp("", "devcluster-base-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root := filepath.Join(dir, "root")
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase",
		"--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", baseRelease, root, mirror("/etc/apt"))
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("%w\n%s", err, debootstrapLog(root))
	}
	if err := slim(root); err != nil {
		return fmt.Errorf("making %s smaller: %w", baseName, err)
	}
	return commit(ctx, root)
}

// slim removes what Debian's own slim image does not have either: downloaded
// packages, package lists, manuals and translations. Licences stay.
func slim(root string) error {
	for _, pattern := range []string{
		"var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "var/log/*.log",
		"usr/share/doc/*/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*",
	} {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, match := range matches {
			if filepath.Base(match) == "copyright" {
				continue
			}
			if err := os.RemoveAll(match); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit stores a root file system as the base image.
func commit(ctx context.Context, root string) error {
	buildah := func(args ...string) (string, error) {
		out, err := output(exec.CommandContext(ctx, string(Buildah), args...))
		return strings.TrimSpace(out), err
	}
	container, err := buildah("from", "scratch")
	if err != nil {
		return err
	}
	defer func() { _, _ = buildah("rm", container) }()
	if _, err := buildah("add", "--quiet", container, root, "/"); err != nil {
		return err
	}
	if _, err := buildah("config", "--cmd", "bash",
		"--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container); err != nil {
		return err
	}
	_, err = buildah("commit", "--quiet", container, baseName)
	return err
}

// debootstrapLog returns the end of what debootstrap wrote about a failure.
func debootstrapLog(root string) string {
	content, err := os.ReadFile(filepath.Join(root, "debootstrap", "debootstrap.log"))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// mirror is the copy of Debian's archive from which this machine installs its
// own packages, because that is the one that it reaches. The image goes on with
// it.
func mirror(aptConfig string) string {
	var files []string
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		matches, _ := filepath.Glob(filepath.Join(aptConfig, pattern))
		files = append(files, matches...)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if found := mirrorIn(string(content)); found != "" {
			return found
		}
	}
	return defaultMirror
}

// mirrorIn finds the archive in a list of sources, in either of apt's formats:
// https://manpages.debian.org/bookworm/apt/sources.list.5.en.html. Archives of
// security updates alone do not serve, nor do those of other distributions.
func mirrorIn(sources string) string {
	for line := range strings.Lines(sources) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "deb" && fields[0] != "URIs:" {
			continue
		}
		i := slices.IndexFunc(fields[1:], func(field string) bool {
			field = strings.TrimSuffix(field, "/")
			return strings.Contains(field, "://") && strings.HasSuffix(field, "/debian")
		})
		if i >= 0 {
			return fields[1+i]
		}
	}
	return ""
}
