package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/eval/harbor"
	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/eval/report"
	"github.com/sampan-dev/sampan/internal/eval/run"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/version"
)

const evalRunLong = `Run a suite of tasks in Harbor's format with models, and compare them.

SUITE is a folder of tasks, or one task. Every trial has a workspace of its own,
in a box: the agent sees the programs of this machine, read-only, and its
workspace, and nothing else. When it has ended, and every process of it, the
tests run in another box, and what they write to /logs/verifier/reward.txt or
reward.json decides, whatever the agent says.

Outcomes are kept in --out, sealed by digest. The same command goes on with what
is missing, and with trials that failed for a reason outside of the model. A
trial is run up to three times for such a reason.

--agent oracle runs the reference solutions, and --agent nop does nothing: a good
suite is passed by the first and not by the second.

The exit code is 0 if every trial has an outcome that counts, passed or not.`

type evalFlags struct {
	eval   run.Eval
	tasks  []string
	output string
	quiet  bool
}

func evalCommand(code *int) *cobra.Command {
	return group(&cobra.Command{Use: "eval", Short: "Compare models on a suite of tasks"}, evalRunCommand(code), evalReportCommand(code))
}

func evalRunCommand(code *int) *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "run SUITE",
		Short: "Run a suite of tasks with models",
		Long:  evalRunLong,
		Example: `  agent-runner eval run evals --registry models.yaml --models small,large --repeats 5 --parallel 4 --out results
  agent-runner eval run evals --agent oracle --out check`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], code) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.eval.Registry, "registry", "", "model registry document")
	flags.StringSliceVar(&f.eval.Models, "models", nil, "models of the registry to run the suite with")
	flags.StringSliceVar(&f.tasks, "tasks", nil, "tasks of the suite to run (default all)")
	flags.StringVar(&f.eval.Agent, "agent", run.Model, "who works on the tasks: model, oracle or nop")
	flags.IntVar(&f.eval.Repeats, "repeats", 1, "how often a model gets each task")
	flags.IntVar(&f.eval.Parallel, "parallel", 1, "how many trials run at a time")
	flags.StringVar(&f.eval.Out, "out", "eval-results", "folder for the outcomes and the report")
	flags.StringSliceVar(&f.eval.Expose, "expose", nil, "folders of this machine that tasks may read, such as that of a compiler")
	flags.StringArrayVar(&f.eval.Env, "env", nil, "NAME=VALUE for the commands of all tasks, such as GOCACHE of a folder that is exposed; no secrets")
	flags.StringVarP(&f.output, "output", "o", "text", "how to print the report: text, json or yaml")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("agent", cobra.FixedCompletions(run.Agents, cobra.ShellCompDirectiveNoFileComp)))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)))
	cobra.CheckErr(cmd.MarkFlagFilename("registry", "yaml", "yml", "json"))
	cobra.CheckErr(cmd.MarkFlagDirname("out"))
	return cmd
}

func (f *evalFlags) run(cmd *cobra.Command, suite string, code *int) error {
	if err := protect(); err != nil {
		return err
	}
	outliveReaders()
	err := f.check()
	if err == nil {
		f.eval.Tasks, err = harbor.LoadSuite(suite, f.tasks)
	}
	if err == nil {
		err = f.eval.CheckPrograms()
	}
	if err == nil {
		err = f.eval.CheckFolders(suite)
	}
	if err != nil {
		return usageError{err}
	}
	if f.eval.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	f.eval.Version = version.String()
	stderr := text.NewWriter(os.Stderr)
	var mu sync.Mutex // warnings come at any time
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(stderr, words...)
	}
	f.eval.Warn = func(words string) { say("warning:", words) }
	if !f.quiet {
		for _, t := range f.eval.Tasks {
			for _, n := range t.Notes {
				say("note:", n)
			}
		}
		f.eval.Done = func(o outcome.Outcome, kept bool) { say(trialLine(o, kept)) }
	}
	ctx, stop := stopOnSignal(cmd.Context(), harness.ErrCancelled)
	defer stop()
	if _, err := f.eval.Run(ctx); err != nil {
		if ctx.Err() != nil {
			*code = harness.Cancelled.ExitCode()
		}
		return err
	}
	return writeReport(cmd, f.eval.Out, f.output, code)
}

func (f *evalFlags) check() error {
	e := &f.eval
	switch {
	case !slices.Contains(run.Agents, e.Agent):
		return fmt.Errorf("--agent is %q; use model, oracle or nop%s", e.Agent, models.DidYouMean(e.Agent, run.Agents))
	case e.Agent != run.Model && (len(e.Models) > 0 || e.Registry != ""):
		return fmt.Errorf("--agent %s needs no model: leave --models and --registry out", e.Agent)
	case e.Agent == run.Model && (len(e.Models) == 0 || e.Registry == ""):
		return errors.New("--models and --registry are required; see agent-runner eval run --help")
	case e.Repeats < 1 || e.Parallel < 1:
		return errors.New("--repeats and --parallel have to be 1 or more")
	case !slices.Contains(outputFormats, f.output):
		return fmt.Errorf("--output is %q; use text, json or yaml%s", f.output, models.DidYouMean(f.output, outputFormats))
	}
	for _, v := range e.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("--env is %q; want NAME=VALUE", v)
		}
	}
	for i, dir := range e.Expose {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("--expose is %q; want absolute paths", dir)
		}
		e.Expose[i] = filepath.Clean(dir)
	}
	var err error
	if e.Out, err = filepath.Abs(e.Out); err != nil || e.Agent != run.Model {
		return err
	}
	if e.Registry, err = filepath.Abs(e.Registry); err != nil {
		return err
	}
	return checkModels(e.Registry, e.Models)
}

func checkModels(file string, names []string) error {
	reg, err := runner.LoadRegistry(file)
	if err != nil {
		return err
	}
	var ids []string
	for _, m := range reg.Models {
		ids = append(ids, m.ID)
	}
	for i, name := range names {
		if !slices.Contains(ids, name) {
			return fmt.Errorf("%s has no model %q%s", file, name, models.DidYouMean(name, ids))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("--models has %q twice; use --repeats", name)
		}
	}
	return nil
}

// trialLine says how a trial ended.
func trialLine(o outcome.Outcome, kept bool) string {
	line := fmt.Sprintf("%-7s %s", o.Result, o.Trial)
	if o.Reason != "" {
		line += ": " + o.Reason
		if o.Category != "" {
			line += " (" + string(o.Category) + ")"
		}
	}
	if kept {
		return line + " (kept)"
	}
	return line + fmt.Sprintf("; %d turns, $%s, %.0f s", o.Turns, o.CostUSD, o.AgentSeconds+o.VerifierSeconds)
}

func evalReportCommand(code *int) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Make the report of outcomes again",
		Long: `Make the report of the outcomes in DIR again: a table, report.json and report.html
in DIR. An outcome that was edited is refused, and named.`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(outputFormats, format) {
				return usageError{fmt.Errorf("--output is %q; use text, json or yaml%s", format, models.DidYouMean(format, outputFormats))}
			}
			return writeReport(cmd, args[0], format, code)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "how to print the report: text, json or yaml")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// writeReport reads all outcomes of a folder, writes their report there, and prints it.
func writeReport(cmd *cobra.Command, dir, format string, code *int) error {
	outcomes, err := outcome.ReadAll(dir)
	if err != nil {
		return err
	}
	if len(outcomes) == 0 {
		return usageError{fmt.Errorf("%s has no outcomes", dir)}
	}
	r := report.Of(outcomes)
	if err := r.Write(dir); err != nil {
		return err
	}
	for _, m := range r.Models {
		if m.Errored > 0 {
			*code = 1
		}
	}
	if format != "text" {
		return unread(printData(cmd.OutOrStdout(), format, r))
	}
	return unread(r.Print(cmd.OutOrStdout(), dir))
}
