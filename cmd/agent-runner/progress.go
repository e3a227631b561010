package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/text"
)

// progressPrinter prints a line for each step of a run: time, turn, tokens,
// cost and what is going on. Progress arrives one at a time from a goroutine of
// the run; the lock is for the lines that come from elsewhere.
type progressPrinter struct {
	w io.Writer
	// fancy allows glyphs, colour as well.
	fancy, colour, quiet bool
	// width cuts lines to that of the terminal; 0 does not.
	width int
	start time.Time

	mu     sync.Mutex
	last   string
	failed int
}

func newProgressPrinter(f *os.File, quiet bool) *progressPrinter {
	p := &progressPrinter{w: f, quiet: quiet, start: time.Now()}
	if fd := int(f.Fd()); term.IsTerminal(fd) {
		p.fancy = os.Getenv("TERM") != "dumb"
		p.colour = p.fancy && os.Getenv("NO_COLOR") == ""
		p.width, _, _ = term.GetSize(fd)
	}
	return p
}

// print tells where the run stands, unless it is where it was.
func (p *progressPrinter) print(pr harness.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.Activity == "" || pr.Activity == p.last || p.quiet {
		return
	}
	p.last = pr.Activity
	turn := pr.Turns
	if pr.Phase == harness.PhaseThinking || pr.Phase == harness.PhaseWaiting || turn == 0 {
		turn++ // the call that is under way
	}
	activity := text.Inline(pr.Activity)
	if n := pr.FailedToolCalls - p.failed; n > 0 {
		activity += fmt.Sprintf(" (%s failed)", text.Plural(n, "call"))
	}
	p.failed = pr.FailedToolCalls
	head := fmt.Sprintf("%7s  turn %-3d %7s tokens  $%-8s", elapsed(time.Since(p.start)), turn,
		short(pr.Usage.InputTokens+pr.Usage.OutputTokens), pr.CostUSD.StringFixed(4))
	glyph := ""
	if p.fancy {
		glyph = glyphOf(pr.Phase) + " "
	}
	p.line(head, glyph, activity)
}

// line prints one line; the caller holds the lock.
func (p *progressPrinter) line(head, glyph, activity string) {
	if room := p.width - len(head) - 2 - len([]rune(glyph)); p.width > 0 && room > 8 {
		if r := []rune(activity); len(r) > room {
			activity = string(r[:room-1]) + "…"
		}
	}
	p.put(text.Part{Style: text.Dim, Text: head}, text.Part{Text: "  " + glyph + activity + "\n"})
}

func glyphOf(phase harness.Phase) string {
	switch phase {
	case harness.PhaseWaiting:
		return "!"
	case harness.PhaseVerifying:
		return "?"
	case harness.PhaseTool:
		return "→"
	default:
		return "·"
	}
}

// put is the only way to w. That nobody reads it is no fault of the run, which
// goes on.
func (p *progressPrinter) put(parts ...text.Part) {
	w := text.NewWriter(p.w)
	if p.colour {
		w = text.NewColourWriter(p.w)
	}
	_ = w.Print(parts...)
}

// say prints a line that is not of the run.
func (p *progressPrinter) say(words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(text.Part{Style: text.Yellow, Text: words}, text.Part{Text: "\n"})
}

// done prints how the run ended.
func (p *progressPrinter) done(res harness.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return
	}
	glyph, colour := "✗ ", text.Red
	if res.Reason == harness.Completed {
		glyph, colour = "✓ ", text.Green
	}
	if !p.fancy {
		glyph = ""
	}
	p.put(text.Part{Style: colour, Text: glyph + string(res.Reason)}, text.Part{Text: fmt.Sprintf(" after %s, %s and %s\n\n",
		elapsed(time.Since(p.start)), text.Plural(res.Progress.Turns, "turn"), text.Plural(res.Progress.ToolCalls, "tool call"))})
}

// elapsed is short and does not change its width too often.
func elapsed(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// short gives three digits or so: 950, 12.3k, 1.2M.
func short(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprint(n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fk", float64(n)/1000)
	}
	return fmt.Sprintf("%.1fM", float64(n)/1e6)
}
