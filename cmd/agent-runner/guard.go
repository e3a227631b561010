package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// guardCommand is the process that a run on a laptop has beside it; see
// engine.Guard. The first one starts the one that stays and exits, so that this
// is nobody's child.
func guardCommand() *cobra.Command {
	var run engine.Guarded
	var stay bool
	cmd := &cobra.Command{
		Use:    "guard",
		Short:  "Kill what a run started, should it be killed itself",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			if !stay {
				return startStaying(run)
			}
			// It ends with its run, which alone is told to stop.
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			return engine.Guard(os.Stdin, run)
		},
	}
	cmd.Flags().IntVar(&run.PID, "pid", 0, "process of the run")
	cmd.Flags().Uint64Var(&run.Start, "start", 0, "when it was started, in ticks since boot")
	cmd.Flags().StringVar(&run.ID, "run", "", "what the run's commands have in their environment")
	cmd.Flags().BoolVar(&stay, "stay", false, "be the process that stays")
	return cmd
}

func startStaying(run engine.Guarded) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(self) //nolint:noctx // it outlives us on purpose
	cmd.Args = []string{
		"agent-runner", "guard", "--stay", "--pid", strconv.Itoa(run.PID), "--start", strconv.FormatUint(run.Start, 10), "--run", run.ID,
	}
	// Standard output is how the run sees that the guard is gone.
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	return cmd.Start()
}
