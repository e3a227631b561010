// Command agent-runner runs AI agents: it drives the loop of an AgentTask, in a
// pod or on a laptop, and serves the sandbox in which its tools run.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/version"
)

// exitUsage is the exit code of a wrong command line, manifest or registry.
const exitUsage = 2

func main() { os.Exit(execute()) }

// execute runs the command line and gives the exit code.
func execute() int {
	code := 0
	root := rootCommand(&code)
	stderr := text.NewWriter(os.Stderr)
	root.SetErr(stderr)
	if !forShell(os.Args[1:]) {
		root.SetOut(text.NewWriter(os.Stdout))
	}
	err := root.Execute()
	if err == nil {
		return code
	}
	fmt.Fprintln(stderr, "agent-runner:", err)
	var wrongInput *runner.UsageError
	var wrongLine usageError
	switch {
	case errors.As(err, &wrongInput), errors.As(err, &wrongLine):
		return exitUsage
	case code == 0:
		return 1
	}
	return code
}

// forShell reports whether a shell reads the output: completions are our own
// words, with tabs that have a meaning.
func forShell(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, args[0])
}

// rootCommand makes the command tree. A command that ends in its own way sets code.
func rootCommand(code *int) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "agent-runner",
		Short: "Run AI agents, in a pod or on a laptop",
		Example: `  agent-runner models validate models.yaml
  agent-runner probe --registry models.yaml
  agent-runner run --task task.yaml --registry models.yaml --workspace DIR
  agent-runner transcript show run.jsonl`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}, runCommand(code), evalCommand(code), sandboxCommand(code), installCommand(), conformanceCommand(), guardCommand(), boxCommand(code),
		modelServerCommand(), modelsCommand(code), probeCommand(code), transcriptCommand(), versionCommand())
	root.SetVersionTemplate("{{.Version}}\n") // as the command says it
	root.SetFlagErrorFunc(flagError)
	return root
}

// usageError marks what is wrong with the command line.
type usageError struct{ error }

// Unwrap gives the cause.
func (e usageError) Unwrap() error { return e.error }

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	if before := cmd.Flags().Args(); cmd.HasSubCommands() && len(before) > 0 {
		return noSuchCommand(cmd, before[0]) // the flag is one of a command that was not found
	}
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) || missing.GetSpecifiedShortnames() != "" {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	hint := models.DidYouMean("--"+missing.GetSpecifiedName(), names)
	if hint == "" {
		hint = "; see " + cmd.CommandPath() + " --help"
	}
	return usageError{fmt.Errorf("%w%s", err, hint)}
}

// group makes a command that only holds others: alone it prints its help, with
// a name that it does not know it is a usage error.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return noSuchCommand(cmd, args[0])
	}
	cmd.DisableFlagsInUseLine = true
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// noSuchCommand says that a group has no such command, and which one may have been meant.
func noSuchCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := models.DidYouMean(name, names)
	if hint == "" {
		hint = "; the commands are " + strings.Join(names, ", ")
	}
	return usageError{fmt.Errorf("%s has no command %q%s", cmd.CommandPath(), name, hint)}
}

// oneArg wants the one argument that the usage line names.
func oneArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("got %d arguments, want one; usage: %s", len(args), cmd.UseLine())}
	}
	return nil
}

// noArgs is cobra's, with an error that counts as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version.String()) },
	}
}
