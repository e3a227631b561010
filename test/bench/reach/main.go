// Command bench-reach measures, on the cluster of the current kubeconfig, what it takes to
// use a Sandbox by way of the API server, beside floors of the same run: a request that
// the API server answers itself, and a command by `kubectl exec`'s own way. It prints
// medians and judges nothing.
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
	n := flag.Int("n", 200, "how often each is asked for")
	timeout := flag.Duration("timeout", 10*time.Minute, "bound on the whole run")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench-reach:", err)
		os.Exit(1)
	}
}

// arm is one of the things that are measured.
type arm struct {
	title string
	// rounds is how often; fewer of what takes long.
	rounds int
	do     func(context.Context) error
}

func run(ctx context.Context, n int) (err error) {
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cleanErr := b.cleanUp(context.WithoutCancel(ctx)); err == nil {
			err = cleanErr
		}
	}()
	fmt.Printf("%d processors, Kubernetes %s; Sandbox created -> first answer %.2f s\n", runtime.NumCPU(), b.version, b.first.Seconds())
	fmt.Printf("\n%-58s %8s %8s %8s\n", "milliseconds", "p50", "p90", "p99")
	for _, a := range b.arms(n) {
		took, err := measure(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.title, err)
		}
		fmt.Printf("%-58s %8.2f %8.2f %8.2f\n", a.title, quantile(took, 50), quantile(took, 90), quantile(took, 99))
	}
	return nil
}

func measure(ctx context.Context, a arm) ([]time.Duration, error) {
	var took []time.Duration
	for i := range a.rounds + 1 {
		began := time.Now()
		if err := a.do(ctx); err != nil {
			return nil, err
		}
		if i > 0 { // the first warms connections and does not count
			took = append(took, time.Since(began))
		}
	}
	return took, nil
}

// quantile gives the smallest value, in milliseconds, that at least p percent do not exceed.
func quantile(d []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(d))
	i := (len(sorted)*p + 99) / 100
	return float64(sorted[max(i, 1)-1].Microseconds()) / 1000
}
