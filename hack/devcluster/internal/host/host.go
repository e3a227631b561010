// Package host checks that the machine has the programs that devcluster calls,
// and installs those that are missing where it can.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Need is something that the machine must have.
type Need struct {
	// Program is looked for in PATH; File, where it is set, is looked for instead.
	Program, File string
	// Package is Debian's name for what brings it.
	Package string
}

// ForCluster is what building and running a cluster needs besides Go.
var ForCluster = []Need{
	{Program: "ip", Package: "iproute2"},
	{Program: "nft", Package: "nftables"},
	{Program: "unshare", Package: "util-linux"},
	{Program: "mount", Package: "mount"},
	// For runc, the only program of the cluster that is not all Go.
	{Program: "gcc", Package: "gcc"},
	{Program: "pkg-config", Package: "pkg-config"},
	{File: "/usr/include/seccomp.h", Package: "libseccomp-dev"},
	{File: "/usr/include/stdlib.h", Package: "libc6-dev"},
}

// ForImages is what building images without Docker needs.
var ForImages = []Need{
	{Program: "buildah", Package: "buildah"},
	{Program: "debootstrap", Package: "debootstrap"},
	{File: "/usr/share/keyrings/debian-archive-keyring.gpg", Package: "debian-archive-keyring"},
}

// RequireRoot fails with a reason for anyone but root.
func RequireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster needs root: it mounts, and makes network links and control groups (try sudo -E)")
	}
	return nil
}

// Ensure installs the packages of what is missing, as root on a Debian or a
// relative of it, and otherwise says what is missing.
func Ensure(ctx context.Context, progress io.Writer, needs []Need) error {
	packages := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("missing on this machine: install what Debian calls %s", list)
	}
	_, _ = fmt.Fprintf(progress, "Installing %s\n", list)
	// A source of packages that nobody needs here may be out of reach, so only
	// the installation has to succeed.
	updateErr := aptGet(ctx, "update")
	install := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	if err := aptGet(ctx, install...); err != nil {
		return errors.Join(err, updateErr)
	}
	if left := missing(needs); len(left) > 0 {
		return fmt.Errorf("still missing after installing: %s", strings.Join(left, " "))
	}
	return nil
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// missing returns the packages of the needs that the machine does not meet.
func missing(needs []Need) []string {
	var packages []string
	for _, need := range needs {
		var err error
		if need.File != "" {
			_, err = os.Stat(need.File)
		} else {
			_, err = exec.LookPath(need.Program)
		}
		if err != nil && !slices.Contains(packages, need.Package) {
			packages = append(packages, need.Package)
		}
	}
	return packages
}
