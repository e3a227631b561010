// Command bench-tenants measures what a crowd of tenants does to the manager: its
// peak memory, and how long an honest task waits for its first status, beside 1,000
// tasks of the largest size that the API lets in and hostile registries in 100
// namespaces. The floor is an honest task beside an idle manager, in the same run.
//
// The API server is a real one, on the same machine, and has to store and give all
// that; how long it takes for a small object of nobody's is told beside each figure.
// The manager is the real program in a process of its own, with its own rights and
// the memory limit of its Deployment. It prints figures beside the targets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/crowd"
)

// targetRSS is what the manager may need.
const targetRSS = 256 << 20

func main() {
	ctrl.SetLogger(logr.Discard())
	o := crowd.Options{Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}}
	flag.IntVar(&o.Tasks, "tasks", 1000, "how many tasks of the largest size")
	flag.IntVar(&o.Active, "active", 250, "how many of them get a pod; the others are suspended")
	flag.IntVar(&o.Registries, "registries", 100, "namespaces with a hostile registry")
	flag.IntVar(&o.Edits, "edits", 5, "how often each of them is edited")
	flag.IntVar(&o.Samples, "samples", 20, "honest tasks to measure in each phase, at least")
	quota := flag.Int64("etcd-gib", 16, "how much etcd may hold, in GiB; its default of 2 is filled by some hundred such tasks")
	timeout := flag.Duration("timeout", time.Hour, "bound on the whole run")
	flag.Parse()
	// What was started is stopped when the run is.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := run(ctx, o, *quota<<30); err != nil {
		fmt.Fprintln(os.Stderr, "bench-tenants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o crowd.Options, quota int64) (err error) {
	api, err := cluster.Start(cluster.Roomy(quota))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.Stop()) }()
	phases, err := crowd.Run(ctx, api, o)
	if len(phases) > 0 {
		err = errors.Join(err, report(o, phases))
	}
	return err
}

func report(o crowd.Options, phases []crowd.Phase) error {
	fmt.Printf("%d tasks of the largest size (%d with a pod), hostile registries in %d namespaces, edited %d times; %d CPUs, shared with the API server\n\n",
		o.Tasks, o.Active, o.Registries, o.Edits, runtime.NumCPU())
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PHASE\tN\tFIRST STATUS P50\tMAX\tMAX - FLOOR\tTARGET\tAPI ALONE P50\tMAX\tPEAK RSS\tTARGET")
	floor := slices.Sorted(slices.Values(phases[0].Status))[len(phases[0].Status)/2]
	for _, p := range phases {
		p50, most := middle(p.Status)
		api50, apiMost := middle(p.API)
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t≤ 1 s\t%s\t%s\t%d MiB\t≤ %d MiB\n", p.Name, len(p.Status), show(p50), show(most), show(most-floor),
			show(api50), show(apiMost), p.PeakRSS>>20, targetRSS>>20)
	}
	return tw.Flush()
}

func middle(d []time.Duration) (p50, most time.Duration) {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

func show(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
