package engine

import (
	"slices"
	"strings"
	"testing"
)

// TestGuardKillsNobodyElses: what a guard finds is the run's, whatever became of
// the run and of the numbers of its processes. It sends no signal here.
func TestGuardKillsNobodyElses(t *testing.T) {
	const runner, session, self, began = 100, 50, 101, 1000
	// As on any machine: some older than the run, some younger, in its session and not.
	machine := []process{
		{pid: 1, session: 1, start: 1}, {pid: 2, session: 2, start: 1}, {pid: 3, ppid: 2, session: 2, start: 2000},
		{pid: session, ppid: 1, session: session, start: 900}, {pid: self, ppid: 1, session: session, start: 1001},
		{pid: 60, ppid: 1, session: 60, start: 900}, {pid: 61, ppid: 60, session: 60, start: 3000},
		{pid: 62, ppid: session, session: session, start: 3000},
	}
	run := process{pid: runner, ppid: session, session: session, start: began}
	command := process{pid: 200, ppid: runner, session: 200, start: 1100}
	child := process{pid: 201, ppid: 200, session: 200, start: 1101}
	orphan := process{pid: 202, ppid: 1, session: 202, start: 1102}
	for name, tc := range map[string]struct {
		looks  [][]process
		last   []process
		marked []int
		want   []int
	}{
		"nothing was started":             {},
		"the run is gone before a look":   {last: []process{orphan}},
		"a child that is left":            {last: []process{child}, marked: []int{201}, want: []int{201}},
		"an orphan that kept its mark":    {last: []process{orphan}, marked: []int{202}, want: []int{202}},
		"what a marked one began":         {last: []process{orphan, {pid: 203, ppid: 202, session: 203, start: 1200}}, marked: []int{202}, want: []int{202, 203}},
		"one in a marked one's session":   {last: []process{orphan, {pid: 203, ppid: 1, session: 202, start: 1200}}, marked: []int{202}, want: []int{202, 203}},
		"an orphan that was seen before":  {looks: [][]process{{run, command, child, {pid: 202, ppid: 201, session: 202, start: 1102}}}, last: []process{orphan}, want: []int{202}},
		"one adopted by the run":          {looks: [][]process{{run, {pid: 202, ppid: runner, session: 202, start: 1102}}}, last: []process{orphan}, want: []int{202}},
		"seen long ago":                   {looks: [][]process{{run, {pid: 202, ppid: runner, session: 202, start: 1102}}, {run, orphan}, {run, orphan}}, last: []process{orphan}, want: []int{202}},
		"its number is another's by now":  {looks: [][]process{{run, command}}, last: []process{{pid: 200, ppid: 1, session: 60, start: 5000}}},
		"the run's number is another's":   {looks: [][]process{{run, command}}, last: []process{{pid: runner, ppid: 60, session: 60, start: 4000}, {pid: 300, ppid: runner, session: 60, start: 4001}}},
		"a mark on what was there before": {last: []process{{pid: 70, ppid: 1, session: 70, start: 900}}, marked: []int{70}},
		"a zombie":                        {last: []process{{pid: 202, ppid: 1, session: 202, start: 1102, zombie: true}}, marked: []int{202}},
		"marks on all that must be kept":  {last: []process{run}, marked: []int{1, 2, self, runner, session, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(Guarded{PID: runner, Start: began, ID: "x"})
			g.self, g.marked = self, func(pid int) bool { return slices.Contains(tc.marked, pid) }
			for _, l := range tc.looks {
				g.look(tableOf(machine, l))
			}
			var got []int
			for _, p := range g.find(tableOf(machine, tc.last)) {
				got = append(got, p.pid)
			}
			if slices.Sort(got); !slices.Equal(got, tc.want) {
				t.Errorf("found %v, want %v", got, tc.want)
			}
		})
	}
	for _, bad := range []Guarded{{}, {PID: 1, Start: 1, ID: "x"}, {PID: 5, ID: "x"}, {PID: 5, Start: 1}} {
		if err := Guard(strings.NewReader("x"), bad); err == nil {
			t.Errorf("%+v was guarded", bad)
		}
	}
}

func tableOf(lists ...[]process) map[int]process {
	table := map[int]process{}
	for _, p := range slices.Concat(lists...) {
		table[p.pid] = p
	}
	return table
}
