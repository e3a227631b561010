package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sampan-dev/sampan/internal/llm/scripted"
)

// ownTimes gives the own time of each turn: from an answer to the next request.
func ownTimes(records []scripted.Record, n int) ([]time.Duration, error) {
	if len(records) != n+1 {
		return nil, fmt.Errorf("%d requests arrived, want %d", len(records), n+1)
	}
	own := make([]time.Duration, n)
	for i := range own {
		if records[i].SentUnixNano == 0 {
			return nil, fmt.Errorf("answer %d was not sent whole", i)
		}
		own[i] = time.Duration(records[i+1].UnixNano - records[i].SentUnixNano)
	}
	return own, nil
}

func percentile[T cmp.Ordered](values []T, p int) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

// row is what was measured of one kind of run; medians are of its rounds.
type row struct {
	kind     kind
	turns    int
	outputs  outputs
	p50, p99 []time.Duration
	// head and tail are the p50 of the first and last hundred turns.
	head, tail []time.Duration
	rss        []int64
}

type report struct {
	rows           []*row
	first, sigterm map[kind][]time.Duration
}

func (r *report) add(k kind, n int, o outputs, own []time.Duration, rss int64) {
	i := slices.IndexFunc(r.rows, func(r *row) bool { return r.kind == k && r.turns == n && r.outputs == o })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{kind: k, turns: n, outputs: o})
	}
	row := r.rows[i]
	row.p50 = append(row.p50, percentile(own, 50))
	row.p99 = append(row.p99, percentile(own, 99))
	row.head = append(row.head, percentile(own[:min(100, len(own))], 50))
	row.tail = append(row.tail, percentile(own[max(0, len(own)-100):], 50))
	row.rss = append(row.rss, rss)
}

// targets of the own time per turn.
var targets = map[kind]string{inProcess: "≤ 3 ms", overSocket: "≤ 4 ms"}

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "Own time per turn, from a model's answer to the next request (%d CPUs, %s; medians of the rounds)\n\n", runtime.NumCPU(), runtime.Version())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RUN\tTOOL\tTURNS\tP50\tTARGET\tx FLOOR\tP99\tFIRST 100\tLAST 100\tPEAK RSS\tTARGET")
	for _, row := range r.rows {
		p50 := percentile(row.p50, 50)
		ratio := "-"
		if f := r.floorOf(row); f > 0 && row.kind != floor {
			ratio = fmt.Sprintf("%.2f", float64(p50)/float64(f))
		}
		target, rssTarget := "-", "-"
		if row.outputs == small && row.kind != floor {
			target = targets[row.kind]
		}
		if row.kind != floor {
			rssTarget = "≤ 40 MB"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d MB\t%s\n", row.kind, row.outputs, row.turns,
			show(p50), target, ratio, show(percentile(row.p99, 50)), show(percentile(row.head, 50)), show(percentile(row.tail, 50)),
			percentile(row.rss, 50)>>20, rssTarget)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\nRUN\tSTART TO FIRST REQUEST\tMAX\tTARGET\tSIGTERM TO EXIT\tMAX\tTARGET\n")
	for _, k := range []kind{floor, inProcess, overSocket} {
		first, term := r.first[k], r.sigterm[k]
		if k == floor {
			fmt.Fprintf(tw, "%s\t%s\t%s\t-\t-\t-\t-\n", k, show(percentile(first, 50)), show(percentile(first, 100)))
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t≤ 50 ms\t%s\t%s\t≤ 1 s\n", k, show(percentile(first, 50)), show(percentile(first, 100)),
			show(percentile(term, 50)), show(percentile(term, 100)))
	}
	return tw.Flush()
}

// floorOf gives the floor's p50 of as many turns; 0 where there is none.
func (r *report) floorOf(like *row) time.Duration {
	for _, row := range r.rows {
		if row.kind == floor && row.turns == like.turns && row.outputs == like.outputs {
			return percentile(row.p50, 50)
		}
	}
	return 0
}

func show(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
