// Command bench-deaths kills the processes of recorded runs at every step, and prints
// what became of them, by what was killed. All that must not be is counted; any of it
// makes the command fail.
//
// With -every=61 there are 61 runs of each kind, each of which dies at another step first,
// and at every 61st from there: together they die at each step of a run.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/testing/deaths"
)

// beside is how many runs go on at a time.
const beside = 2

func main() {
	deaths.Role()
	every := flag.Int("every", 61, "how many steps there are between two deaths of a run")
	stride := flag.Int("stride", 1, "how far the first deaths of two runs are apart; more is shorter")
	kinds := flag.String("kinds", "", "what to kill, separated by commas; all by default")
	flag.Parse()
	if err := bench(plans(*every, *stride, *kinds)); err != nil {
		fmt.Fprintln(os.Stderr, "bench-deaths:", err)
		os.Exit(1)
	}
}

// plans gives one for each kind and first step. Timings take turns.
func plans(every, stride int, kinds string) []deaths.Plan {
	var out []deaths.Plan
	for first := 1; first <= every; first += max(stride, 1) {
		for i, k := range deaths.Kinds() {
			if kinds == "" || slices.Contains(strings.Split(kinds, ","), string(k)) {
				timings := deaths.Timings()
				out = append(out, deaths.Plan{Kind: k, Timing: timings[(len(out)+i)%len(timings)], First: first, Every: every})
			}
		}
	}
	return out
}

func bench(plans []deaths.Plan) error {
	outcomes := make([]deaths.Outcome, len(plans))
	var group errgroup.Group
	group.SetLimit(beside)
	for i, plan := range plans {
		group.Go(func() (err error) {
			outcomes[i], err = deaths.Run(plan)
			fmt.Fprintf(os.Stderr, "%-8s %-7s from step %2d: %d deaths, %s\n", plan.Kind, plan.Timing, plan.First, total(outcomes[i]), outcomes[i].Took)
			for _, w := range outcomes[i].Words {
				fmt.Fprintln(os.Stderr, "  ", w)
			}
			return err
		})
	}
	err := group.Wait()
	var table deaths.Table
	faults := 0
	for _, o := range outcomes {
		table.Add(o)
		faults += len(o.Words)
	}
	fmt.Printf("%d deaths in %d runs of 30 turns\n\n", table.Deaths(), len(plans))
	err = errors.Join(err, table.Print(os.Stdout))
	if faults > 0 {
		err = cmp.Or(err, fmt.Errorf("%d faults; see above", faults))
	}
	return err
}

func total(o deaths.Outcome) (n int) {
	for _, d := range o.Deaths {
		n += d
	}
	return n
}
