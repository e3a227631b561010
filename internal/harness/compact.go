package harness

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	// compactTo is the part of the room that is left by a compaction: far below the one
	// that brings it, since each one costs the server's prompt cache.
	compactTo = 0.5
	// minFreed is the part that a compaction has to free to be worth it.
	minFreed = 0.05
	// recentPart of the target is kept as it is, at the end.
	recentPart = 0.4
	// elideOver is the size from which a tool result is left out, in bytes.
	elideOver = 400
	// recentKeeps is what a recent result is cut to at most, in bytes.
	recentKeeps = 2000
	// prefixLen messages are never touched: the system prompt and the task.
	prefixLen = 2
	// maxNote bounds the note about what was dropped, in bytes.
	maxNote = 3000
)

// makeRoom compacts the conversation when it fills most of the model's window.
func (c *caller) makeRoom(m broker.Model) error {
	if !models.Compacts(c.log.state.conv.tokens(), m.ContextWindow, m.MaxOutputTokens) {
		return nil
	}
	room := models.Room(m.ContextWindow, m.MaxOutputTokens)
	err := c.compact(m, int64(compactTo*float64(room)), fmt.Sprintf("The conversation fills the window of %s (%d tokens)", m.ID, m.ContextWindow))
	if err != nil && c.log.state.conv.tokens() <= room {
		return nil // nothing to cut, and it still fits
	}
	if err == nil && c.log.state.conv.tokens() > room {
		return stopf(ContextExhausted, "The conversation does not fit the window of %s (%d tokens), also after it was cut down.", m.ID, m.ContextWindow)
	}
	return err
}

// compact cuts the conversation down to about target tokens and records how.
// One that would free next to nothing is not done and ends the run.
func (c *caller) compact(m broker.Model, target int64, why string) error {
	before := c.log.state.conv.tokens()
	plan := planCompaction(c.log.state.conv, target)
	after := before - c.log.state.conv.scale(plan.freed)
	if float64(before-after) < minFreed*float64(before) {
		return stopf(ContextExhausted, "%s, and there is next to nothing that could be left out.", why)
	}
	e := plan.event
	e.MessagesBefore, e.TokensBefore, e.ContextWindow = len(c.log.state.conv.messages), before, m.ContextWindow
	cut := c.log.state.conv
	cut.replace(compacted(cut.messages, e))
	e.MessagesAfter, e.TokensAfter = len(cut.messages), cut.tokens()
	return c.log.record(&e)
}

// compaction is a plan: what to leave out, and how much that frees (unscaled).
type compaction struct {
	event transcript.Compaction
	freed int64
}

// planCompaction decides what to leave out, in this order, until the target is
// met: the output of old tool calls, oldest first; old turns as a whole; the
// middle of recent outputs, largest first. The same conversation always gives
// the same plan. A call is never parted from its result.
func planCompaction(c conversation, target int64) compaction {
	var p compaction
	need := func() bool { return c.scale(c.raw-p.freed) > target }
	starts := turnStarts(c.messages)
	recent := recentStart(&c, starts, int64(recentPart*float64(target)))

	now := slices.Clone(c.each) // estimates with the elisions so far
	elide := func(i int, content string) {
		n := estimate(llm.Message{Role: llm.RoleTool, Content: content})
		if n >= now[i] {
			return
		}
		p.freed += now[i] - n
		now[i] = n
		p.event.Elisions = append(p.event.Elisions, transcript.Elision{Message: i, Content: content})
	}
	for i := c.prefix(); i < recent && need(); i++ {
		if m := c.messages[i]; m.Role == llm.RoleTool && len(m.Content) > elideOver {
			elide(i, fmt.Sprintf("[%d bytes of output left out to save room. Make the call again if you need it.]", len(m.Content)))
		}
	}
	if need() {
		p.drop(&c, now, starts, recent, target)
	}
	for _, i := range largestResults(c.messages, recent) {
		if !need() {
			break
		}
		if content := c.messages[i].Content; len(content) > recentKeeps {
			elide(i, headTail(content, recentKeeps))
		}
	}
	return p
}

// drop leaves out whole turns from the oldest on.
func (p *compaction) drop(c *conversation, now []int64, starts []int, recent int, target int64) {
	from, to := c.prefix(), c.prefix()
	freed := p.freed
	noteBytes := int(min(max(target/3, 200), maxNote)) // a tenth of the target, or so
	noteTokens := textTokens(dropText) + int64(noteBytes)*2/7
	for _, next := range append(starts, len(c.messages)) {
		if next <= from || next > recent {
			continue
		}
		if c.scale(c.raw-p.freed+noteTokens) <= target {
			break
		}
		for ; to < next; to++ {
			if to != c.pinned {
				p.freed += now[to]
			}
		}
	}
	if to == from {
		return
	}
	note := dropNote(c.messages[from:to], noteBytes)
	p.freed -= estimate(llm.Message{Role: llm.RoleUser, Content: note})
	if p.freed <= freed {
		p.freed = freed
		return // the note is longer than what it stands for
	}
	p.event.DropFrom, p.event.DropTo, p.event.Note = from, to, note
	if from <= c.pinned && c.pinned < to {
		p.event.Kept = c.pinned
	}
	p.event.Elisions = slices.DeleteFunc(p.event.Elisions, func(e transcript.Elision) bool { return e.Message >= from && e.Message < to })
}

// turnStarts gives the indexes at which turns begin: at a reply of the model.
func turnStarts(messages []llm.Message) []int {
	var starts []int
	for i := prefixLen; i < len(messages); i++ {
		if messages[i].Role == llm.RoleAssistant {
			starts = append(starts, i)
		}
	}
	return starts
}

// recentStart is where the part begins that is kept: the last turn, and those
// before it that fit into keep tokens.
func recentStart(c *conversation, starts []int, keep int64) int {
	if len(starts) == 0 {
		return min(prefixLen, len(c.messages))
	}
	recent := starts[len(starts)-1]
	var sum int64
	end := len(c.messages)
	for k := len(starts) - 1; k >= 0; k-- {
		for i := starts[k]; i < end; i++ {
			sum += c.each[i]
		}
		end = starts[k]
		if c.scale(sum) > keep {
			break
		}
		recent = starts[k]
	}
	return recent
}

// largestResults gives the tool results from an index on, largest first.
func largestResults(messages []llm.Message, from int) []int {
	var out []int
	for i := from; i < len(messages); i++ {
		if messages[i].Role == llm.RoleTool {
			out = append(out, i)
		}
	}
	sort.SliceStable(out, func(a, b int) bool { return len(messages[out[a]].Content) > len(messages[out[b]].Content) })
	return out
}

// dropNote tells the model what it did in the turns that it no longer sees.
func dropNote(dropped []llm.Message, size int) string {
	var lines []string
	for _, m := range dropped {
		switch {
		case m.Role == llm.RoleAssistant:
			for _, c := range m.ToolCalls {
				lines = append(lines, "- "+activity(c))
			}
		case m.Role == llm.RoleUser && strings.HasPrefix(m.Content, dropText):
			if _, list, ok := strings.Cut(m.Content, "\n"); ok {
				lines = append(lines, strings.Split(list, "\n")...)
			}
		}
	}
	// The newest lines say the most about where things stand.
	first := len(lines)
	for first > 0 && len(lines[first-1]) < size {
		first--
		size -= len(lines[first]) + 1
	}
	return strings.Join(append([]string{dropText}, lines[first:]...), "\n")
}

// dropText begins the note about dropped turns.
const dropText = "[harness] Earlier turns were left out to save room. The files keep what you did. Your last calls in them:"

// compacted gives the messages after a compaction. The input stays as
// it is: a request may still be reading it.
func compacted(messages []llm.Message, e transcript.Compaction) []llm.Message {
	out := slices.Clone(messages)
	for _, el := range e.Elisions {
		if el.Message >= 0 && el.Message < len(out) {
			out[el.Message].Content = el.Content
		}
	}
	if e.DropTo <= e.DropFrom || e.DropFrom < 0 || e.DropTo > len(out) {
		return out
	}
	kept := slices.Clone(out[:e.DropFrom])
	if e.DropFrom <= e.Kept && e.Kept < e.DropTo {
		kept = append(kept, out[e.Kept])
	}
	return append(append(kept, llm.Message{Role: llm.RoleUser, Content: e.Note}), out[e.DropTo:]...)
}
