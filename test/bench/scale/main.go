// Command bench-scale measures what a task costs: how many end in a second beside
// bare pods of the same run, how many writes it takes of the API server and how many
// reconciles of the manager, and what the manager keeps of it.
//
// The API server is a real one, on the same machine. A stand-in plays scheduler,
// kubelet and runners. The manager is the real program in a process of its own, with
// its own rights, under the admission policies. It prints figures beside the targets,
// and ends with 1 where a count is over its target: times depend on the machine, and
// counts do not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/scale"
)

func main() {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	o := scale.Options{Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}}
	counts := []int{100, 1000, 10000}
	flag.Func("tasks", "how many tasks, as numbers divided by commas, each on an API server and a manager of its own (default 100,1000,10000)", func(s string) (err error) {
		counts, err = numbers(s)
		return err
	})
	flag.Func("manager", "a flag of the manager, such as --workers=4; may be repeated", func(s string) error {
		o.Args = append(o.Args, s)
		return nil
	})
	most := flag.Int("pods", 1000, "bare pods of the floor, at most; as many as tasks otherwise")
	runs := flag.Int("runs", 1, "how often each is measured; medians are printed")
	flag.IntVar(&o.Namespaces, "namespaces", 10, "in how many namespaces the tasks are")
	flag.DurationVar(&o.Pause, "pause", 0, "how long a pod stays as it is before each step of its life")
	flag.StringVar(&o.Profiles, "profiles", "", "folder for profiles of the manager and the API server")
	flag.DurationVar(&o.ProfileTime, "profile-time", 10*time.Second, "for how long processor time is profiled, from the first task on")
	timeout := flag.Duration("timeout", time.Hour, "bound on the whole run")
	flag.Parse()
	// What was started is stopped when the run is.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := run(ctx, o, counts, *most, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench-scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o scale.Options, counts []int, mostPods, runs int) error {
	var all []*scale.Result
	for _, n := range counts {
		o.Tasks, o.Pods = n, min(n, mostPods)
		var same []*scale.Result
		for range runs {
			res, err := measure(ctx, o)
			if err != nil {
				return fmt.Errorf("%d tasks: %w", n, err)
			}
			same = append(same, res)
		}
		all = append(all, median(same))
	}
	return report(o, all)
}

// measure takes an API server of its own, so that nothing is left of an earlier run.
func measure(ctx context.Context, o scale.Options) (res *scale.Result, err error) {
	api, err := cluster.Start(cluster.Roomy(8 << 30))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, api.Stop()) }()
	return scale.Run(ctx, api, o)
}
