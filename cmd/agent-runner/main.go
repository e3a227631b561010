// Command agent-runner runs AI agents: it drives the loop of an AgentTask, in a
// pod or on a laptop, and serves the sandbox in which its tools run.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/runner"
)

// version is set at build time.
var version = "dev"

// exitUsage is the exit code of a wrong command line, manifest or registry.
const exitUsage = 2

func main() {
	code := 0
	root := rootCommand(&code)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "agent-runner:", err)
		var usage *runner.UsageError
		if code == 0 {
			code = 1
		}
		if errors.As(err, &usage) || isUsage(err) {
			code = exitUsage
		}
	}
	os.Exit(code)
}

// rootCommand makes the command tree. A command that ends in its own way sets code.
func rootCommand(code *int) *cobra.Command {
	root := &cobra.Command{
		Use:           "agent-runner",
		Short:         "Run AI agents, in a pod or on a laptop",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(runCommand(code), sandboxCommand(), modelServerCommand(), modelsCommand(), transcriptCommand(), versionCommand())
	return root
}

// usageError marks what is wrong with the command line.
type usageError struct{ error }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
	}
}
