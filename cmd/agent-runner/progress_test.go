package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
)

// aRun is what a run tells in its course; one step is told twice.
func aRun() []harness.Progress {
	at := func(turns, failed int, tokens int64, cost string, phase harness.Phase, activity string) harness.Progress {
		return harness.Progress{
			Turns: turns, FailedToolCalls: failed, Usage: llm.Usage{InputTokens: tokens},
			CostUSD: decimal.RequireFromString(cost), Phase: phase, Activity: activity,
		}
	}
	return []harness.Progress{
		at(0, 0, 0, "0", harness.PhaseStarting, "starting"),
		at(1, 0, 1234, "0.001234", harness.PhaseTool, "bash: go test ./..."),
		at(1, 0, 1234, "0.001234", harness.PhaseTool, "bash: go test ./..."),
		at(1, 2, 1234, "0.001234", harness.PhaseThinking, "thinking"),
		at(1, 2, 1234, "0.001234", harness.PhaseWaiting, "waiting for m (Overloaded)"),
		at(2, 2, 2_500_000, "1.5", harness.PhaseVerifying, "verifying: tests"),
	}
}

var anyTime = regexp.MustCompile(`\d+\.\ds`)

func TestProgressLines(t *testing.T) {
	for name, tc := range map[string]struct {
		printer *progressPrinter
		want    string
	}{
		"into a file": {&progressPrinter{}, `
   0.0s  turn 1         0 tokens  $0.0000    starting
   0.0s  turn 1      1.2k tokens  $0.0012    bash: go test ./...
   0.0s  turn 2      1.2k tokens  $0.0012    thinking (2 calls failed)
   0.0s  turn 2      1.2k tokens  $0.0012    waiting for m (Overloaded)
   0.0s  turn 2      2.5M tokens  $1.5000    verifying: tests
Completed after 0.0s, 2 turns and 1 tool call
`},
		"on a narrow terminal without colour": {&progressPrinter{fancy: true, width: 60}, `
   0.0s  turn 1         0 tokens  $0.0000    · starting
   0.0s  turn 1      1.2k tokens  $0.0012    → bash: go tes…
   0.0s  turn 2      1.2k tokens  $0.0012    · thinking (2 …
   0.0s  turn 2      1.2k tokens  $0.0012    ! waiting for …
   0.0s  turn 2      2.5M tokens  $1.5000    ? verifying: t…
✓ Completed after 0.0s, 2 turns and 1 tool call
`},
		"quiet": {&progressPrinter{quiet: true}, "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			p := tc.printer
			p.w, p.start = &out, time.Now()
			for _, pr := range aRun() {
				p.print(pr)
			}
			p.done(harness.Result{Reason: harness.Completed, Progress: harness.Progress{Turns: 2, ToolCalls: 1}})
			got := "\n" + anyTime.ReplaceAllString(strings.TrimSuffix(out.String(), "\n"), "0.0s")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgressColours(t *testing.T) {
	var out strings.Builder
	p := &progressPrinter{w: &out, start: time.Now(), fancy: true, colour: true}
	p.print(aRun()[1])
	p.done(harness.Result{Reason: harness.MaxTurns})
	if got := out.String(); !strings.HasPrefix(got, "\x1b[2m") || !strings.Contains(got, "\x1b[31m✗ MaxTurns\x1b[0m") {
		t.Errorf("got %q", got)
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1234 * time.Millisecond: "1.2s", 61 * time.Second: "1m01s", time.Hour + 62*time.Second: "1h01m",
	} {
		if got := elapsed(d); got != want {
			t.Errorf("elapsed(%s) = %q, want %q", d, got, want)
		}
	}
}
