package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

func sandboxCommand(code *int) *cobra.Command {
	var opts server.Options
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a workspace to a runner over a unix socket",
		Long:  "Serve a workspace to a runner over a unix socket: commands and files. It is the first process of a Sandbox's sandbox container.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// What it starts runs as the same user.
			if err := server.Protect(); err != nil {
				return err
			}
			err := server.Run(cmd.Context(), opts)
			if errors.Is(err, engine.ErrNoShell) {
				*code = podapi.ExitNoShell
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opts.SocketPath, "socket", podapi.SocketPath, "where to put the socket")
	cmd.Flags().StringVar(&opts.Workspace, "workspace", podapi.WorkspaceDir, "folder to serve")
	return cmd
}

func modelServerCommand() *cobra.Command {
	var opts scripted.Options
	cmd := &cobra.Command{
		Use:   "model-server",
		Short: "Serve a script as an OpenAI-compatible model",
		Long: `Serve a script as an OpenAI-compatible model, streamed or not, for tests, demos
and benchmarks. An API key that clients must send is taken from MODEL_API_KEY.`,
		Example: "  agent-runner model-server --script script.yaml --addr 127.0.0.1:4000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.ScriptPath == "" {
				return usageError{fmt.Errorf("--script is required")}
			}
			ctx, stop := stopOnSignal(cmd.Context(), harness.ErrCancelled)
			defer stop()
			opts.APIKey = os.Getenv("MODEL_API_KEY")
			opts.Ready = func(a net.Addr) { fmt.Fprintf(cmd.ErrOrStderr(), "Serving http://%s/v1\n", a) }
			return scripted.Serve(ctx, opts)
		},
	}
	cmd.Flags().StringVar(&opts.ScriptPath, "script", "", "script to play")
	cmd.Flags().StringVar(&opts.Addr, "addr", "127.0.0.1:4000", "address to listen on")
	return cmd
}
