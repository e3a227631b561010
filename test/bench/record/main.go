// Command bench-record measures the record of a run, over HTTPS and a folder, beside
// what the machine takes for the least that has to be done, in the same run. It prints
// medians beside their targets and never fails on time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sampan-dev/sampan/internal/testing/deaths"
)

func main() {
	deaths.Role()
	b := &bench{}
	flag.IntVar(&b.rounds, "rounds", 200, "how often to measure what is short")
	flag.IntVar(&b.files, "files", 10_000, "files of the workspace")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-record:", err)
		os.Exit(1)
	}
}

type bench struct {
	rounds, files int
	dir           string
	rows          []row
	stored        int64
}

// row is a figure, and its floor.
type row struct {
	what, target string
	took, floor  []time.Duration
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "bench-record-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	for _, measure := range []func(context.Context) error{b.appends, b.snapshots, b.runs} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tP50\tTARGET\tP99\tFLOOR\tx FLOOR")
	for _, r := range b.rows {
		floor, times := "-", "-"
		if f := percentile(r.floor, 50); f > 0 {
			floor, times = show(f), fmt.Sprintf("%.2f", float64(percentile(r.took, 50))/float64(f))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, show(percentile(r.took, 50)), r.target, show(percentile(r.took, 99)), floor, times)
	}
	fmt.Fprintf(tw, "\nStored in a run of 30 turns: %d bytes a turn\n", b.stored/30)
	return tw.Flush()
}

// runs measures what a run of 30 turns stores, and how soon the next pod of one goes on.
func (b *bench) runs(context.Context) error {
	out, err := deaths.Run(deaths.Plan{First: -1}) //nolint:contextcheck // the processes of a run end by signals
	if err != nil {
		return err
	}
	b.stored = out.Stored
	next, err := deaths.Run(deaths.Plan{Kind: deaths.Pod, Timing: deaths.After, First: 60, Every: 50, Files: b.files}) //nolint:contextcheck // the processes of a run end by signals
	if words := append(out.Words, next.Words...); len(words) > 0 {
		err = errors.Join(err, fmt.Errorf("the runs went wrong: %q", words))
	}
	b.rows = append(b.rows, row{what: fmt.Sprintf("runner starts to next model request, %d files restored", b.files), target: "≤ 2 s", took: next.Next})
	return err
}

func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

func show(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

// clock times one thing.
func clock(into *[]time.Duration, do func() error) error {
	began := time.Now()
	err := do()
	*into = append(*into, time.Since(began))
	return err
}
