// Command bench-start measures, on the cluster of the current kubeconfig, how
// long it takes from the creation of an AgentTask to the first request that its
// model gets: in a Sandbox that is made for it, and in a warm one of a pool. Beside
// them are the floors of the same run: bare pods of two containers, from their
// creation to Ready. It prints medians and judges nothing.
package main

import (
	"context"
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
	bursts := flag.Int("bursts", 5, "how many such bursts")
	image := flag.String("image", "ghcr.io/sampan-dev/sandbox:dev", "image of the floor's pods and of the model server")
	claims := flag.Bool("claims", false, "measure tasks alone, in Sandboxes of their own and from a pool")
	timeout := flag.Duration("timeout", 15*time.Minute, "bound on the whole run")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, *n, *burst, *bursts, *image, *claims); err != nil {
		fmt.Fprintln(os.Stderr, "bench-start:", err)
		os.Exit(1)
	}
}

// arm is one of the things whose start is measured.
type arm struct {
	title         string
	start         func(ctx context.Context, name string, n int) ([]time.Duration, error)
	single, burst []time.Duration
}

func run(ctx context.Context, n, burst, bursts int, image string, claims bool) (err error) {
	b, err := newBench(ctx, image)
	if err != nil {
		return err
	}
	defer func() {
		if cleanErr := b.cleanUp(context.WithoutCancel(ctx)); err == nil {
			err = cleanErr
		}
	}()
	task := &arm{title: "AgentTask, create -> first model request", start: b.tasks}
	warm := &arm{title: "the same, from a warm pool", start: b.claims}
	arms := []*arm{
		{title: "bare pod of two containers, create -> Ready", start: b.pods(empty)},
		{title: "the same with its token, as any ordinary pod", start: b.pods(ordinary)},
		{title: "the same as a restricted namespace lets it in", start: b.pods(restricted)},
		task,
		warm,
	}
	if claims {
		arms = []*arm{task, warm}
	}
	fmt.Printf("%d processors, %s; %d of each one at a time, then %d bursts of %d of each, in turn\n", runtime.NumCPU(), b.version, n, bursts, burst)
	for i := range n + 1 {
		for j, a := range arms {
			d, err := a.start(ctx, fmt.Sprintf("one-%d-%d", j, i), 1)
			if err != nil {
				return err
			}
			if i > 0 { // the first of each warms caches and does not count
				a.single = append(a.single, d...)
			}
		}
	}
	for i := range bursts {
		for j, a := range arms {
			d, err := a.start(ctx, fmt.Sprintf("burst-%d-%d", j, i), burst)
			if err != nil {
				return err
			}
			a.burst = append(a.burst, d...)
		}
	}
	table("one at a time", arms, task, func(a *arm) []time.Duration { return a.single })
	table(fmt.Sprintf("bursts of %d", burst), arms, task, func(a *arm) []time.Duration { return a.burst })
	fmt.Printf("\nOf %d claims %d found a warm Sandbox.\n", b.hits+b.misses, b.hits)
	fmt.Println("The targets are that a task starts at most 0.30 s after a pod and, from a warm pool, in 0.08 s, and in 0.20 s in a burst.")
	return nil
}

// table prints what was measured of each arm, and how far the task lies above it.
func table(title string, arms []*arm, task *arm, of func(*arm) []time.Duration) {
	fmt.Printf("\n%-50s %7s %7s %7s %7s %12s\n", title+", seconds", "min", "p50", "p90", "max", "task's p50")
	for _, a := range arms {
		d := of(a)
		fmt.Printf("%-50s %7.3f %7.3f %7.3f %7.3f", a.title, quantile(d, 0), quantile(d, 50), quantile(d, 90), quantile(d, 100))
		if a != task {
			fmt.Printf(" %+12.3f", quantile(of(task), 50)-quantile(d, 50))
		}
		fmt.Println()
	}
}

// quantile gives the smallest value, in seconds, that at least p percent do not exceed.
func quantile(d []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(d))
	i := (len(sorted)*p + 99) / 100
	return sorted[max(i, 1)-1].Seconds()
}
