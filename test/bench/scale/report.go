package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/testing/scale"
)

// What a task may cost.
const (
	targetWrites     = 8
	targetReconciles = 6
	targetShare      = 0.25
	targetRSS        = 200e6
)

func numbers(list string) (out []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of tasks", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// median takes each figure's own; what was asked of the API server, by resource, is
// that of the middle run.
func median(runs []*scale.Result) *scale.Result {
	slices.SortFunc(runs, func(a, b *scale.Result) int { return a.Requests.Writes().Total() - b.Requests.Writes().Total() })
	out := *runs[len(runs)/2]
	out.PodRate = middle(runs, func(r *scale.Result) float64 { return r.PodRate })
	out.TaskRate = middle(runs, func(r *scale.Result) float64 { return r.TaskRate })
	out.ManagerCPU = middle(runs, func(r *scale.Result) float64 { return r.ManagerCPU })
	out.ServerCPU = middle(runs, func(r *scale.Result) float64 { return r.ServerCPU })
	out.PodServerCPU = middle(runs, func(r *scale.Result) float64 { return r.PodServerCPU })
	out.IdleHeap = middle(runs, func(r *scale.Result) int64 { return r.IdleHeap })
	out.Heap = middle(runs, func(r *scale.Result) int64 { return r.Heap })
	out.PeakRSS = middle(runs, func(r *scale.Result) int64 { return r.PeakRSS })
	return &out
}

func middle[T int64 | float64](runs []*scale.Result, figure func(*scale.Result) T) T {
	var all []T
	for _, r := range runs {
		all = append(all, figure(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// table has a row for each figure and a column for each number of tasks.
type table struct {
	results []*scale.Result
	rows    [][]string
}

func (t *table) row(name, target string, cell func(*scale.Result) string) {
	row := []string{name}
	for _, r := range t.results {
		row = append(row, cell(r))
	}
	t.rows = append(t.rows, append(row, target))
}

func (t *table) blank() { t.rows = append(t.rows, nil) }

// String aligns names to the left and figures to the right.
func (t *table) String() string {
	widths := make([]int, len(t.results)+2)
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&line, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(&line, "  %*s", widths[i], cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// report prints the table, and fails where a count is over its target.
func report(o scale.Options, results []*scale.Result) error {
	fmt.Printf("Tasks in %d namespaces, %s between the steps of a pod; %d CPUs, shared with the API server, etcd and the stand-in\n\n",
		o.Namespaces, o.Pause, runtime.NumCPU())
	t := &table{results: results}
	t.row("TASKS", "TARGET", func(r *scale.Result) string { return strconv.Itoa(r.Tasks) })
	t.row("bare pods a second", "", func(r *scale.Result) string { return fmt.Sprintf("%.1f", r.PodRate) })
	t.row("tasks a second", "", func(r *scale.Result) string { return fmt.Sprintf("%.1f", r.TaskRate) })
	t.row("share of the bare pods' rate", fmt.Sprintf("≥ %.2f", targetShare), func(r *scale.Result) string { return fmt.Sprintf("%.2f", r.TaskRate/r.PodRate) })
	t.row("rate over that of the first column", "flat", func(r *scale.Result) string { return fmt.Sprintf("%.2f", r.TaskRate/results[0].TaskRate) })
	t.row("processor time of the API server a bare pod, ms", "", func(r *scale.Result) string { return milliseconds(r.PodServerCPU) })
	t.row("... a task, ms", "", func(r *scale.Result) string { return milliseconds(r.ServerCPU) })
	t.row("processor time of the manager a task, ms", "", func(r *scale.Result) string { return milliseconds(r.ManagerCPU) })
	t.row("API writes a task", fmt.Sprintf("≤ %d", targetWrites), func(r *scale.Result) string { return perTask(r, r.Requests.Writes().Total()) })
	t.row("reconciles a task", fmt.Sprintf("≤ %d", targetReconciles), func(r *scale.Result) string { return perTask(r, r.Reconciles.Total()) })
	t.row("heap of the manager, idle, MB", "", func(r *scale.Result) string { return megabytes(r.IdleHeap) })
	t.row("... with all tasks, MB", "", func(r *scale.Result) string { return megabytes(r.Heap) })
	t.row("... a task, KiB", "", func(r *scale.Result) string {
		return fmt.Sprintf("%.1f", float64(r.Heap-r.IdleHeap)/1024/float64(r.Tasks))
	})
	t.row("peak RSS of the manager, MB", fmt.Sprintf("< %.0f", targetRSS/1e6), func(r *scale.Result) string { return megabytes(r.PeakRSS) })
	last := results[len(results)-1]
	t.breakdown("writes a task", last.Requests.Writes().Largest(), func(r *scale.Result) scale.Counts { return r.Requests })
	t.breakdown("reads a task", last.Requests.Reads().Largest(), func(r *scale.Result) scale.Counts { return r.Requests })
	t.breakdown("reconciles a task", last.Reconciles.Largest(), func(r *scale.Result) scale.Counts { return r.Reconciles })
	fmt.Print(t)
	return check(results)
}

// breakdown tells of what a figure is made, without what happens seldom.
func (t *table) breakdown(title string, keys []string, counts func(*scale.Result) scale.Counts) {
	t.blank()
	t.rows = append(t.rows, []string{strings.ToUpper(title)})
	for _, key := range keys {
		if !slices.ContainsFunc(t.results, func(r *scale.Result) bool { return counts(r)[key]*100 >= r.Tasks }) {
			continue
		}
		t.row("  "+key, "", func(r *scale.Result) string { return perTask(r, counts(r)[key]) })
	}
}

func check(results []*scale.Result) error {
	var missed []error
	for _, r := range results {
		n := float64(r.Tasks)
		if w := float64(r.Requests.Writes().Total()) / n; w > targetWrites {
			missed = append(missed, fmt.Errorf("%d tasks: %.2f API writes a task, and the target is %d", r.Tasks, w, targetWrites))
		}
		if c := float64(r.Reconciles.Total()) / n; c > targetReconciles {
			missed = append(missed, fmt.Errorf("%d tasks: %.2f reconciles a task, and the target is %d", r.Tasks, c, targetReconciles))
		}
		if r.PeakRSS >= targetRSS {
			missed = append(missed, fmt.Errorf("%d tasks: the manager took %s MB, and the target is %.0f", r.Tasks, megabytes(r.PeakRSS), targetRSS/1e6))
		}
	}
	return errors.Join(missed...)
}

func perTask(r *scale.Result, n int) string { return fmt.Sprintf("%.2f", float64(n)/float64(r.Tasks)) }

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }

func milliseconds(seconds float64) string { return fmt.Sprintf("%.1f", 1000*seconds) }
