package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/harness/transcript"
	"github.com/sampan-dev/sampan/internal/runner"
)

func transcriptCommand() *cobra.Command {
	return group(&cobra.Command{Use: "transcript", Short: "Read and check transcripts"},
		transcriptShowCommand(), transcriptVerifyCommand())
}

func transcriptShowCommand() *cobra.Command {
	var show transcript.Show
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Print a transcript as a conversation",
		Long:  "Print a transcript as a conversation. Use - for standard input, which is followed until it ends.",
		Example: `  agent-runner transcript show run.jsonl
  kubectl logs -f mend-1 -c runner | agent-runner transcript show -`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show.W = cmd.OutOrStdout()
			return withInput(cmd, args[0], show.Copy)
		},
	}
	cmd.Flags().BoolVar(&show.Full, "full", false, "print long texts whole")
	cmd.Flags().IntVar(&show.Turn, "turn", 0, "print one turn only")
	return cmd
}

func transcriptVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a transcript is whole and unchanged",
		Long: `Check that a transcript is whole and unchanged: every line names the hash of the
one before. Use - for standard input. A transcript that was rewritten as a whole
passes too: compare the digest with status.transcript.digest of the AgentTask.`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withInput(cmd, args[0], func(r io.Reader) error {
				report, err := transcript.Verify(r)
				if err != nil {
					return err
				}
				end := "the run has not ended"
				switch {
				case report.Cut:
					end = "the last line is cut"
				case report.Ended != nil:
					end = "the run ended: " + report.Ended.Reason
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d events, %d bytes, %s; %s\n", report.Events, report.Bytes, report.Digest, end)
				return err
			})
		},
	}
}

// withInput opens a file, or standard input for "-".
func withInput(cmd *cobra.Command, name string, read func(io.Reader) error) error {
	if name == "-" {
		return read(cmd.InOrStdin())
	}
	f, err := os.Open(name)
	if err != nil {
		return &runner.UsageError{Err: err}
	}
	defer f.Close() //nolint:errcheck // only read
	return read(f)
}
