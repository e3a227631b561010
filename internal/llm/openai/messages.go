package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sampan-dev/sampan/internal/llm"
)

// messageEncoder encodes conversations and keeps the last one: the next call
// nearly always sends the same messages and a few more, so that a turn costs what
// is new in it and not the length of the conversation.
type messageEncoder struct {
	quirks Quirks
	// opaque is set once any opaque field was sent.
	opaque atomic.Bool

	mu   sync.Mutex
	last *encodedMessages
}

// encodedMessages is a conversation and its JSON.
type encodedMessages struct {
	shaper
	messages []llm.Message
	// json is the elements of the list, without its brackets. Requests under way
	// read from it, so it only ever grows: what was written is not written again.
	json bytes.Buffer
	// groups are the messages that are shaped together.
	groups []group
}

// group is some messages in a row and where their JSON begins.
type group struct{ first, start int }

// encode gives the elements of the list of messages, for the server and model that
// call themselves from. The bytes stay as they are.
func (e *messageEncoder) encode(messages []llm.Message, from string) ([]byte, error) {
	// Taken out, not locked: two conversations at once encode side by side.
	e.mu.Lock()
	enc := e.last
	e.last = nil
	e.mu.Unlock()

	if enc == nil || enc.from != from {
		enc = &encodedMessages{shaper: shaper{quirks: e.quirks, from: from, ids: map[string]sentCall{}}}
	}
	enc = enc.startOf(messages)
	if err := enc.add(messages[len(enc.messages):]); err != nil {
		return nil, err
	}
	if enc.opaque {
		e.opaque.Store(true)
	}
	e.mu.Lock()
	e.last = enc
	e.mu.Unlock()
	return slices.Clip(enc.json.Bytes()), nil
}

// startOf keeps what messages begin with: the encoding itself when all of it is
// there and what follows does not change it, else a copy of the part that is.
func (enc *encodedMessages) startOf(messages []llm.Message) *encodedMessages {
	same := 0
	for same < min(len(messages), len(enc.messages)) && equal(&messages[same], &enc.messages[same]) {
		same++
	}
	keep := len(enc.groups)
	for keep > 0 && enc.end(keep-1) > same {
		keep--
	}
	if keep > 0 {
		if end := enc.end(keep - 1); end < len(messages) && enc.joins(enc.messages[enc.groups[keep-1].first:end], &messages[end], keep == 1) {
			keep--
		}
	}
	if keep == len(enc.groups) {
		return enc
	}
	short := &encodedMessages{
		shaper: enc.shaper, messages: slices.Clone(enc.messages[:enc.groups[keep].first]), groups: slices.Clone(enc.groups[:keep]),
	}
	short.json.Write(enc.json.Bytes()[:enc.groups[keep].start])
	return short
}

// end is where a group ends in messages.
func (enc *encodedMessages) end(i int) int {
	if i+1 < len(enc.groups) {
		return enc.groups[i+1].first
	}
	return len(enc.messages)
}

// equal is cheap for messages that are the same in memory: comparing a string
// with itself does not read it.
func equal(a, b *llm.Message) bool {
	return a.Role == b.Role && a.Content == b.Content && a.Reasoning == b.Reasoning && a.From == b.From && a.Opaque == b.Opaque &&
		a.ToolCallID == b.ToolCallID && slices.Equal(a.ToolCalls, b.ToolCalls)
}

// add encodes messages that follow, group by group.
func (enc *encodedMessages) add(messages []llm.Message) error {
	out := json.NewEncoder(&enc.json)
	out.SetEscapeHTML(false) // "<" as \u003c is six bytes for one
	for len(messages) > 0 {
		n, first := 1, len(enc.messages) == 0
		for n < len(messages) && enc.joins(messages[:n], &messages[n], first) {
			n++
		}
		g := group{first: len(enc.messages), start: enc.json.Len()}
		for _, m := range enc.shape(messages[:n], first) {
			if err := enc.write(out, &m); err != nil {
				return fmt.Errorf("encoding message %d of the request: %w", g.first, err)
			}
		}
		enc.groups = append(enc.groups, g)
		for i := range messages[:n] {
			m := messages[i]
			m.ToolCalls = slices.Clone(m.ToolCalls) // the caller's may change in place
			enc.messages = append(enc.messages, m)
		}
		messages = messages[n:]
	}
	return nil
}

// write appends one message, with its opaque fields at the end.
func (enc *encodedMessages) write(out *json.Encoder, m *outMessage) error {
	if enc.json.Len() > 0 {
		enc.json.WriteByte(',')
	}
	if err := out.Encode(m); err != nil {
		return err
	}
	enc.json.Truncate(enc.json.Len() - 1) // the line feed that Encode adds
	if len(m.opaque) == 0 {
		return nil
	}
	tail, err := appendExtra([]byte("}"), m.opaque)
	if err != nil {
		return err
	}
	enc.json.Truncate(enc.json.Len() - 1)
	enc.json.Write(tail)
	return nil
}
