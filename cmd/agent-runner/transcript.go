package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/harness/transcript"
)

func transcriptCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "transcript", Short: "Work with transcripts"}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a transcript is whole and unchanged",
		Long:  "Check that a transcript is whole and unchanged: every line names the hash of the one before. Use - for standard input.",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := os.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close() //nolint:errcheck // only read
				in = f
			}
			report, err := transcript.Verify(in)
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
			fmt.Fprintf(cmd.OutOrStdout(), "%d events, %d bytes, %s; %s\n", report.Events, report.Bytes, report.Digest, end)
			return nil
		},
	})
	return cmd
}
