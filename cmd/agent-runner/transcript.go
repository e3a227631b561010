package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/local"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

func transcriptCommand() *cobra.Command {
	return group(&cobra.Command{Use: "transcript", Short: "Read and check transcripts"},
		transcriptShowCommand(), transcriptVerifyCommand(), transcriptStatsCommand())
}

func transcriptShowCommand() *cobra.Command {
	var show transcript.Show
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Print a transcript as a conversation",
		Long: `Print a transcript as a conversation. Use - for standard input, which is read
until it ends. --follow prints what is added to a file until the run has ended.
With --record DIR it is that of the task FILE in a folder of agent-runner run.`,
		Example: `  agent-runner transcript show run.jsonl
  agent-runner transcript show --follow run.jsonl
  kubectl logs -f mend-1 -c runner | agent-runner transcript show -`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if show.Turn < 0 {
				return usageError{fmt.Errorf("--turn is %d; turns count from 1", show.Turn)}
			}
			if show.Follow && recordFolder(cmd) != "" {
				return usageError{errors.New("--follow needs a file: a folder of agent-runner run --record is read as it is now")}
			}
			show.W = cmd.OutOrStdout()
			ctx, stop := stopOnSignal(cmd.Context(), harness.ErrCancelled)
			defer stop()
			return withInput(cmd, args[0], func(r io.Reader) error {
				if show.Follow && args[0] != "-" {
					r = &follower{ctx: ctx, r: r}
				}
				for run := range transcript.Runs(r) {
					one := show
					if err := one.Copy(run); err != nil || one.Follow && args[0] != "-" {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&show.Full, "full", false, "print long texts whole")
	cmd.Flags().IntVar(&show.Turn, "turn", 0, "print one turn only")
	cmd.Flags().BoolVarP(&show.Follow, "follow", "f", false, "go on until the run has ended")
	return addRecordFlag(cmd)
}

// followPoll is how often a file is looked at for more.
const followPoll = 100 * time.Millisecond

// follower waits at the end of a file for more, until ctx ends.
type follower struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (f *follower) Read(p []byte) (int, error) {
	for {
		n, err := f.r.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, io.EOF
		case <-time.After(followPoll):
		}
	}
}

func transcriptVerifyCommand() *cobra.Command {
	return addRecordFlag(&cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a transcript is whole and unchanged",
		Long: `Check that a transcript is whole and unchanged: every line names the hash of the
one before. Use - for standard input. A transcript that was rewritten as a whole
passes too: compare the digest with status.transcript.digest of the AgentTask.
The log of a Sandbox that served several tasks holds a transcript of each; the
last is the one whose status names the log.`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withInput(cmd, args[0], func(r io.Reader) error {
				for run := range transcript.Runs(r) {
					if err := verifyRun(cmd.OutOrStdout(), run); err != nil {
						return err
					}
				}
				return nil
			})
		},
	})
}

func verifyRun(w io.Writer, r io.Reader) error {
	report, err := transcript.Verify(r)
	if err != nil {
		return err
	}
	end := "the run has not ended"
	switch {
	case report.Cut:
		end = "the last line is cut"
	case report.Ended != nil:
		end = "the run ended: " + text.Inline(report.Ended.Reason)
	}
	_, err = fmt.Fprintf(w, "%d events, %d bytes, %s; %s\n", report.Events, report.Bytes, report.Digest, end)
	return err
}

func transcriptStatsCommand() *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use:   "stats FILE",
		Short: "Print the figures of a run: turns, calls, failures, tokens, cost, latencies",
		Args:  oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(outputFormats, format) {
				return usageError{fmt.Errorf("--output is %q; use text, json or yaml%s", format, models.DidYouMean(format, outputFormats))}
			}
			return withInput(cmd, args[0], func(r io.Reader) error {
				for run := range transcript.Runs(r) {
					s, err := transcript.StatsOf(run)
					if err == nil && format == "text" {
						err = printStats(cmd.OutOrStdout(), s)
					} else if err == nil {
						err = printData(cmd.OutOrStdout(), format, s)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", format, "how to print: text, json or yaml")
	return addRecordFlag(cmd)
}

func printStats(w io.Writer, s transcript.Stats) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	reason := s.Reason
	if reason == "" {
		reason = "(the run has not ended)"
	}
	fmt.Fprintf(tw, "Task\t%s\nReason\t%s\nModels\t%s\nTurns\t%d\n", text.Inline(s.Task), text.Inline(reason), text.Inline(strings.Join(s.Models, ", ")), s.Turns)
	fmt.Fprintf(tw, "Wall time\t%s\n", elapsed(time.Duration(s.WallSeconds*float64(time.Second))))
	estimated := ""
	if s.Usage.Estimated {
		estimated = ", in part estimated"
	}
	fmt.Fprintf(tw, "Tokens\t%d in (%d cached), %d out (%d reasoning)%s\n", s.Usage.InputTokens, s.Usage.CachedInputTokens,
		s.Usage.OutputTokens, s.Usage.ReasoningTokens, estimated)
	if u := s.Wasted; u.InputTokens+u.OutputTokens > 0 {
		fmt.Fprintf(tw, "  of these wasted\t%d in, %d out by failed calls\n", u.InputTokens, u.OutputTokens)
	}
	fmt.Fprintf(tw, "Cost\t$%s\n", s.CostUSD)
	if len(s.FailedModelCalls) > 0 {
		fmt.Fprintf(tw, "Failed model calls\t%s\n", counts(s.FailedModelCalls))
	}
	if s.MendedReplies > 0 {
		fmt.Fprintf(tw, "Mended replies\t%d\n", s.MendedReplies)
	}
	if len(s.Notices) > 0 {
		fmt.Fprintf(tw, "Notices\t%s\n", counts(s.Notices))
	}
	if s.Compactions+s.Fallbacks > 0 {
		fmt.Fprintf(tw, "Compactions\t%d\nFallbacks\t%d\n", s.Compactions, s.Fallbacks)
	}
	cut := ""
	if s.Cut {
		cut = "; the last line is cut"
	}
	fmt.Fprintf(tw, "Transcript\t%d events, %d bytes%s\n", s.Events, s.Bytes, cut)
	if err := tw.Flush(); err != nil {
		return err
	}
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\nSTEP\tCOUNT\tFAILED\tP50\tP95\tMAX\tTOTAL\n")
	failed := 0
	for _, n := range s.FailedModelCalls {
		failed += n
	}
	row := func(name string, failed int, l transcript.Latency) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", name, l.Count, failed,
			millis(l.P50Millis), millis(l.P95Millis), millis(l.MaxMillis), millis(l.TotalMillis))
	}
	row("model call", failed, s.ModelCalls)
	for _, t := range s.Tools {
		row(text.Inline(t.Name), t.Failed, t.Latency)
	}
	if s.Verifications.Count > 0 {
		row("verification", s.FailedVerifications, s.Verifications)
	}
	return tw.Flush()
}

func counts(m map[string]int) string {
	parts := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%d %s", m[name], text.Inline(name)))
	}
	return strings.Join(parts, ", ")
}

func millis(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

const recordFlag = "record"

// addRecordFlag lets a command read the transcript of a task in a folder.
func addRecordFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String(recordFlag, "", "take the transcript of the task FILE from this folder of agent-runner run --record")
	cobra.CheckErr(cmd.MarkFlagDirname(recordFlag))
	return cmd
}

func recordFolder(cmd *cobra.Command) string { return cmd.Flags().Lookup(recordFlag).Value.String() }

// withRecord opens the transcript of a task in a folder.
func withRecord(ctx context.Context, dir, task string, read func(io.Reader) error) (err error) {
	r, err := local.Recorded(ctx, dir, task)
	if err != nil {
		return &runner.UsageError{Err: err}
	}
	defer func() { err = errors.Join(err, r.Store.Close()) }()
	switch last, err := r.Store.LastEvent(ctx, r.Task); {
	case err != nil:
		return err
	case last == 0:
		return &runner.UsageError{Err: fmt.Errorf("the record in %s has no task %q", dir, task)}
	}
	log, err := r.Log(ctx, 1)
	if err != nil {
		return err
	}
	return errors.Join(read(log), log.Close())
}

// withInput opens a file, or standard input for "-".
func withInput(cmd *cobra.Command, name string, read func(io.Reader) error) error {
	if dir := recordFolder(cmd); dir != "" {
		return withRecord(cmd.Context(), dir, name, read)
	}
	if name == "-" {
		return read(cmd.InOrStdin())
	}
	f, err := os.Open(name)
	if err != nil {
		return &runner.UsageError{Err: err}
	}
	defer f.Close() //nolint:errcheck // only read
	err = read(f)
	if errors.As(err, new(*transcript.Error)) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}
