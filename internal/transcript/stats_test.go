package transcript

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// TestStats counts a run that has one of everything, and a second of some.
func TestStats(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := New(Options{Tee: &out, Now: func() time.Time { now = now.Add(time.Second); return now }})
	events := append(every(),
		ToolResult{ID: "j", Name: "n", DurationMillis: 9},
		ToolResult{ID: "k", Name: "a", DurationMillis: 5},
		Verification{Name: "v", DurationMillis: 3},
	)
	for _, d := range events {
		if _, err := w.Append(2, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	got, err := StatsOf(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	usage := func(n int64) llm.Usage {
		return llm.Usage{InputTokens: n, CachedInputTokens: n, OutputTokens: n, ReasoningTokens: n, Estimated: true}
	}
	latency := func(millis ...int64) Latency { return latencyOf(millis) }
	want := Stats{
		Task: "t", Models: []string{"m"}, Reason: "Completed", Processes: 2, Turns: 2, WallSeconds: 14,
		Usage: usage(2), Wasted: usage(1), CostUSD: decimal.RequireFromString("0.02"),
		ModelCalls: latency(1), FailedModelCalls: map[string]int{"Timeout": 1},
		Tools:         []ToolStats{{Name: "a", Latency: latency(5)}, {Name: "n", Failed: 1, Latency: latency(1, 9)}},
		Verifications: latency(1, 3), FailedVerifications: 1, Compactions: 1, Fallbacks: 1,
		Notices: map[string]int{"wrapUp": 1}, MendedReplies: 1, Events: 15, Bytes: int64(out.Len()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err = StatsOf(bytes.NewReader(out.Bytes()[:out.Len()-3]))
	if err != nil || !got.Cut || got.Events != 14 {
		t.Errorf("of a cut transcript: %d events, cut %t, %v", got.Events, got.Cut, err)
	}
	if _, err := StatsOf(bytes.NewReader(bytes.Replace(out.Bytes(), []byte(`"task":"t"`), []byte(`"task":"x"`), 1))); err == nil {
		t.Error("a transcript that was changed passes")
	}
}

func TestLatency(t *testing.T) {
	var hundred []int64
	for i := range 100 {
		hundred = append(hundred, int64(100-i))
	}
	for name, tc := range map[string]struct {
		millis []int64
		want   Latency
	}{
		"none":    {nil, Latency{}},
		"one":     {[]int64{7}, Latency{1, 7, 7, 7, 7}},
		"two":     {[]int64{9, 1}, Latency{2, 1, 9, 9, 10}},
		"hundred": {hundred, Latency{100, 50, 95, 100, 5050}},
	} {
		if got := latencyOf(tc.millis); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestOneWriter: two processes that both go on with a transcript would break
// its chain.
func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	first, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Append(0, RunStarted{Task: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := first.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}, func(Event) {}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second writer: %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	events := 0
	second, err := Open(path, Options{}, func(Event) { events++ })
	if err != nil || events != 1 {
		t.Fatalf("after the first has closed: %d events, %v", events, err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
