package harness

import (
	stdcmp "cmp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// recordedEvents are those of a run.
func recordedEvents(t *testing.T, f *fixture) []transcript.Event {
	t.Helper()
	events, _, err := transcript.ReadAll(strings.NewReader(f.out.String()))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func forkOf(t *testing.T, events []transcript.Event) *Fork {
	t.Helper()
	fork, err := ForkOf(transcript.Origin{Task: "first", UID: "u", Turn: 2, Events: int64(len(events)), Digest: "sha256:x"}, PastOf(events))
	if err != nil {
		t.Fatal(err)
	}
	return fork
}

// afterTurn are the events up to the last result of a turn.
func afterTurn(events []transcript.Event, turn int) []transcript.Event {
	for i, e := range events {
		if e.Turn > turn {
			return events[:i]
		}
	}
	return events
}

func TestForkGoesOnWithTheConversation(t *testing.T) {
	first := newFixture(script(conversationReplies))
	if res := first.run(t, t.Context()); res.Reason != Completed {
		t.Fatalf("the first run: %+v", res)
	}
	events := afterTurn(recordedEvents(t, first), 2)
	source := PastOf(events).state
	for prompt, last := range map[string]string{
		"Do it otherwise.": "Do it otherwise.",
		first.Task.Prompt:  "- v: check",
		"":                 "- v: check",
	} {
		t.Run(prompt, func(t *testing.T) {
			p := script(says("done"))
			f := newFixture(p)
			f.Task.Name, f.Task.Prompt, f.Task.SystemPrompt = "second", prompt, "not said"
			f.Task.Verify = []Verification{{Name: "v", Command: "check"}}
			f.Fork = forkOf(t, events)
			res := f.run(t, t.Context())
			if res.Reason != Completed || res.Progress.Turns != 1 || res.Progress.ToolCalls != 0 {
				t.Errorf("the fork: %+v", res)
			}
			sent := p.sent()[0].Messages
			n := len(source.conv.messages)
			if diff := cmp.Diff(source.conv.messages, sent[:n]); diff != "" {
				t.Errorf("what was said before (-want +got):\n%s", diff)
			}
			if words := sent[n].Content; sent[n].Role != llm.RoleUser || !strings.Contains(words, "turn 2 of the task first") || !strings.Contains(words, "- v: check") {
				t.Errorf("the change is told as %+v", sent[n])
			}
			if end := sent[len(sent)-1]; end.Role != llm.RoleUser || !strings.HasSuffix(end.Content, last) {
				t.Errorf("the last message is %+v", end)
			}
			started := find[transcript.RunStarted](t, f)
			if len(started) != 1 || started[0].Task != "second" || started[0].From == nil || started[0].From.UID != "u" || started[0].From.Events != int64(len(events)) {
				t.Errorf("the first event is %+v", started)
			}
			// Whoever goes on with it needs nothing but its own transcript.
			again := PastOf(recordedEvents(t, f)).state
			if diff := cmp.Diff(sent, again.conv.messages[:len(sent)]); diff != "" {
				t.Errorf("the conversation by the transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// Prompts that differ only in what is redacted are different prompts, and a process that goes
// on tells the model the one of its task.
func TestPromptFromASecret(t *testing.T) {
	const one, two = "find the first thing", "find the second thing"
	secretly := func(f *fixture, prompt string) {
		f.Task.Prompt = prompt
		f.Transcript = transcript.New(transcript.Options{Tee: &f.out, Secrets: []string{prompt}})
	}
	last := func(f *fixture) string {
		Run(t.Context(), f.Config)
		if sent := f.provider.sent(); len(sent) > 0 {
			return sent[0].Messages[len(sent[0].Messages)-1].Content
		}
		return ""
	}
	first := newFixture(script(says("done")))
	secretly(first, one)
	if got := last(first); got != one {
		t.Fatalf("the first run was told %q", got)
	}
	fork := newFixture(script(says("done")))
	secretly(fork, two)
	fork.Fork = forkOf(t, recordedEvents(t, first)[:1])
	if got := last(fork); !strings.HasSuffix(got, two) {
		t.Errorf("the fork was told %q", got)
	}
	for name, begun := range map[string]*fixture{"run": first, "fork": fork} {
		again := newFixture(script(says("done")))
		secretly(again, begun.Task.Prompt)
		again.Resume = PastOf(recordedEvents(t, begun)[:1])
		if got := last(again); !strings.HasSuffix(got, begun.Task.Prompt) {
			t.Errorf("the %s that goes on was told %q", name, got)
		}
	}
}

// A call's id that was used before the fork is not used again.
func TestForkKnowsTheIDsOfCalls(t *testing.T) {
	first := newFixture(script(conversationReplies))
	first.run(t, t.Context())
	f := newFixture(script(calls(call("a", "read", "9")), says("done")))
	f.Fork = forkOf(t, afterTurn(recordedEvents(t, first), 2))
	f.run(t, t.Context())
	if made := find[transcript.ToolCall](t, f); len(made) != 1 || made[0].ID == "a" {
		t.Errorf("the calls are %+v", made)
	}
}

// Wherever the other run was cut, the conversation is one that a model can go on with.
func TestForkAnswersEveryCall(t *testing.T) {
	first := newFixture(script(conversationReplies))
	first.run(t, t.Context())
	events := recordedEvents(t, first)
	for n := 1; n <= len(events); n++ {
		fork := forkOf(t, events[:n])
		called, answered := map[string]bool{}, map[string]bool{}
		for _, m := range fork.origin.Messages {
			for _, c := range m.ToolCalls {
				called[c.ID] = true
			}
			if m.Role == llm.RoleTool {
				answered[m.ToolCallID] = true
			}
		}
		if diff := cmp.Diff(called, answered); diff != "" {
			t.Errorf("after event %d (-called +answered):\n%s", n, diff)
		}
	}
}

// What a fork is told is in the middle of the conversation, and stays, with what is said of
// the change: also in a fork of it that is to do the same.
func TestCompactionKeepsWhatAForkIsTold(t *testing.T) {
	long := chat(repeatSize(50, 300)...).messages[1:]
	for name, tc := range map[string]struct {
		prompt, told string
		kept         []string
	}{
		"another task":                  {"the later task", "task", []string{"the change", "the later task"}},
		"the same task":                 {"", "task", []string{"the change"}},
		"the same task, which is later": {"", "the later task", []string{"the change", "the later task"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := firstConversation(&transcript.RunStarted{SystemPrompt: "system", Prompt: tc.prompt,
				From: &transcript.Origin{Messages: long, Prompt: tc.told, Notice: "the change"}})
			for round := range 3 {
				c.add(chat(repeatSize(100, 300)...).messages[2:]...)
				e := planCompaction(c, 3000).event
				if e.DropTo == 0 {
					t.Fatalf("round %d leaves out nothing", round)
				}
				c.compact(e)
				want := llm.Message{Role: llm.RoleUser, Content: strings.Join(tc.kept, "\n\n")}
				if diff := cmp.Diff(want, c.messages[c.pinned]); diff != "" {
					t.Fatalf("round %d (-want +got):\n%s", round, diff)
				}
				if c.messages[1].Content != "task" || len(c.messages) > 100 {
					t.Errorf("round %d leaves %d messages, the second is %q", round, len(c.messages), c.messages[1].Content)
				}
			}
		})
	}
}

// A fork of a fork knows what the first one was told.
func TestForkOfAFork(t *testing.T) {
	first := newFixture(script(conversationReplies))
	first.run(t, t.Context())
	for name, prompt := range map[string]string{"told otherwise": "Do it otherwise.", "told nothing": ""} {
		second := newFixture(script(says("done")))
		second.Task.Prompt, second.Fork = prompt, forkOf(t, recordedEvents(t, first))
		second.run(t, t.Context())
		want := stdcmp.Or(prompt, first.Task.Prompt)
		if got := forkOf(t, recordedEvents(t, second)).origin.Prompt; got != want {
			t.Errorf("%s: a fork of it goes on from %q", name, got)
		}
	}
}
