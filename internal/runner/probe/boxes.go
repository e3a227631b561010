package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
)

// The tools of a probe.
const (
	toolFindKey = "find_key"
	toolOpenBox = "open_box"
)

// colours name the boxes.
var colours = []string{"red", "blue", "green", "yellow", "white"}

// boxes are the tools of one conversation: find_key gives the key of the first box, and
// each box has in it which one is next and its key; the last one has the word. Nobody
// can know that without the calls, one after the other.
type boxes struct {
	names, keys []string
	word        string

	mu sync.Mutex
	// found is set once the first key was asked for, opened counts the boxes.
	found  bool
	opened int
	// slips are calls that no good model makes.
	slips []string
}

// newBoxes makes n boxes, with keys and a word of its source.
func newBoxes(n int, secret func() string) *boxes {
	b := &boxes{names: colours[:n], word: secret()}
	for range n {
		b.keys = append(b.keys, secret())
	}
	return b
}

// prompt is what the model is asked to do.
func (b *boxes) prompt() string {
	if len(b.names) == 1 {
		return fmt.Sprintf("There is a word in the %s box. Find its key with %s, then open the box with %s and that key. "+
			"Then answer with the word, exactly as it was in the box, and nothing else.", b.names[0], toolFindKey, toolOpenBox)
	}
	return fmt.Sprintf("There are several boxes. Find the key of the %s box with %s, then open the box with %s and that key: "+
		"in it you find which box is next, and its key. Go on until you have found a word. "+
		"Then answer with the word, exactly as it was in the box, and nothing else.", b.names[0], toolFindKey, toolOpenBox)
}

// Specs implements harness.Tools.
func (b *boxes) Specs() []llm.ToolSpec {
	return []llm.ToolSpec{
		{Name: toolFindKey, Description: "Finds the key of a box.", Parameters: []byte(
			`{"type":"object","properties":{"box":{"type":"string","description":"The colour of the box."}},"required":["box"],"additionalProperties":false}`)},
		{Name: toolOpenBox, Description: "Opens a box and says what is in it.", Parameters: []byte(
			`{"type":"object","properties":{"box":{"type":"string","description":"The colour of the box."},"key":{"type":"string","description":"The key of the box."}},"required":["box","key"],"additionalProperties":false}`)},
	}
}

// ReadOnly implements harness.Tools: calls run in their order.
func (b *boxes) ReadOnly(string) bool { return false }

// Close implements harness.Tools.
func (b *boxes) Close(context.Context) error { return nil }

// Run implements harness.Tools.
func (b *boxes) Run(_ context.Context, call llm.ToolCall) (harness.ToolResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var args struct{ Box, Key string }
	if err := json.Unmarshal([]byte(call.Arguments), &args); err != nil {
		return b.slip("called %s with arguments that are no JSON object", call.Name), nil
	}
	i := slices.Index(b.names, strings.TrimSuffix(strings.ToLower(strings.TrimSpace(args.Box)), " box"))
	switch call.Name {
	case toolFindKey:
		if i != 0 {
			return b.slip("asked for the key of the box %.40q, and was told to find that of the %s one", args.Box, b.names[0]), nil
		}
		b.found = true
		return harness.ToolResult{Content: fmt.Sprintf("The key of the %s box is %s.", b.names[0], b.keys[0])}, nil
	case toolOpenBox:
		return b.open(i, args.Box, args.Key), nil
	}
	return b.slip("called a tool that is not there: %.40q", call.Name), nil
}

func (b *boxes) open(i int, box, key string) harness.ToolResult {
	switch {
	case i < 0:
		return b.slip("opened a box that is not there: %.40q", box)
	case strings.TrimSpace(key) != b.keys[i]:
		return b.slip("opened the %s box with a key that no tool gave", b.names[i])
	}
	b.opened = max(b.opened, i+1)
	if last := len(b.names) - 1; i == last {
		return harness.ToolResult{Content: fmt.Sprintf("In the %s box is the word %s.", b.names[i], b.word)}
	}
	return harness.ToolResult{Content: fmt.Sprintf("The next box is the %s one, and its key is %s.", b.names[i+1], b.keys[i+1])}
}

// slip notes a wrong call, and tells the model as a tool does.
func (b *boxes) slip(format string, args ...any) harness.ToolResult {
	what := fmt.Sprintf(format, args...)
	if len(b.slips) < maxFindings {
		b.slips = append(b.slips, what)
	}
	return harness.ToolResult{IsError: true, Content: "Error: you " + what + "."}
}

// result is how the conversation went, as far as the tools know.
func (b *boxes) result() conversation {
	b.mu.Lock()
	defer b.mu.Unlock()
	return conversation{found: b.found, opened: b.opened, slips: slices.Clone(b.slips)}
}
