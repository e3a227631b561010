// Command devcluster runs a real one-node Kubernetes cluster on this machine,
// from programs that it builds itself. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/build"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/cluster"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/host"
)

// defaultState is the cluster's folder unless DEVCLUSTER_DIR names another.
const defaultState = "/var/lib/sampan-devcluster"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// app is what every command works with.
type app struct {
	repo    string
	builder build.Builder
	cluster cluster.Cluster
}

func newApp() (*app, error) {
	repo, err := findRepo()
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(repo, "bin", "devcluster")
	state := os.Getenv("DEVCLUSTER_DIR")
	if state == "" {
		state = defaultState
	}
	return &app{
		repo:    repo,
		builder: build.Builder{Source: filepath.Join(repo, "hack", "devcluster"), Bin: bin, Progress: os.Stderr},
		cluster: cluster.Cluster{State: filepath.Clean(state), Bin: bin, Progress: os.Stderr},
	}, nil
}

// findRepo looks for the checkout from the working directory and from this
// program upwards.
func findRepo() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "hack", "devcluster", "go.mod")); err == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("found no hack/devcluster above the working directory: run this in a checkout of the project")
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "devcluster",
		Short:         "A real one-node Kubernetes cluster on this machine",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		newUpCommand(),
		action("down", "End the cluster and remove everything but the built programs", func(ctx context.Context, a *app) error {
			if err := host.RequireRoot(); err != nil {
				return err
			}
			return a.cluster.Down(ctx)
		}),
		action("status", "Show every component; fails unless all are well", status),
		action("kubeconfig", "Print the path of the cluster's kubeconfig", func(_ context.Context, a *app) error {
			_, err := fmt.Println(a.cluster.Kubeconfig())
			return err
		}),
		action("build", "Build the cluster's programs, without starting anything", func(ctx context.Context, a *app) error {
			return a.builder.Ensure(ctx, build.Programs()...)
		}),
		action("envtest", "Build kube-apiserver and etcd and print their folder, for KUBEBUILDER_ASSETS", envtest),
		newLoadCommand(),
		newImagesCommand(),
	)
	return root
}

// action is a command without arguments.
func action(name, short string, do func(context.Context, *app) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := newApp()
			if err != nil {
				return err
			}
			return do(cmd.Context(), a)
		},
	}
}

func newUpCommand() *cobra.Command {
	nodes := 1
	cmd := action("up", "Build what is missing, start the cluster and wait until it is ready", func(ctx context.Context, a *app) error {
		return up(ctx, a, nodes)
	})
	if n, err := strconv.Atoi(os.Getenv("DEVCLUSTER_NODES")); err == nil {
		nodes = n
	}
	cmd.Flags().IntVar(&nodes, "nodes", nodes, "1, or 2 for a second node without pods (default $DEVCLUSTER_NODES, or else 1)")
	return cmd
}

func up(ctx context.Context, a *app, nodes int) error {
	if nodes != 1 && nodes != 2 {
		return fmt.Errorf("a cluster has 1 or 2 nodes, not %d", nodes)
	}
	if err := host.RequireRoot(); err != nil {
		return err
	}
	if err := a.cluster.Available(ctx); err != nil {
		return err
	}
	if err := host.Ensure(ctx, os.Stderr, host.ForCluster); err != nil {
		return err
	}
	if err := a.builder.Ensure(ctx, build.Programs()...); err != nil {
		return err
	}
	if err := a.cluster.Up(ctx); err != nil {
		return err
	}
	if nodes == 2 {
		if err := a.cluster.AddNode(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "Ready: export KUBECONFIG=%s\n", a.cluster.Kubeconfig())
	return nil
}

func status(ctx context.Context, a *app) error {
	components, err := a.cluster.Status(ctx)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if len(components) > 0 {
		_, _ = fmt.Fprintln(out, "COMPONENT\tPID\tSTATE\tLOG")
	}
	for _, component := range components {
		state, pid := "ok", fmt.Sprint(component.PID)
		if component.Problem != "" {
			state = component.Problem
		}
		if component.PID == 0 {
			pid = "-"
		}
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", component.Name, pid, state, component.Log)
	}
	return errors.Join(out.Flush(), err)
}

func envtest(ctx context.Context, a *app) error {
	for _, program := range build.Programs() {
		if program.Name != build.Kubernetes {
			continue
		}
		if err := a.builder.Ensure(ctx, program); err != nil {
			return err
		}
	}
	_, err := fmt.Println(a.builder.Bin)
	return err
}
