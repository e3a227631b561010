// Package build compiles the programs of the cluster from their Go modules, and
// again only when what they are made from has changed.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program is one Go module of this folder and the binaries that come from it.
type Program struct {
	// Name is the module's folder below hack/devcluster.
	Name string
	// Packages are compiled, each to a binary named as its last element.
	Packages []string
	// Output is the folder for the binaries, below that of all of them.
	Output string
	// Tags are the build tags; they change what the program can do.
	Tags string
	// Cgo says that the program needs a C compiler.
	Cgo bool
	// Versions are variables of the program set to the version of a module:
	// Kubernetes and containerd report it to their clients.
	Versions []Version
	// Links are further names of the only binary.
	Links []string
}

// Version sets the string variable Variable to the version that the program's
// go.mod requires of Module, cut by Part.
type Version struct {
	Variable string
	Module   string
	Part     func(version string) string
}

// Kubernetes is the name of the program that envtest needs.
const Kubernetes = "kubernetes"

// Programs are all programs of the cluster, the one that takes longest first.
func Programs() []Program {
	const (
		component  = "k8s.io/component-base/version."
		kubernetes = "k8s.io/kubernetes"
		containerd = "github.com/containerd/containerd/v2"
		plugins    = "github.com/containernetworking/plugins/plugins"
	)
	whole := func(v string) string { return v }
	return []Program{{
		Name:     Kubernetes,
		Packages: []string{"."},
		Versions: []Version{
			{component + "gitVersion", kubernetes, whole},
			{component + "gitMajor", kubernetes, func(v string) string { return versionField(v, 0) }},
			{component + "gitMinor", kubernetes, func(v string) string { return versionField(v, 1) }},
		},
		Links: []string{
			"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet",
		},
	}, {
		Name: "containerd",
		Packages: []string{
			containerd + "/cmd/containerd", containerd + "/cmd/containerd-shim-runc-v2", containerd + "/cmd/ctr",
		},
		Versions: []Version{{containerd + "/version.Version", containerd, whole}},
	}, {
		Name:     "runc",
		Packages: []string{"github.com/opencontainers/runc"},
		Tags:     "seccomp,urfave_cli_no_docs",
		Cgo:      true,
	}, {
		Name:     "coredns",
		Packages: []string{"."},
	}, {
		Name:     "cni",
		Packages: []string{plugins + "/main/ptp", plugins + "/ipam/host-local"},
		Output:   "cni",
	}, {
		Name:     "provisioner",
		Packages: []string{"."},
	}, {
		Name:     "pause",
		Packages: []string{"."},
	}}
}

// Builder compiles programs.
type Builder struct {
	// Source is the folder hack/devcluster.
	Source string
	// Bin receives the binaries.
	Bin string
	// Progress receives one line for each program that is built, and the
	// compiler's messages.
	Progress io.Writer
}

// Ensure builds those of the programs that are missing or out of date.
func (b Builder) Ensure(ctx context.Context, programs ...Program) error {
	toolchain, err := goVersion(ctx, b.Source)
	if err != nil {
		return err
	}
	for _, program := range programs {
		if err := b.ensure(ctx, program, toolchain); err != nil {
			return fmt.Errorf("building %s: %w", program.Name, err)
		}
	}
	return nil
}

func (b Builder) ensure(ctx context.Context, program Program, toolchain string) error {
	source := filepath.Join(b.Source, program.Name)
	arguments, err := b.arguments(program)
	if err != nil {
		return err
	}
	want, err := Stamp(source, append(arguments, toolchain, fmt.Sprint(program.Cgo), strings.Join(program.Links, " ")))
	if err != nil {
		return err
	}
	stampFile := filepath.Join(b.Bin, ".stamps", program.Name)
	if have, err := os.ReadFile(stampFile); err == nil && string(have) == want && b.complete(program) {
		return nil
	}

	started := time.Now()
	_, _ = fmt.Fprintf(b.Progress, "Building %s\n", program.Name)
	if err := b.compile(ctx, program, source, arguments); err != nil {
		return err
	}
	for _, link := range program.Links {
		if err := replaceLink(program.Name, filepath.Join(b.Bin, link)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(stampFile), 0o755); err != nil {
		return fmt.Errorf("recording the build: %w", err)
	}
	if err := os.WriteFile(stampFile, []byte(want), 0o644); err != nil {
		return fmt.Errorf("recording the build: %w", err)
	}
	_, _ = fmt.Fprintf(b.Progress, "Built %s in %s\n", program.Name, time.Since(started).Round(time.Second))
	return nil
}

// compile builds into a new folder and moves the binaries from there: a program
// that runs cannot be written to, but its file can be replaced.
func (b Builder) compile(ctx context.Context, program Program, source string, arguments []string) error {
	if err := os.MkdirAll(filepath.Join(b.Bin, program.Output), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(b.Bin, ".build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()

	arguments = append([]string{"build", "-o", fresh + string(filepath.Separator)}, arguments...)
	cmd := exec.CommandContext(ctx, "go", append(arguments, program.Packages...)...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+map[bool]string{false: "0", true: "1"}[program.Cgo], "GOWORK=off")
	cmd.Stdout, cmd.Stderr = b.Progress, b.Progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w", source, err)
	}
	for _, binary := range program.binaries() {
		if err := os.Rename(filepath.Join(fresh, filepath.Base(binary)), filepath.Join(b.Bin, binary)); err != nil {
			return err
		}
	}
	return nil
}

// arguments are those of go build that decide what comes out.
func (b Builder) arguments(program Program) ([]string, error) {
	linker := []string{"-s", "-w"}
	for _, set := range program.Versions {
		version, err := requiredVersion(filepath.Join(b.Source, program.Name, "go.mod"), set.Module)
		if err != nil {
			return nil, err
		}
		linker = append(linker, "-X", set.Variable+"="+set.Part(version))
	}
	arguments := []string{"-buildvcs=false", "-trimpath", "-mod=readonly", "-ldflags", strings.Join(linker, " ")}
	if program.Tags != "" {
		arguments = append(arguments, "-tags", program.Tags)
	}
	return arguments, nil
}

// complete reports whether every file of the program is there.
func (b Builder) complete(program Program) bool {
	for _, name := range append(program.binaries(), program.Links...) {
		if _, err := os.Stat(filepath.Join(b.Bin, name)); err != nil {
			return false
		}
	}
	return true
}

// binaries are the program's files below the folder of binaries.
func (p Program) binaries() []string {
	var names []string
	for _, pkg := range p.Packages {
		name := filepath.Base(pkg)
		if pkg == "." {
			name = p.Name
		}
		names = append(names, filepath.Join(p.Output, name))
	}
	return names
}

func replaceLink(target, link string) error {
	if have, err := os.Readlink(link); err == nil && have == target {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, link)
}

// goVersion is the version of the toolchain that a build would use.
func goVersion(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking go for its version: %w", err)
	}
	return string(out), nil
}
