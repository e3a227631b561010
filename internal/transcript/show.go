package transcript

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
)

// Show prints a transcript as a conversation for people.
type Show struct {
	W io.Writer
	// Full prints long texts whole; otherwise their middle is folded.
	Full bool
	// Turn prints one turn only; 0 prints all.
	Turn int
	// Follow ends with the terminal event, and not with the end of the input.
	Follow bool

	turn int
	// last is the highest turn that was seen, any is set with the first event.
	last int
	any  bool
}

// foldLines is how many lines of a long text are shown.
const foldLines = 14

// foldWidth is how much of a long line is shown.
const foldWidth = 160

// Copy prints every event of r as it arrives, until r ends.
func (s *Show) Copy(r io.Reader) error {
	reader := NewReader(r)
	for {
		e, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return s.missing()
		case errors.Is(err, ErrCut):
			return errors.Join(s.printf("\n(the last line is cut)\n"), s.missing())
		case err != nil:
			return err
		}
		if err := s.Event(e); err != nil {
			return err
		}
		if s.Follow && e.Type == TypeRunEnded {
			return nil
		}
	}
}

// missing says that nothing was there to be shown.
func (s *Show) missing() error {
	switch {
	case s.Turn != 0 && s.last < s.Turn:
		return fmt.Errorf("there is no turn %d; the last is %d", s.Turn, s.last)
	case !s.any:
		return s.printf("(no events)\n")
	}
	return nil
}

// Event prints one event.
func (s *Show) Event(e Event) error {
	s.any, s.last = true, max(s.last, e.Turn)
	if s.Turn != 0 && e.Turn != s.Turn {
		return nil
	}
	data, err := e.Decode()
	if err != nil {
		return fmt.Errorf("event %d: %w", e.Seq, err)
	}
	if e.Turn != s.turn && e.Type == TypeRequest {
		s.turn = e.Turn
		if err := s.printf("\n── turn %d · %s\n", e.Turn, e.Time.Local().Format(time.TimeOnly)); err != nil {
			return err
		}
	}
	return s.data(data)
}

func (s *Show) data(data any) error {
	switch d := data.(type) {
	case *RunStarted:
		return s.started(d)
	case *RunResumed:
		return s.printf("\n(resumed after event %d)\n", d.FromSeq)
	case *Response:
		return s.response(d)
	case *ToolCall:
		return s.printf("→ %s %s\n", text.Inline(d.Name), s.arguments(d.Arguments))
	case *ToolResult:
		mark := "←"
		if d.IsError {
			mark = "✗"
		}
		return s.printf("%s %s (%s)\n", mark, strings.TrimPrefix(s.text(d.Content), "    "), millis(d.DurationMillis))
	case *Retry:
		return s.retry(d)
	case *Fallback:
		return s.printf("… %s takes over from %s%s\n", text.Inline(d.To), text.Inline(d.From), inParens(string(d.Category)))
	case *Compaction:
		return s.printf("… compacted the conversation from %d to %d tokens\n", d.TokensBefore, d.TokensAfter)
	case *Notice:
		return s.printf("! %s\n", strings.TrimPrefix(s.text(d.Text), "    "))
	case *Verification:
		return s.verification(d)
	case *RunEnded:
		return s.ended(d)
	}
	return nil
}

func (s *Show) started(d *RunStarted) error {
	tools := make([]string, len(d.Tools))
	for i, t := range d.Tools {
		tools[i] = t.Name
	}
	slices.Sort(tools)
	from := ""
	if o := d.From; o != nil {
		from = fmt.Sprintf("From    %s, turn %d (%s of it)\n", text.Inline(o.Task), o.Turn, text.Plural(len(o.Messages)-1, "message"))
	}
	return s.printf("Task    %s\n%sModels  %s\nTools   %s\nPrompt  %s\n", text.Inline(d.Task), from, text.Inline(strings.Join(d.Models, ", ")),
		text.Inline(strings.Join(tools, ", ")), strings.TrimPrefix(s.text(d.Prompt), "    "))
}

func (s *Show) response(d *Response) error {
	if r := strings.TrimSpace(d.Message.Reasoning); r != "" {
		if err := s.printf("  (thinks) %s\n", strings.TrimPrefix(s.text(r), "    ")); err != nil {
			return err
		}
	}
	if t := strings.TrimSpace(d.Message.Content); t != "" {
		if err := s.printf("%s\n", s.text(t)); err != nil {
			return err
		}
	}
	for _, n := range d.Notes {
		if err := s.printf("  (mended: %s)\n", s.line(n)); err != nil {
			return err
		}
	}
	return s.printf("  [%s: %d tokens in, %d out, $%s, %s]\n", text.Inline(d.Model), d.Usage.InputTokens, d.Usage.OutputTokens, d.CostUSD, millis(d.LatencyMillis))
}

func (s *Show) retry(d *Retry) error {
	if d.Category == llm.Stopped {
		return s.printf("… %s%s\n", s.line(d.Message), s.cost(d))
	}
	what := "trying again in " + millis(d.WaitMillis)
	if d.GaveUp {
		what = "giving up on it"
	}
	return s.printf("… %s failed (%s: %s); %s%s\n", text.Inline(d.Model), text.Inline(string(d.Category)), s.line(d.Message), what, s.cost(d))
}

// cost of a failed call, empty where it cost nothing.
func (s *Show) cost(d *Retry) string {
	if d.Usage == nil || d.CostUSD == nil {
		return ""
	}
	about := ""
	if d.Usage.Estimated {
		about = "about "
	}
	return fmt.Sprintf(" [%s%d tokens in, %d out, $%s]", about, d.Usage.InputTokens, d.Usage.OutputTokens, d.CostUSD)
}

func inParens(words string) string {
	if words == "" {
		return ""
	}
	return " (" + text.Inline(words) + ")"
}

func (s *Show) verification(d *Verification) error {
	verdict := "✗ failed "
	if d.Passed {
		verdict = "✓ passed "
	}
	if err := s.printf("%s verify %s: %s (%s)\n", verdict, text.Inline(d.Name), s.line(d.Command), millis(d.DurationMillis)); err != nil {
		return err
	}
	if strings.TrimSpace(d.Output) == "" {
		return nil
	}
	return s.printf("%s\n", s.text(d.Output))
}

func (s *Show) ended(d *RunEnded) error {
	about := ""
	if d.Usage.Estimated {
		about = "about "
	}
	return s.printf("\n■ %s after %s, %s (%d failed), %s%d tokens in, %d out, $%s\n%s\n",
		text.Inline(d.Reason), text.Plural(d.Turns, "turn"), text.Plural(d.ToolCalls, "tool call"), d.Failed,
		about, d.Usage.InputTokens, d.Usage.OutputTokens, d.CostUSD, s.text(d.Message))
}

// arguments prints a call's arguments: the one string where there is just one.
func (s *Show) arguments(raw string) string {
	var args map[string]any
	if err := json.Unmarshal([]byte(raw), &args); err != nil {
		return s.line(raw)
	}
	if len(args) == 1 {
		for _, v := range args {
			if only, ok := v.(string); ok {
				return strings.TrimPrefix(s.text(only), "    ")
			}
		}
	}
	return s.line(raw)
}

// text indents a text and folds its middle where it is long.
func (s *Show) text(long string) string {
	lines := strings.Split(strings.TrimRight(text.Visible(long), "\n"), "\n")
	if over := len(lines) - foldLines; !s.Full && over > 0 {
		half := foldLines / 2
		folded := append(slices.Clone(lines[:half]), fmt.Sprintf("… %d lines; --full shows them", over))
		lines = append(folded, lines[len(lines)-half:]...)
	}
	for i, l := range lines {
		lines[i] = "    " + s.line(l)
	}
	return strings.Join(lines, "\n")
}

// line shortens a long line.
func (s *Show) line(l string) string {
	l = text.Inline(l)
	if runes := []rune(l); !s.Full && len(runes) > foldWidth {
		return string(runes[:foldWidth]) + "…"
	}
	return l
}

// printf is the only way to W: what models and tools have said must not steer
// the reader's terminal.
func (s *Show) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(text.NewWriter(s.W), format, args...)
	return err
}

func millis(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
