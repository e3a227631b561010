package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
	"github.com/sampan-dev/sampan/sandboxclient"
)

// afar is a Sandbox that is reached by way of the API server, as far as it does what an
// executor does.
type afar struct{ c *sandboxclient.Client }

var (
	_ tool.Executor        = afar{}
	_ conformance.Endpoint = afar{}
)

// trySandbox tries a Sandbox of a cluster.
func (f *conformanceFlags) trySandbox(cmd *cobra.Command, cases []conformance.Case) error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	if f.namespace == "" {
		if f.namespace, _, err = kubeconfig.Namespace(); err != nil {
			return fmt.Errorf("finding the namespace: %w", err)
		}
	}
	c, err := sandboxclient.New(config, f.namespace, f.sandbox)
	if err != nil {
		return usageError{err}
	}
	st, err := c.Status(cmd.Context())
	if err != nil {
		return err
	}
	left, err := c.List(cmd.Context(), ".", sandboxclient.ListOptions{Limit: 2})
	if err != nil {
		return err
	}
	others := slices.ContainsFunc(left.Entries, func(e sandboxclient.Entry) bool { return e.Name != serversOwn })
	if others || len(st.Processes) > 0 {
		return fmt.Errorf("the workspace of Sandbox %s is not empty, or commands run there, which would be removed and killed", f.sandbox)
	}
	return conformance.Report(cmd.Context(), cmd.OutOrStdout(), cases, func(t conformance.T) conformance.Subject {
		t.Cleanup(func() {
			if err := (afar{c}).empty(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return conformance.Subject{Executor: afar{c}, Endpoint: afar{c}, Workspace: st.Workspace}
	})
}

// serversOwn is the folder of the workspace in which a server keeps outputs.
const serversOwn = ".sampan"

// empty kills what runs and removes what is in the workspace.
func (a afar) empty(ctx context.Context) error {
	processes, err := a.c.Processes(ctx)
	if err != nil {
		return err
	}
	for _, p := range processes {
		if err := a.c.Kill(ctx, p.ID); err != nil && sandboxclient.CodeOf(err) != sandboxclient.NotFound {
			return err
		}
	}
	res, err := a.c.Exec(ctx, sandboxclient.ExecRequest{
		Shell: "find . -mindepth 1 -maxdepth 1 ! -name " + serversOwn + " -exec rm -rf {} + && rm -rf " + serversOwn + "/output", TimeoutSeconds: 60})
	if err != nil {
		return err
	}
	if res.ExitCode == nil || *res.ExitCode != 0 {
		return fmt.Errorf("emptying the workspace: %s", res.Stderr)
	}
	return nil
}

// told is an error as an executor has it.
func told(err error) error {
	code := sandboxclient.CodeOf(err)
	if code == "" {
		return err
	}
	return convert.ToError(api.Error{Code: code, Message: err.Error()})
}

// errOwner is the error of what others than the runner cannot ask for.
var errOwner = fmt.Errorf("not by way of the API server: %w", errors.ErrUnsupported)

// Exec implements tool.Executor.
func (a afar) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	res, err := a.c.Exec(ctx, sandboxclient.ExecRequest(req))
	return (*tool.ExecResult)(res), told(err)
}

// StopAll implements tool.Executor.
func (afar) StopAll(context.Context) error { return errOwner }

// ReadFile implements tool.Executor.
func (a afar) ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error) {
	f, err := a.c.ReadFile(ctx, path, maxBytes)
	if err != nil {
		return nil, told(err)
	}
	return &tool.File{FileInfo: tool.FileInfo(f.FileInfo), Data: f.Data}, nil
}

// WriteFile implements tool.Executor.
func (a afar) WriteFile(ctx context.Context, path string, data []byte, opts tool.WriteOptions) (*tool.FileInfo, error) {
	info, err := a.c.WriteFile(ctx, path, data, sandboxclient.WriteOptions{IfMatch: opts.IfMatch, IfAbsent: opts.IfAbsent, Mode: opts.Mode})
	return (*tool.FileInfo)(info), told(err)
}

// Stat implements tool.Executor.
func (afar) Stat(context.Context, string) (*tool.FileInfo, error) { return nil, errOwner }

// Remove implements tool.Executor.
func (a afar) Remove(ctx context.Context, path string) error { return told(a.c.Remove(ctx, path, "")) }

// ReadLines implements tool.Executor.
func (afar) ReadLines(context.Context, string, tool.LineRange) (*tool.Lines, error) {
	return nil, errOwner
}

// Grep implements tool.Executor.
func (afar) Grep(context.Context, tool.GrepRequest) (*tool.GrepResult, error) { return nil, errOwner }

// Glob implements tool.Executor.
func (afar) Glob(context.Context, tool.GlobRequest) (*tool.GlobResult, error) { return nil, errOwner }

// afarStream is a stream whose errors are an executor's.
type afarStream struct{ *sandboxclient.Stream }

// ID implements conformance.Stream.
func (s afarStream) ID() string { return s.Process().ID }

// Next implements conformance.Stream.
func (s afarStream) Next() (api.StreamEvent, error) {
	ev, err := s.Stream.Next()
	return ev, told(err)
}

// Start implements conformance.Endpoint.
func (a afar) Start(ctx context.Context, req api.StreamRequest) (conformance.Stream, error) {
	s, err := a.c.Start(ctx, req)
	return afarStream{s}, told(err)
}

// Follow implements conformance.Endpoint.
func (a afar) Follow(ctx context.Context, id string, after int64) (conformance.Stream, error) {
	s, err := a.c.Follow(ctx, id, after)
	return afarStream{s}, told(err)
}

// Feed implements conformance.Endpoint.
func (a afar) Feed(ctx context.Context, id string, data []byte, end bool) (*api.StdinResult, error) {
	res, err := a.c.Stdin(ctx, id, data, end)
	return res, told(err)
}

// Signal implements conformance.Endpoint.
func (a afar) Signal(ctx context.Context, id, signal string) error {
	return told(a.c.Signal(ctx, id, signal))
}

// Kill implements conformance.Endpoint.
func (a afar) Kill(ctx context.Context, id string) error { return told(a.c.Kill(ctx, id)) }

// Backup implements conformance.Endpoint.
func (a afar) Backup(ctx context.Context, to io.Writer) (string, error) {
	b, err := a.c.Backup(ctx, to)
	if err != nil {
		return "", told(err)
	}
	return b.Digest, nil
}

// Restore implements conformance.Endpoint.
func (a afar) Restore(ctx context.Context, archive io.Reader, digest string) (*api.Restored, error) {
	res, err := a.c.Restore(ctx, archive, digest)
	return res, told(err)
}

// Usage implements conformance.Endpoint.
func (a afar) Usage(ctx context.Context) (*api.Status, error) {
	st, err := a.c.StatusWithUsage(ctx)
	return st, told(err)
}
