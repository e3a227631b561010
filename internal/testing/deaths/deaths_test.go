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

// A part of what make bench-deaths does: each kind of death, all the way through one run.
func TestDeaths(t *testing.T) {
	slots := make(chan struct{}, 2)
	for i, kind := range Kinds() {
		timing := Timings()[i%len(Timings())]
		t.Run(fmt.Sprintf("%s %s", kind, timing), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			out, err := Run(Plan{Kind: kind, Timing: timing, First: 5 + 11*i, Every: 61})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range out.Words {
				t.Error(w)
			}
			var table Table
			table.Add(out)
			if n := table.Deaths(); n < 6 {
				t.Errorf("the run died %d times", n)
			}
		})
	}
}
