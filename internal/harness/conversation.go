package harness

import (
	"slices"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// conversation is the messages with a running estimate of their tokens, so
// that knowing the length never costs a walk through all of it.
type conversation struct {
	messages []llm.Message
	// each is the estimate of every message, raw their sum with the tools'.
	each []int64
	raw  int64
	// ratio of what the server counted to what we estimated.
	ratio float64
	// counted is what the server said of the messages whose raw estimate was
	// countedRaw; 0 until it has said something of what is still there.
	counted, countedRaw int64
	// pinned is the index of what the agent was last told to do, which is never left
	// out; what comes before it may be.
	pinned int
}

// bounds of conversation.ratio: a server that counts beyond them counts
// something else.
const (
	minRatio = 0.5
	maxRatio = 3
)

func newConversation(specs []llm.ToolSpec) conversation {
	c := conversation{ratio: 1}
	for _, s := range specs {
		c.raw += textTokens(s.Name) + textTokens(s.Description) + int64(len(s.Parameters))/4 + 8
	}
	return c
}

// add appends messages.
func (c *conversation) add(messages ...llm.Message) {
	for _, m := range messages {
		n := estimate(m)
		c.messages = append(c.messages, m)
		c.each = append(c.each, n)
		c.raw += n
	}
}

// reword puts another text in the place of a message's.
func (c *conversation) reword(i int, content string) {
	c.messages, c.each = slices.Clone(c.messages), slices.Clone(c.each)
	c.messages[i].Content = content
	c.raw -= c.each[i]
	c.each[i] = estimate(c.messages[i])
	c.raw += c.each[i]
}

// view is the messages so far, for one request: what is added or cut later
// does not show in it.
func (c *conversation) view() []llm.Message {
	return c.messages[:len(c.messages):len(c.messages)]
}

// tokens estimates the input of a request with all messages.
func (c *conversation) tokens() int64 { return c.scale(c.raw) }

func (c *conversation) scale(raw int64) int64 { return int64(float64(raw) * c.ratio) }

// margin is for texts whose tokens are shorter than we think.
const margin = 1.3

// atMost is the input of a request with all messages when money depends on it:
// what the server counted, and generously what came since.
func (c *conversation) atMost() int64 {
	return c.counted + int64(float64(c.raw-c.countedRaw)*max(c.ratio, 1)*margin)
}

// calibrate learns from what the server counted for all messages.
func (c *conversation) calibrate(counted int64) {
	if counted > 0 && c.raw > 0 {
		c.ratio = min(max(float64(counted)/float64(c.raw), minRatio), maxRatio)
		c.counted, c.countedRaw = counted, c.raw
	}
}

// uncalibrate forgets it again.
func (c *conversation) uncalibrate() { c.ratio, c.counted, c.countedRaw = 1, 0, 0 }

// replace puts other messages in the place of all.
func (c *conversation) replace(messages []llm.Message) {
	for _, n := range c.each {
		c.raw -= n
	}
	c.messages, c.each = nil, nil
	c.counted, c.countedRaw = 0, 0
	c.add(messages...)
}

// compact leaves out what a compaction says.
func (c *conversation) compact(e transcript.Compaction) {
	c.replace(compacted(c.messages, e))
	switch {
	case e.Kept > 0:
		c.pinned = e.DropFrom
	case e.DropTo > e.DropFrom && c.pinned >= e.DropTo:
		c.pinned -= e.DropTo - e.DropFrom - 1
	}
}

// prefix is how many messages at the beginning are never touched: the system prompt
// and the prompt, and one after them that the agent was told later.
func (c *conversation) prefix() int {
	if c.pinned == prefixLen {
		return prefixLen + 1
	}
	return prefixLen
}

// bytes is how long the texts of all messages are.
func (c *conversation) bytes() int {
	n := 0
	for _, m := range c.messages {
		n += len(m.Content) + len(m.Reasoning) + len(m.Opaque)
		for _, call := range m.ToolCalls {
			n += len(call.Name) + len(call.Arguments) + len(call.Opaque)
		}
	}
	return n
}

// estimate gives the tokens of a message; reasoning is not counted since it is
// rarely sent back.
func estimate(m llm.Message) int64 {
	n := textTokens(m.Content) + int64(len(m.Opaque))/4 + 4
	for _, call := range m.ToolCalls {
		n += textTokens(call.Name) + textTokens(call.Arguments) + int64(len(call.Opaque))/4 + 8
	}
	return n
}

// textTokens is on the high side for prose: four letters a token there, but
// three or so in code, paths and logs, and about one sign in other scripts.
func textTokens(s string) int64 {
	ascii := 0
	for i := range len(s) {
		if s[i] < utf8.RuneSelf {
			ascii++
		}
	}
	if ascii == len(s) {
		return int64(ascii*2+6) / 7
	}
	return int64(ascii*2+6)/7 + int64(utf8.RuneCountInString(s)-ascii)
}
