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

func conformanceCommand() *cobra.Command {
	var endpoint, run string
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Try whether a sandbox server does what tools rely on",
		Long: `Try whether a sandbox server does what tools rely on, case by case. The server's
workspace must be a folder of this machine that has nothing in it; what the cases
make there is removed. The server must obey nobody yet.`,
		Example: "  agent-runner conformance --endpoint unix:///tmp/s.sock",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, ok := strings.CutPrefix(endpoint, "unix://")
			if !ok || !filepath.IsAbs(socket) {
				return usageError{fmt.Errorf("--endpoint must be unix:// and the absolute path of a socket, and is %q", endpoint)}
			}
			chosen, err := regexp.Compile(run)
			if err != nil {
				return usageError{fmt.Errorf("--run: %w", err)}
			}
			cases := slices.DeleteFunc(conformance.Cases(), func(c conformance.Case) bool { return !chosen.MatchString(c.Name) })
			if len(cases) == 0 {
				return usageError{fmt.Errorf("no case has a name that matches %q", run)}
			}
			return tryConformance(cmd, socket, cases)
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "server to try, as unix:///path/of/its/socket")
	cmd.Flags().StringVar(&run, "run", "", "run only the cases whose names match this regular expression")
	return cmd
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
		return conformance.Subject{Executor: c, Workspace: st.Workspace}
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
