package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner/inpod"
	"github.com/sampan-dev/sampan/internal/runner/local"
)

type runFlags struct {
	local     local.Runner
	output    string
	quiet     bool
	inCluster bool
	// cpuProfile is for those who work on the harness.
	cpuProfile string
}

const runLong = `Run an AgentTask.

With --task, --registry and --workspace it runs on this machine, without a
cluster, with the same loop, tools, transcript and result as in a pod. Tools
run on this machine, as you: use a workspace and a machine that you can lose.

In a pod that the operator made, --in-cluster follows the pod's Sandbox.

Progress goes to stderr, the result to stdout.

Ctrl-C (SIGINT) asks the model to come to an end: it is told once, before its
next turn, and has three turns left. A second Ctrl-C, SIGTERM, SIGQUIT, or
SIGHUP, as when the terminal is closed, stops the run at once: what tools
started is killed, the transcript is closed in order, the exit code is 12.
Under nohup SIGHUP changes nothing. Nor does a reader of the output that goes
away, as in "| head": the run goes on, and its exit code is that of its end.

A run whose process died goes on with --resume FILE, its transcript, and the
same task and registry. A run that had ended is not run again: its result is
printed.

With --record DIR the run is kept in a folder as in a cluster: transcript, and
workspace after each turn. The same command goes on with it, also with an empty
workspace, which gets that of the last turn; one that has something in it is
taken as it is. --from TASK@TURN begins a new task with the conversation and the
workspace that another task of the folder had after a turn.

Exit codes:
   0  Completed: the model finished and every verify command passed
   1  Internal error, or the result  7  LoopDetected
      could not be written
   2  wrong usage or input           8  EmptyResponse
   3  VerificationFailed             9  ContextExhausted
   4  MaxTurns                      10  ModelUnavailable
   5  DeadlineExceeded              11  SandboxLost
   6  BudgetExceeded                12  Cancelled`

var outputFormats = []string{"text", "json", "yaml"}

func runCommand(code *int) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run an AgentTask",
		Long:  runLong,
		Example: `  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo
  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo -o json --transcript run.jsonl
  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo --resume run.jsonl
  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo --record ./record
  agent-runner run --task other.yaml --registry models.yaml --workspace ./other --record ./record --from fix@3`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, code) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.local.TaskFile, "task", "", "AgentTask manifest")
	flags.StringVar(&f.local.RegistryFile, "registry", "", "model registry document")
	flags.StringVar(&f.local.Workspace, "workspace", "", "folder that tools work in")
	flags.StringVar(&f.local.SandboxSocket, "sandbox-socket", "", "let tools work behind a sandbox server's socket, in place of --workspace")
	flags.StringVar(&f.local.TranscriptFile, "transcript", "", "file for the transcript; must not exist (default: one in the temporary folder)")
	flags.StringVar(&f.local.ResumeFile, "resume", "", "go on with the run of this transcript")
	flags.StringVar(&f.local.RecordDir, "record", "", "keep the run in this folder, and go on with what it has of the task")
	flags.StringVar(&f.local.From, "from", "", "go on from another task of the record: TASK or TASK@TURN")
	flags.StringVar(&f.local.PromptFile, "prompt-file", "", "take the prompt from a file")
	flags.StringVar(&f.local.OutputDir, "output-dir", "", "folder for the outputs of the task (spec.outputs)")
	flags.StringVarP(&f.output, "output", "o", "text", "how to print the result: text, json or yaml")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
	flags.StringVar(&f.cpuProfile, "cpu-profile", "", "file for a CPU profile of the run")
	cobra.CheckErr(flags.MarkHidden("cpu-profile"))
	flags.BoolVar(&f.inCluster, "in-cluster", false, "run as the runner container of a Sandbox's pod")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)))
	for _, name := range []string{"task", "registry"} {
		cobra.CheckErr(cmd.MarkFlagFilename(name, "yaml", "yml", "json"))
	}
	for _, name := range []string{"workspace", "record", "output-dir"} {
		cobra.CheckErr(cmd.MarkFlagDirname(name))
	}
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command, code *int) error {
	// Tools run as the same user, and the models' keys are in our environment.
	if err := protect(); err != nil {
		return err
	}
	outliveReaders()
	if f.inCluster {
		return runInCluster(cmd.Context(), code)
	}
	if err := f.check(); err != nil {
		return err
	}
	stopProfile, err := f.profile()
	if err != nil {
		return err
	}
	defer stopProfile()
	p := newProgressPrinter(os.Stderr, f.quiet)
	wrapUp := make(chan struct{})
	ctx, stop := onSignals(cmd.Context(), harness.ErrCancelled, func() {
		close(wrapUp)
		go p.say("Interrupted: asking the model to come to an end. Press Ctrl-C again to stop at once.")
	})
	defer stop()
	f.local.Progress, f.local.WrapUp, f.local.Notice = p.print, wrapUp, p.say
	f.local.Outputs = func(taken []v1alpha1.OutputStatus) {
		for _, o := range taken {
			p.say(outputLine(o))
		}
	}
	if f.local.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	res, path, err := f.local.Run(ctx)
	if res.Reason == "" {
		if ctx.Err() != nil && err != nil {
			*code = harness.Cancelled.ExitCode() // before there was a run
		}
		return err
	}
	*code = res.Reason.ExitCode()
	stop() // a signal ends a process that only prints
	within(farewell, func() { p.done(res) })
	return errors.Join(err, unread(printResult(cmd.OutOrStdout(), f.output, res, path)))
}

// outputLine says what became of an output.
func outputLine(o v1alpha1.OutputStatus) string {
	if o.Size == nil {
		return fmt.Sprintf("Output %s: %s", o.Name, o.Message)
	}
	words := fmt.Sprintf("Output %s: %d bytes of %s", o.Name, *o.Size, o.MediaType)
	if o.Message != "" {
		words += "; " + o.Message
	}
	return words
}

// farewell is how long the end of a run waits for a terminal that takes no more.
const farewell = time.Second

// within calls f, and goes on without it where it takes too long.
func within(d time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// unread drops the error of an output whose reader went away: it is in nobody's
// way, and says nothing of the run.
func unread(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// profile begins the CPU profile that was asked for.
func (f *runFlags) profile() (stop func(), err error) {
	if f.cpuProfile == "" {
		return func() {}, nil
	}
	out, err := os.Create(f.cpuProfile)
	if err != nil {
		return nil, usageError{err}
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = out.Close() // a profile that is cut is seen when it is read
	}, nil
}

func runInCluster(ctx context.Context, code *int) error {
	ctx, stop := stopOnSignal(ctx, harness.ErrInterrupted)
	defer stop()
	// A container has one log, and in it the transcript must not be broken by
	// what the Kubernetes client has to say.
	klog.SetLogger(logr.Discard())
	pod, err := inpod.New()
	if err == nil {
		*code, err = pod.Run(ctx)
	}
	if err != nil {
		err = errors.Join(err, inpod.LeaveError(err))
	}
	return err
}

func (f *runFlags) check() error {
	l := f.local
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"--task", l.TaskFile != ""},
		{"--registry", l.RegistryFile != ""},
		{"--workspace", l.Workspace != "" || l.SandboxSocket != ""},
	} {
		if !flag.set {
			return usageError{fmt.Errorf("%s is required; see agent-runner run --help", flag.name)}
		}
	}
	switch {
	case l.Workspace != "" && l.SandboxSocket != "":
		return usageError{errors.New("--workspace and --sandbox-socket exclude each other: the sandbox server has a workspace of its own")}
	case l.TranscriptFile != "" && l.ResumeFile != "":
		return usageError{errors.New("--transcript and --resume exclude each other: a resumed run goes on in the file that it began")}
	case l.RecordDir != "" && (l.TranscriptFile != "" || l.ResumeFile != ""):
		return usageError{errors.New("--record has the transcript, and goes on with it: leave --transcript and --resume out")}
	case l.RecordDir != "" && l.SandboxSocket != "":
		return usageError{errors.New("--record and --sandbox-socket exclude each other: the workspace of the sandbox server cannot be kept")}
	case !slices.Contains(outputFormats, f.output):
		return usageError{fmt.Errorf("--output is %q; use text, json or yaml%s", f.output, models.DidYouMean(f.output, outputFormats))}
	}
	return nil
}
