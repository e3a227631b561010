// Command bench-start measures, on the cluster of the current kubeconfig, how
// long it takes from the creation of an AgentTask to the first request that its
// model gets, beside the floor of the same run: a bare pod of two containers,
// from its creation to Ready. It prints medians and judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

func main() {
	n := flag.Int("n", 12, "how many are started one at a time")
	burst := flag.Int("burst", 20, "how many are started at once")
	bursts := flag.Int("bursts", 3, "how many such bursts")
	image := flag.String("image", "ghcr.io/sampan-dev/sandbox:dev", "image of the floor's pods and of the model server")
	timeout := flag.Duration("timeout", 15*time.Minute, "bound on the whole run")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, *n, *burst, *bursts, *image); err != nil {
		fmt.Fprintln(os.Stderr, "bench-start:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n, burst, bursts int, image string) (err error) {
	b, err := newBench(ctx, image)
	if err != nil {
		return err
	}
	defer func() {
		if cleanErr := b.cleanUp(context.WithoutCancel(ctx)); err == nil {
			err = cleanErr
		}
	}()
	fmt.Printf("%d processors, %s; one at a time: %d of each, in turn; bursts: %d of %d of each, in turn\n\n", runtime.NumCPU(), b.version, n, bursts, burst)
	var empty, floor, task, floorBurst, taskBurst []time.Duration
	for i := range n + 1 {
		warm := i == 0 // the first of each warms caches and does not count
		if err := errors.Join(
			add(&empty, warm)(b.floor(ctx, fmt.Sprintf("empty-%d", i), 1, false)),
			add(&floor, warm)(b.floor(ctx, fmt.Sprintf("floor-%d", i), 1, true)),
			add(&task, warm)(b.tasks(ctx, fmt.Sprintf("task-%d", i), 1)),
		); err != nil {
			return err
		}
	}
	for i := range bursts {
		if err := errors.Join(
			add(&floorBurst, false)(b.floor(ctx, fmt.Sprintf("floor-burst-%d", i), burst, true)),
			add(&taskBurst, false)(b.tasks(ctx, fmt.Sprintf("task-burst-%d", i), burst)),
		); err != nil {
			return err
		}
	}
	fmt.Printf("%-62s %8s %8s %8s %8s\n", "seconds", "min", "p50", "p90", "max")
	row("bare pod of two containers, no volume, create -> Ready", empty)
	row("the same with its token, as any ordinary pod (floor)", floor)
	row("AgentTask, create -> first model request", task)
	row(fmt.Sprintf("bursts of %d bare pods (floor)", burst), floorBurst)
	row(fmt.Sprintf("bursts of %d AgentTasks", burst), taskBurst)
	fmt.Printf("\nAbove the floor at p50: %.2f s one at a time (%.2f s above a pod without a volume), %.2f s in the burst; target: at most 0.30 s\n",
		above(task, floor), above(task, empty), above(taskBurst, floorBurst))
	return nil
}

// add appends what a round measured.
func add(to *[]time.Duration, warm bool) func([]time.Duration, error) error {
	return func(d []time.Duration, err error) error {
		if !warm {
			*to = append(*to, d...)
		}
		return err
	}
}

// above is how far one median lies above another, in seconds.
func above(a, b []time.Duration) float64 { return (quantile(a, 50) - quantile(b, 50)).Seconds() }

func row(name string, d []time.Duration) {
	fmt.Printf("%-62s %8.3f %8.3f %8.3f %8.3f\n", name, quantile(d, 0).Seconds(), quantile(d, 50).Seconds(), quantile(d, 90).Seconds(), quantile(d, 100).Seconds())
}

// quantile gives the smallest value that at least p percent do not exceed.
func quantile(d []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	i := (len(sorted)*p + 99) / 100
	return sorted[max(i, 1)-1]
}
