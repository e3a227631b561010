package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/runner"
)

type runFlags struct {
	local     runner.Local
	output    string
	inCluster bool
}

const runLong = `Run an AgentTask.

With --task, --registry and --workspace it runs on this machine, without a
cluster, with the same loop, tools, transcript and result as in a pod. Tools
run on this machine, as you: use a workspace and a machine that you can lose.

In a pod that the operator made, --in-cluster follows the pod's Sandbox.

Progress goes to stderr, the result to stdout. Exit codes:
   0  Completed: the model finished and every verify command passed
   1  Internal error                 7  LoopDetected
   2  wrong usage or input           8  EmptyResponse
   3  VerificationFailed             9  ContextExhausted
   4  MaxTurns                      10  ModelUnavailable
   5  DeadlineExceeded              11  SandboxLost
   6  BudgetExceeded                12  Cancelled`

func runCommand(code *int) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run an AgentTask",
		Long:  runLong,
		Example: `  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo
  agent-runner run --task task.yaml --registry models.yaml --workspace ./repo -o json --transcript run.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, code) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.local.TaskFile, "task", "", "AgentTask manifest")
	flags.StringVar(&f.local.RegistryFile, "registry", "", "model registry document")
	flags.StringVar(&f.local.Workspace, "workspace", "", "folder that tools work in")
	flags.StringVar(&f.local.TranscriptFile, "transcript", "", "file for the transcript; must not exist (default: one in the temporary folder)")
	flags.StringVar(&f.local.PromptFile, "prompt-file", "", "take the prompt from a file")
	flags.StringVarP(&f.output, "output", "o", "text", "how to print the result: text, json or yaml")
	flags.BoolVar(&f.inCluster, "in-cluster", false, "run as the runner container of a Sandbox's pod")
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command, code *int) error {
	ctx, stop := stopOnSignal(cmd.Context())
	defer stop()
	if f.inCluster {
		pod, err := runner.NewPod()
		if err != nil {
			return err
		}
		*code, err = pod.Run(ctx)
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	p := newProgressPrinter(os.Stderr)
	f.local.Progress = p.print
	res, path, err := f.local.Run(ctx)
	p.done()
	if res.Reason == "" {
		return err
	}
	*code = res.Reason.ExitCode()
	return errors.Join(err, f.print(cmd.OutOrStdout(), res, path))
}

func (f *runFlags) check() error {
	for name, value := range map[string]string{"--task": f.local.TaskFile, "--registry": f.local.RegistryFile, "--workspace": f.local.Workspace} {
		if value == "" {
			return usageError{fmt.Errorf("%s is required; see agent-runner run --help", name)}
		}
	}
	switch f.output {
	case "text", "json", "yaml":
		return nil
	}
	return usageError{fmt.Errorf("--output is %q; use text, json or yaml", f.output)}
}

// stopOnSignal ends the context on SIGTERM and SIGINT, with the cause that the
// harness takes for a wish of the user.
func stopOnSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-ctx.Done():
		case s := <-signals:
			cancel(fmt.Errorf("received %s: %w", s, harness.ErrCancelled))
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// output is the result as -o json and -o yaml give it.
type output struct {
	harness.Result
	TranscriptFile string `json:"transcriptFile"`
}

func (f *runFlags) print(w io.Writer, res harness.Result, path string) error {
	out := output{Result: res, TranscriptFile: path}
	switch f.output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	case "yaml":
		data, err := yaml.Marshal(out)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	return printText(w, out)
}

func printText(w io.Writer, out output) error {
	p := out.Progress
	estimated := ""
	if p.Usage.Estimated {
		estimated = " (estimated)"
	}
	_, err := fmt.Fprintf(w, "%s\n\nReason      %s\nModel       %s\nTurns       %d\nTool calls  %d (%d failed)\nTokens      %d in, %d out%s\nCost        $%s\n",
		out.Message, out.Reason, p.Model, p.Turns, p.ToolCalls, p.FailedToolCalls,
		p.Usage.InputTokens, p.Usage.OutputTokens, estimated, p.CostUSD)
	for _, v := range out.Verifications {
		if err != nil {
			return err
		}
		verdict := "failed"
		if v.Passed {
			verdict = "passed"
		}
		_, err = fmt.Fprintf(w, "Verify      %s %s\n", v.Name, verdict)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "Transcript  %s\n", out.TranscriptFile)
	return err
}

// progressPrinter prints one line per change of activity. Progress arrives one
// at a time from a goroutine of the run; the lock is for the last line.
type progressPrinter struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
	last  string
}

func newProgressPrinter(w io.Writer) *progressPrinter {
	return &progressPrinter{w: w, start: time.Now()}
}

func (p *progressPrinter) print(pr harness.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.Activity == "" || pr.Activity == p.last {
		return
	}
	p.last = pr.Activity
	fmt.Fprintf(p.w, "%7s  turn %-3d  %7d tokens  $%-8s  %s\n", time.Since(p.start).Round(100*time.Millisecond),
		pr.Turns, pr.Usage.InputTokens+pr.Usage.OutputTokens, pr.CostUSD.Round(4), pr.Activity)
}

func (p *progressPrinter) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != "" {
		fmt.Fprintln(p.w)
	}
}
