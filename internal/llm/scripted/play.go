package scripted

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/llm"
)

// turnVariable stands for the number of the turn in a script's texts.
const turnVariable = "{{turn}}"

// conversation is what a request says, in the little that a script needs.
type conversation struct {
	model string
	// task tells runs with the same prompt apart; it may be empty.
	task string
	// prompt is the first user message.
	prompt string
	// observation is everything after the last assistant message.
	observation string
	// position is the turn to play, from 0.
	position int
	// bytes is the size of the request, for the estimate of its tokens.
	bytes int
}

// reply is a turn made ready to send.
type reply struct {
	turn      int
	text      string
	reasoning string
	calls     []llm.ToolCall
	usage     llm.Usage
	finish    llm.FinishReason
	delay     time.Duration
	// fault is set when this request is to fail.
	fault *Fault
}

// refusal is why the script has no reply to a request.
type refusal struct {
	status  int
	message string
}

// player chooses replies. Its only state is how often a fault was met.
type player struct {
	script *Script
	faults *counter
}

func newPlayer(script *Script) *player {
	return &player{script: script, faults: newCounter(maxCountedFaults)}
}

// next gives the reply to a conversation, or why there is none.
func (p *player) next(c conversation) (*reply, *refusal) {
	turns, name := p.turns(c)
	turn, total := turnAt(turns, c.position)
	if turn == nil {
		return nil, &refusal{http.StatusGone, fmt.Sprintf(
			"the script has ended: %s has %d turns and the conversation asks for turn %d, counted from 0", name, total, c.position)}
	}
	if why := turn.unexpected(c.observation); why != "" {
		return nil, &refusal{http.StatusUnprocessableEntity, fmt.Sprintf("turn %d of %s %s", c.position, name, why)}
	}
	r := turn.reply(c)
	if turn.Fault != nil {
		key := faultKey(c)
		if turn.Fault.Times == 0 || p.faults.add(key) <= turn.Fault.Times {
			r.fault = turn.Fault
		} else {
			// Played at last: another run with the same words starts afresh.
			p.faults.remove(key)
		}
	}
	return r, nil
}

// turns finds the list that plays and says in words which it is.
func (p *player) turns(c conversation) ([]Turn, string) {
	play, name := p.script.Play, "the script"
	if own, ok := p.script.Models[c.model]; ok {
		play, name = own, fmt.Sprintf("model %q", c.model)
	}
	for _, cs := range play.Cases {
		if strings.Contains(c.prompt, cs.Match) {
			return cs.Turns, fmt.Sprintf("case %q of %s", cs.Match, name)
		}
	}
	return play.Turns, name
}

// turnAt finds the turn at a position and the number of positions there are.
func turnAt(turns []Turn, position int) (*Turn, int) {
	total := 0
	var found *Turn
	for i := range turns {
		total += max(turns[i].Repeat, 1)
		if found == nil && position < total {
			found = &turns[i]
		}
	}
	return found, total
}

// unexpected says how an observation misses what the turn expects; empty is fine.
func (t *Turn) unexpected(observation string) string {
	switch {
	case t.Expect != "" && !strings.Contains(observation, t.Expect):
		return fmt.Sprintf("expected the last observation to hold %q, but it is: %s", t.Expect, excerpt(observation, 300))
	case t.expectMatch != nil && !t.expectMatch.MatchString(observation):
		return fmt.Sprintf("expected the last observation to match %q, but it is: %s", t.ExpectMatch, excerpt(observation, 300))
	}
	return ""
}

// reply fills in what depends on the conversation.
func (t *Turn) reply(c conversation) *reply {
	number := strconv.Itoa(c.position)
	fill := func(s string) string { return strings.ReplaceAll(s, turnVariable, number) }
	r := &reply{
		turn:      c.position,
		text:      fill(t.Text),
		reasoning: fill(t.Reasoning),
		finish:    t.FinishReason,
		delay:     t.Delay,
	}
	size := len(r.text) + len(r.reasoning)
	for i, call := range t.ToolCalls {
		id := call.ID
		if id == "" {
			id = callID(c.position, i)
		}
		args := fill(call.arguments)
		size += len(call.Name) + len(args)
		r.calls = append(r.calls, llm.ToolCall{ID: id, Name: call.Name, Arguments: args})
	}
	if r.finish == "" {
		r.finish = llm.FinishStop
		if len(r.calls) > 0 {
			r.finish = llm.FinishToolCalls
		}
	}
	if t.Usage != nil {
		r.usage = llm.Usage{
			InputTokens:       t.Usage.InputTokens,
			CachedInputTokens: t.Usage.CachedInputTokens,
			OutputTokens:      t.Usage.OutputTokens,
		}
	} else {
		// Four bytes to a token is the usual rule of thumb for English and code.
		r.usage = llm.Usage{InputTokens: int64(c.bytes/4) + 1, OutputTokens: int64(size/4) + 1}
	}
	return r
}

const callIDPrefix = "call_t"

// callID carries the number of the turn, so that a later request tells where it
// stands even when older messages were compacted away.
func callID(turn, index int) string {
	return callIDPrefix + strconv.Itoa(turn) + "_" + strconv.Itoa(index)
}

// turnOfCallID reads back what callID wrote.
func turnOfCallID(id string) (int, bool) {
	rest, ok := strings.CutPrefix(id, callIDPrefix)
	if !ok {
		return 0, false
	}
	number, _, ok := strings.Cut(rest, "_")
	if !ok {
		return 0, false
	}
	turn, err := strconv.Atoi(number)
	return turn, err == nil && turn >= 0
}

// position finds the next turn of a conversation of n messages; see the package
// comment. role and ids describe message i.
func position(n int, role func(int) llm.Role, ids func(int) []string) int {
	after := 0
	for i := n - 1; i >= 0; i-- {
		if role(i) != llm.RoleAssistant {
			continue
		}
		for _, id := range ids(i) {
			if turn, ok := turnOfCallID(id); ok {
				return turn + 1 + after
			}
		}
		after++
	}
	return after
}

// excerpt is the beginning of s, at most n bytes, quoted and cut between characters.
func excerpt(s string, n int) string {
	if len(s) <= n {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q and %d bytes more", cut(s, n), len(s)-n)
}

// cut is the beginning of s, at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
