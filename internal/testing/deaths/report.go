package deaths

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Table sums up outcomes by kind.
type Table struct {
	kinds  map[Kind]*sum
	points map[string]map[Kind]int
}

type sum struct {
	Faults
	runs, deaths, pods, fenced int
}

// Add adds an outcome.
func (t *Table) Add(o Outcome) {
	if t.kinds == nil {
		t.kinds, t.points = map[Kind]*sum{}, map[string]map[Kind]int{}
	}
	k := o.Plan.Kind
	if t.kinds[k] == nil {
		t.kinds[k] = &sum{}
	}
	s := t.kinds[k]
	s.runs++
	s.pods += o.Pods
	s.fenced += o.Fenced
	s.Add(o.Faults)
	for point, n := range o.Deaths {
		s.deaths += n
		if t.points[point] == nil {
			t.points[point] = map[Kind]int{}
		}
		t.points[point][k] += n
	}
}

// Deaths counts all of them.
func (t *Table) Deaths() (n int) {
	for _, s := range t.kinds {
		n += s.deaths
	}
	return n
}

// Print writes what became of the runs, and where the deaths were.
func (t *Table) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "KILLED\tRUNS\tDEATHS\tPODS\tFENCED\tEVENTS LOST\tWRONG RESTORE\tCHARGED TWICE\tNOT CHARGED\tEFFECTS REPEATED\tUNRECORDED\tFALSE ENDS\tBROKEN\tWRONG END STATE\tLEFT RUNNING\t")
	for _, k := range Kinds() {
		if s := t.kinds[k]; s != nil {
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k, s.runs, s.deaths, s.pods, s.fenced, s.LostEvents, s.WrongTrees,
				s.ChargedTwice, s.NotCharged, s.Repeated, s.Unrecorded, s.FalseEnds, s.Broken, s.WrongFinal, s.LeftRunning)
		}
	}
	fmt.Fprint(tw, "\nDEATHS AT\t")
	for _, k := range Kinds() {
		fmt.Fprintf(tw, "%s\t", k)
	}
	fmt.Fprintln(tw)
	for _, point := range slices.Sorted(maps.Keys(t.points)) {
		fmt.Fprintf(tw, "%s\t", point)
		for _, k := range Kinds() {
			fmt.Fprintf(tw, "%d\t", t.points[point][k])
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}
