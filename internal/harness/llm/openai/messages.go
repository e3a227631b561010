package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/sampan-dev/sampan/internal/harness/llm"
)

// messageEncoder encodes conversations and keeps the last one: the next call
// nearly always sends the same messages and a few more, so that a turn costs what
// is new in it and not the length of the conversation.
type messageEncoder struct {
	quirks Quirks

	mu   sync.Mutex
	last *encodedMessages
}

// encodedMessages is a conversation and its JSON.
type encodedMessages struct {
	messages []llm.Message
	// json is the elements of the list, without its brackets. Requests under way
	// read from it, so it only ever grows: what was written is not written again.
	json bytes.Buffer
	// ends[i] is where message i ends in json.
	ends []int
}

// encode gives the elements of the list of messages. The bytes stay as they are.
func (e *messageEncoder) encode(messages []llm.Message) ([]byte, error) {
	// Taken out, not locked: two conversations at once encode side by side.
	e.mu.Lock()
	enc := e.last
	e.last = nil
	e.mu.Unlock()

	enc = enc.startOf(messages)
	if err := enc.add(messages[len(enc.messages):], e.quirks); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.last = enc
	e.mu.Unlock()
	return slices.Clip(enc.json.Bytes()), nil
}

// startOf keeps what messages begin with: the encoding itself when all of it is
// there, else a copy of the part that is.
func (enc *encodedMessages) startOf(messages []llm.Message) *encodedMessages {
	if enc == nil {
		return &encodedMessages{}
	}
	same := 0
	for same < min(len(messages), len(enc.messages)) && equal(&messages[same], &enc.messages[same]) {
		same++
	}
	if same == len(enc.messages) {
		return enc
	}
	short := &encodedMessages{messages: slices.Clone(enc.messages[:same]), ends: slices.Clone(enc.ends[:same])}
	if same > 0 {
		short.json.Write(enc.json.Bytes()[:enc.ends[same-1]])
	}
	return short
}

// equal is cheap for messages that are the same in memory: comparing a string
// with itself does not read it.
func equal(a, b *llm.Message) bool {
	return a.Role == b.Role && a.Content == b.Content && a.Reasoning == b.Reasoning &&
		a.ToolCallID == b.ToolCallID && slices.Equal(a.ToolCalls, b.ToolCalls)
}

func (enc *encodedMessages) add(messages []llm.Message, q Quirks) error {
	out := json.NewEncoder(&enc.json)
	out.SetEscapeHTML(false) // "<" as \u003c is six bytes for one
	for i := range messages {
		if len(enc.messages) > 0 {
			enc.json.WriteByte(',')
		}
		if err := out.Encode(encodeMessage(&messages[i], q)); err != nil {
			return fmt.Errorf("encoding message %d of the request: %w", len(enc.messages), err)
		}
		enc.json.Truncate(enc.json.Len() - 1) // the line feed that Encode adds
		m := messages[i]
		m.ToolCalls = slices.Clone(m.ToolCalls) // the caller's may change in place
		enc.messages = append(enc.messages, m)
		enc.ends = append(enc.ends, enc.json.Len())
	}
	return nil
}
