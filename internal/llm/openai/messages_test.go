package openai

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

// What the encoder remembers must never show: each encoding equals a fresh one,
// and what was handed out earlier does not change.
func TestMessageEncoderRemembersUnseen(t *testing.T) {
	u := func(s string) llm.Message { return llm.Message{Role: llm.RoleUser, Content: s} }
	a := llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call("a", "bash", ls)}}
	b := llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call("a", "bash", "{}")}}
	steps := [][]llm.Message{
		{u("1")}, {u("1"), a}, {u("1"), a, u("2"), u("3")}, {u("1"), a, u("2"), u("3")},
		{u("1"), u("compacted"), u("3")}, {u("1"), u("compacted"), u("3"), b}, {u("1")}, {}, {u("other")}, {u("1"), b}, {u("1"), a},
	}
	var e messageEncoder
	handed, copies := make([][]byte, 0, len(steps)), make([]string, 0, len(steps))
	for i, messages := range steps {
		got, err := e.encode(messages, "")
		if err != nil {
			t.Fatal(err)
		}
		want, err := (&messageEncoder{}).encode(messages, "")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("step %d (-want +got):\n%s", i, d)
		}
		if !json.Valid([]byte("[" + string(got) + "]")) {
			t.Errorf("step %d is not JSON: %s", i, got)
		}
		handed, copies = append(handed, got), append(copies, string(got))
	}
	for i := range handed {
		if string(handed[i]) != copies[i] {
			t.Errorf("step %d changed afterwards: %s, was %s", i, handed[i], copies[i])
		}
	}
	// A caller that changes a call in place.
	a.ToolCalls[0].Arguments = "{}"
	got, err := e.encode([]llm.Message{u("1"), a}, "")
	if err != nil || !bytes.Contains(got, []byte(`"arguments":"{}"`)) {
		t.Errorf("a change in place was missed: %s, %v", got, err)
	}
}

func TestMessageEncoderSharedByConversations(t *testing.T) {
	var e messageEncoder
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two", "three"} {
		wg.Go(func() {
			var messages []llm.Message
			for i := range 50 {
				role := []llm.Role{llm.RoleUser, llm.RoleAssistant}[i%2]
				messages = append(messages, llm.Message{Role: role, Content: name})
				got, err := e.encode(messages, "")
				var back []outMessage
				if err == nil {
					err = json.Unmarshal([]byte("["+string(got)+"]"), &back)
				}
				if err != nil || len(back) != len(messages) || back[len(back)-1].Content != name {
					t.Errorf("%s: %s, %v", name, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
