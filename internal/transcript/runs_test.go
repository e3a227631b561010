package transcript

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// written gives a transcript of n events.
func written(t *testing.T, task string, n int) string {
	t.Helper()
	var out bytes.Buffer
	w := New(Options{Tee: &out})
	for i := range n {
		var d Data = Notice{Kind: NoticeSoftLimit, Text: strings.Repeat("long ", 30_000)}
		if i == 0 {
			d = RunStarted{Task: task}
		}
		if _, err := w.Append(0, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRuns(t *testing.T) {
	a, b, c := written(t, "a", 3), written(t, "b", 1), written(t, "c", 2)
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"none":         {"", []string{""}},
		"one":          {a, []string{a}},
		"several":      {a + b + c, []string{a, b, c}},
		"the last cut": {a + b[:len(b)-5], []string{a, b[:len(b)-5]}},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				var got []string
				for run := range Runs(wrap(strings.NewReader(tc.in))) {
					text, err := io.ReadAll(run)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(text))
				}
				if strings.Join(got, "|") != strings.Join(tc.want, "|") {
					t.Errorf("%d runs, want %d", len(got), len(tc.want))
				}
			})
		}
	}
}

// TestRunsUnread: a run that is not read to its end does not run into the next.
func TestRunsUnread(t *testing.T) {
	a, b := written(t, "a", 2), written(t, "b", 1)
	n := 0
	for run := range Runs(strings.NewReader(a + b)) {
		if n++; n == 1 {
			continue
		}
		if text, err := io.ReadAll(run); err != nil || string(text) != b {
			t.Errorf("the second run is %d bytes, %v, want %d", len(text), err, len(b))
		}
	}
	if n != 2 {
		t.Errorf("%d runs", n)
	}
}

// TestRunsError: an error of the input is the run's that it comes in, once.
func TestRunsError(t *testing.T) {
	broken := errors.New("broken pipe")
	n := 0
	for run := range Runs(io.MultiReader(strings.NewReader(written(t, "a", 1)), iotest.ErrReader(broken))) {
		n++
		if _, err := io.ReadAll(run); !errors.Is(err, broken) {
			t.Errorf("reading gave %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d runs", n)
	}
}
