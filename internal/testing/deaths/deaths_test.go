package deaths

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Role()
	os.Exit(m.Run())
}

// A part of what make bench-deaths does: each kind of death at each timing, on the way
// through one run.
func TestDeaths(t *testing.T) {
	var table Table
	for i, timing := range Timings() {
		for j, kind := range Kinds() {
			if kind == Record && timing != During || kind == Sandbox && timing == After {
				continue // as much as fits into a minute
			}
			t.Run(fmt.Sprintf("%s %s", kind, timing), func(t *testing.T) {
				out, err := Run(Plan{Kind: kind, Timing: timing, First: 5 + 11*i + 17*j, Every: 61})
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range out.Words {
					t.Error(w)
				}
				table.Add(out)
			})
		}
	}
	if n := table.Deaths(); n < 50 {
		t.Errorf("the runs died %d times", n)
	}
}
