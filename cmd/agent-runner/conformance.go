package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
)

// endpointDeadline bounds the wait for a server.
const endpointDeadline = time.Minute

// conformanceFlags say what is tried.
type conformanceFlags struct {
	endpoint, run string
	// kubeconfig, namespace and sandbox are of one that is reached by the API server.
	kubeconfig, namespace, sandbox string
}

func conformanceCommand() *cobra.Command {
	f := &conformanceFlags{}
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Try whether a sandbox server does what tools rely on",
		Long: `Try whether a sandbox server does what tools rely on, case by case.

With --endpoint the server's workspace must be a folder of this machine that has nothing
in it, and the server must obey nobody yet. With --sandbox it is one of a cluster, reached
by way of the API server; what cannot be tried from there is skipped. Its workspace must
have nothing in it, either, and nobody else may use it meanwhile. What the cases make is
removed.`,
		Example: "  agent-runner conformance --endpoint unix:///tmp/s.sock\n" +
			"  agent-runner conformance --kubeconfig ~/.kube/config --namespace team --sandbox workbench",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.try(cmd) },
	}
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "server to try, as unix:///path/of/its/socket")
	cmd.Flags().StringVar(&f.sandbox, "sandbox", "", "Sandbox to try, by way of the API server")
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "namespace of the Sandbox; that of the kubeconfig if empty")
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the API server; KUBECONFIG or the usual one if empty")
	cmd.Flags().StringVar(&f.run, "run", "", "run only the cases whose names match this regular expression")
	return cmd
}

func (f *conformanceFlags) try(cmd *cobra.Command) error {
	chosen, err := regexp.Compile(f.run)
	if err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	cases := slices.Concat(conformance.Cases(), conformance.EndpointCases())
	if f.sandbox != "" {
		cases = conformance.FromAfar()
	}
	cases = slices.DeleteFunc(cases, func(c conformance.Case) bool { return !chosen.MatchString(c.Name) })
	if len(cases) == 0 {
		return usageError{fmt.Errorf("no case has a name that matches %q", f.run)}
	}
	if f.sandbox != "" {
		if f.endpoint != "" {
			return usageError{errors.New("--endpoint and --sandbox are of two servers; give one of them")}
		}
		return f.trySandbox(cmd, cases)
	}
	socket, ok := strings.CutPrefix(f.endpoint, "unix://")
	if !ok || !filepath.IsAbs(socket) {
		return usageError{fmt.Errorf("--endpoint must be unix:// and the absolute path of a socket, and is %q", f.endpoint)}
	}
	return tryConformance(cmd, socket, cases)
}

func tryConformance(cmd *cobra.Command, socket string, cases []conformance.Case) (err error) {
	ctx := cmd.Context()
	c := client.New(socket)
	defer func() { err = errors.Join(err, c.Close()) }()
	ready, cancel := context.WithTimeout(ctx, endpointDeadline)
	defer cancel()
	if err := c.WaitReady(ready); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Release(context.WithoutCancel(ctx))) }()
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	left, err := os.ReadDir(st.Workspace)
	if err != nil {
		return fmt.Errorf("the server's workspace is not on this machine: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("the server's workspace %s is not empty, and what is in it would be removed", st.Workspace)
	}
	return conformance.Report(ctx, cmd.OutOrStdout(), cases, func(t conformance.T) conformance.Subject {
		t.Cleanup(func() {
			if err := errors.Join(c.StopAll(context.WithoutCancel(t.Context())), emptyFolder(st.Workspace)); err != nil {
				t.Error(err)
			}
		})
		return conformance.Subject{Executor: c, Workspace: st.Workspace, Endpoint: conformance.OverSocket(c)}
	})
}

// emptyFolder removes what is in a folder, also from folders that are read-only.
func emptyFolder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != "." {
			err = root.Chmod(p, 0o700)
		}
		return err
	})
	for _, e := range entries {
		err = errors.Join(err, root.RemoveAll(e.Name()))
	}
	return err
}
