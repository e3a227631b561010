package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/sampan-dev/sampan/internal/harness"
)

// The colours that are used on a terminal.
const (
	dim    = "\x1b[2m"
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
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
	if pr.Activity == "thinking" || strings.HasPrefix(pr.Activity, "waiting") || turn == 0 {
		turn++ // the call that is under way
	}
	activity := pr.Activity
	if n := pr.FailedToolCalls - p.failed; n > 0 {
		activity += fmt.Sprintf(" (%s failed)", count(n, "call"))
	}
	p.failed = pr.FailedToolCalls
	head := fmt.Sprintf("%7s  turn %-3d %7s tokens  $%-8s", elapsed(time.Since(p.start)), turn,
		short(pr.Usage.InputTokens+pr.Usage.OutputTokens), pr.CostUSD.StringFixed(4))
	p.line(head, activity)
}

// line prints one line; the caller holds the lock.
func (p *progressPrinter) line(head, activity string) {
	glyph := ""
	if p.fancy {
		glyph = glyphOf(activity) + " "
	}
	if room := p.width - len(head) - 2 - len([]rune(glyph)); p.width > 0 && room > 8 {
		if r := []rune(activity); len(r) > room {
			activity = string(r[:room-1]) + "…"
		}
	}
	fmt.Fprintf(p.w, "%s  %s%s\n", p.paint(dim, head), glyph, activity)
}

func glyphOf(activity string) string {
	kind, _, hasDetail := strings.Cut(activity, ":")
	switch {
	case strings.HasPrefix(activity, "waiting"), strings.HasPrefix(activity, "got an empty reply"):
		return "!"
	case kind == "verifying":
		return "?"
	case hasDetail:
		return "→"
	}
	return "·"
}

func (p *progressPrinter) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return colour + text + plain
}

// say prints a line that is not of the run.
func (p *progressPrinter) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, p.paint(yellow, text))
}

// done prints how the run ended.
func (p *progressPrinter) done(res harness.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return
	}
	glyph, colour := "✗ ", red
	if res.Reason == harness.Completed {
		glyph, colour = "✓ ", green
	}
	if !p.fancy {
		glyph = ""
	}
	fmt.Fprintf(p.w, "%s after %s, %s and %s\n\n", p.paint(colour, glyph+string(res.Reason)), elapsed(time.Since(p.start)),
		count(res.Progress.Turns, "turn"), count(res.Progress.ToolCalls, "tool call"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
