package scripted

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const script = `
turns:
- text: Looking.
  reasoning: I should look.
  toolCalls:
  - name: read_file
    arguments: {path: a.txt, from: 1}
  usage: {inputTokens: 100, cachedInputTokens: 60, outputTokens: 7}
- expect: hello
  repeat: 2
  toolCalls:
  - name: bash
    arguments: {command: "echo {{turn}} <ok>"}
  - name: bash
    arguments: '{"command": cut'
- expectMatch: "(?i)^exit [0-9]"
  text: Done.
models:
  small:
    turns:
    - {text: I am small.}
cases:
- match: be quick
  turns:
  - {text: Quick., fault: {status: 429, retryAfter: 2s, times: 2}}
`

func mustParse(t *testing.T, text string) *Script {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// overHTTP is the openai provider talking to a server with the script.
func overHTTP(t *testing.T, s *Script, key string, quirks openai.Quirks) (*openai.Provider, *Server, string) {
	t.Helper()
	server := NewServer(s, key)
	web := httptest.NewServer(server)
	p, err := openai.New(openai.Config{
		BaseURL: web.URL + "/v1", APIKey: key, TaskName: "demo", Quirks: quirks, IdleTimeout: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); web.CloseClientConnections(); web.Close() })
	return p, server, web.URL
}

// each runs a test on every way to play a script.
func each(t *testing.T, text string, test func(t *testing.T, p llm.Provider)) {
	t.Run("in process", func(t *testing.T) { test(t, NewProvider(mustParse(t, text), "demo")) })
	t.Run("streamed", func(t *testing.T) {
		p, _, _ := overHTTP(t, mustParse(t, text), "", openai.Quirks{})
		test(t, p)
	})
	t.Run("whole", func(t *testing.T) {
		p, _, _ := overHTTP(t, mustParse(t, text), "", openai.Quirks{NoStream: true})
		test(t, p)
	})
}

func user(prompt string) llm.Request {
	return llm.Request{Model: "m", Messages: []llm.Message{
		{Role: llm.RoleSystem, Content: "You are a test."}, {Role: llm.RoleUser, Content: prompt},
	}}
}

// answer adds a reply and the same observation for each of its calls.
func answer(req *llm.Request, resp *llm.Response, observation string) {
	req.Messages = append(req.Messages, resp.Message)
	for _, c := range resp.Message.ToolCalls {
		req.Messages = append(req.Messages, llm.Message{Role: llm.RoleTool, ToolCallID: c.ID, Content: observation})
	}
}

func complete(t *testing.T, p llm.Provider, req llm.Request) *llm.Response {
	t.Helper()
	resp, err := p.Complete(t.Context(), req)
	if err != nil {
		t.Fatalf("Complete: %v", err)
	}
	return resp
}

func failure(t *testing.T, p llm.Provider, req llm.Request) *llm.Error {
	t.Helper()
	_, err := p.Complete(t.Context(), req)
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("Complete: %v, want an *llm.Error", err)
	}
	return e
}

func TestConversation(t *testing.T) {
	each(t, script, func(t *testing.T, p llm.Provider) {
		req := user("say hello")
		got := complete(t, p, req)
		want := &llm.Response{
			Message: llm.Message{
				Role: llm.RoleAssistant, Content: "Looking.", Reasoning: "I should look.",
				ToolCalls: []llm.ToolCall{{ID: "call_t0_0", Name: "read_file", Arguments: `{"from":1,"path":"a.txt"}`}},
			},
			FinishReason: llm.FinishToolCalls,
			Usage:        llm.Usage{InputTokens: 100, CachedInputTokens: 60, OutputTokens: 7},
			Model:        "m",
		}
		want.Message.From = got.Message.From // only what came over HTTP has one
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("turn 0 (-want +got):\n%s", d)
		}
		answer(&req, got, "1 hello")
		got = complete(t, p, req)
		if d := cmp.Diff([]llm.ToolCall{
			{ID: "call_t1_0", Name: "bash", Arguments: `{"command":"echo 1 <ok>"}`},
			{ID: "call_t1_1", Name: "bash", Arguments: `{"command": cut`},
		}, got.Message.ToolCalls); d != "" {
			t.Errorf("turn 1 (-want +got):\n%s", d)
		}
		if d := cmp.Diff(got, complete(t, p, req)); d != "" {
			t.Errorf("a retry got another turn (-first +second):\n%s", d)
		}
		answer(&req, got, "hello again")
		got = complete(t, p, req)
		if got.Message.ToolCalls[0].Arguments != `{"command":"echo 2 <ok>"}` {
			t.Errorf("turn 2: %+v", got.Message)
		}
		// The middle of the conversation is compacted away.
		req.Messages = append(req.Messages[:2:2], llm.Message{Role: llm.RoleUser, Content: "Earlier: things happened."})
		answer(&req, got, "")
		req.Messages[len(req.Messages)-2].Content = "exit 0"
		req.Messages[len(req.Messages)-1].Content = "fine"
		got = complete(t, p, req)
		if got.Message.Content != "Done." || got.FinishReason != llm.FinishStop || got.Usage.InputTokens == 0 {
			t.Errorf("turn 3: %+v", got)
		}
		answer(&req, got, "")
		e := failure(t, p, req)
		if e.Status != http.StatusGone || e.Retryable || !strings.Contains(e.Message, "the script has 4 turns") {
			t.Errorf("after the end: %+v", e)
		}
	})
}

func TestExpectationNotMet(t *testing.T) {
	each(t, script, func(t *testing.T, p llm.Provider) {
		req := user("hello")
		answer(&req, complete(t, p, req), "no such file")
		e := failure(t, p, req)
		if e.Status != http.StatusUnprocessableEntity || e.Retryable ||
			!strings.Contains(e.Message, `turn 1 of the script expected the last observation to hold "hello", but it is: "no such file"`) {
			t.Errorf("%+v", e)
		}
	})
}

func TestSelection(t *testing.T) {
	each(t, script, func(t *testing.T, p llm.Provider) {
		req := user("anything")
		req.Model = "small"
		if got := complete(t, p, req); got.Message.Content != "I am small." {
			t.Errorf("by model: %+v", got.Message)
		}
		req = user("please be quick")
		for range 2 {
			e := failure(t, p, req)
			if e.Category != llm.RateLimited || !e.Retryable || e.RetryAfter != 2*time.Second || e.Status != 429 {
				t.Errorf("fault: %+v", e)
			}
		}
		if got := complete(t, p, req); got.Message.Content != "Quick." {
			t.Errorf("after the fault: %+v", got.Message)
		}
		if e := failure(t, p, req); e.Category != llm.RateLimited {
			t.Errorf("the next run with the same words: %+v", e)
		}
	})
}

func TestFaults(t *testing.T) {
	cases := map[string]struct {
		fault string
		want  llm.Category
		retry bool
		// cost is what is known of it: nothing, an estimate, or the server's count.
		cost llm.Usage
	}{
		"status 500":    {"{status: 500}", llm.Overloaded, true, llm.Usage{}},
		"status 401":    {"{status: 401}", llm.CredentialConfig, false, llm.Usage{}},
		"context":       {`{status: 400, body: '{"error":{"code":"context_length_exceeded","message":"too long"}}'}`, llm.ContextLength, false, llm.Usage{}},
		"reset":         {"{kind: reset}", llm.Network, true, llm.Usage{InputTokens: 1, Estimated: true}},
		"truncate":      {"{kind: truncate}", llm.TruncatedStream, true, llm.Usage{InputTokens: 1, Estimated: true}},
		"empty choices": {"{kind: emptyChoices}", llm.EmptyResponse, true, llm.Usage{InputTokens: 1, OutputTokens: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			each(t, "turns: [{text: a longer text than one piece of it, fault: "+tc.fault+"}]", func(t *testing.T, p llm.Provider) {
				e := failure(t, p, user("x"))
				if e.Category != tc.want || e.Retryable != tc.retry {
					t.Errorf("%+v", e)
				}
				// The two differ in how they come to a number, not in that there is one.
				u := e.Usage
				u.InputTokens, u.OutputTokens = min(u.InputTokens, 1), min(u.OutputTokens, 1)
				if u.Estimated {
					u.OutputTokens = 0 // what had come is known of a stream only
				}
				if u != tc.cost {
					t.Errorf("cost %+v, want the like of %+v", e.Usage, tc.cost)
				}
			})
		})
	}
}

func TestHangEndsWithTheCaller(t *testing.T) {
	for _, kind := range []string{"hang", "stall"} {
		t.Run(kind, func(t *testing.T) {
			p := NewProvider(mustParse(t, "turns: [{text: x, fault: {kind: "+kind+"}}]"), "")
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			if _, err := p.Complete(ctx, user("x")); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			overHTTP, _, _ := overHTTP(t, mustParse(t, "turns: [{text: a text of some length, fault: {kind: "+kind+"}}]"), "", openai.Quirks{})
			if e := failure(t, overHTTP, user("x")); e.Category != llm.Timeout || !e.Retryable {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestRawFault(t *testing.T) {
	p, _, _ := overHTTP(t, mustParse(t, `turns: [{fault: {kind: raw, body: '{"error":"model exploded"}'}}]`), "", openai.Quirks{})
	if e := failure(t, p, user("x")); e.Category != llm.Overloaded || !strings.Contains(e.Message, "model exploded") {
		t.Errorf("%+v", e)
	}
}

func TestStrictDecoding(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"unknown field":     {"turns:\n- text: a\n- txt: b\n", `line 3:3: unknown field "txt"`},
		"nested unknown":    {"turns:\n- fault: {status: 500,\n    tmes: 1}\n", `line 3:5: unknown field "tmes"`},
		"duplicate":         {"turns: []\nturns: []\n", "line 2:1: "},
		"empty":             {"", "empty"},
		"no turns":          {"models: {}", "no turns"},
		"too deep":          {"turns: " + strings.Repeat("[", 100_000), "line 1:39: is nested deeper than 32 levels"},
		"too many":          {"turns: [" + strings.Repeat("{},", 200_000), "more than 100000 values"},
		"two documents":     {"turns: [{}]\n---\nturns: [{}]", "a second document"},
		"bad regexp":        {"turns: [{expectMatch: '('}]", "turns[0]: expectMatch"},
		"no name":           {"turns: [{toolCalls: [{}]}]", "turns[0]: toolCalls[0]: name is missing"},
		"arguments":         {"turns: [{toolCalls: [{name: a, arguments: [1]}]}]", "mapping or a string"},
		"finish":            {"turns: [{finishReason: done}]", "finishReason"},
		"fault status":      {"models: {a: {turns: [{fault: {status: 200}}]}}", "models.a.turns[0]: fault: status 200"},
		"fault kind":        {"turns: [{fault: {kind: explode}}]", `kind "explode"`},
		"reset with status": {"turns: [{fault: {kind: reset, status: 500}}]", "takes no status"},
		"case":              {"cases: [{turns: [{}]}]", "cases[0]: match is missing"},
		"negative":          {"turns: [{repeat: -1}]", "negative"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to hold %q", err, tc.want)
			}
		})
	}
}

func TestExampleOfTheDocumentation(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(src)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			text.WriteString(code)
		}
	}
	// The two examples are two parts of one file, with turns in both.
	first, second, _ := strings.Cut(text.String(), "models:")
	mustParse(t, first)
	mustParse(t, "models:"+second)
}

func TestBounds(t *testing.T) {
	c := newCounter(2)
	c.add(1)
	c.add(2)
	c.remove(1)
	c.add(3)
	c.add(4) // forgets 2
	if got := c.add(2); got != 1 || len(c.counts) != 2 || len(c.order) != 2 {
		t.Errorf("counter: %d, %v, %v", got, c.counts, c.order)
	}
	var r records
	for range maxRecords + 3 {
		r.add(Record{Task: "a"})
	}
	list := r.list("a")
	if len(list) != maxRecords || list[0].Seq != 4 || list[maxRecords-1].Seq != maxRecords+3 {
		t.Errorf("records: %d, first %d, last %d", len(list), list[0].Seq, list[len(list)-1].Seq)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(script))
	f.Fuzz(func(_ *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		newPlayer(s).next(conversation{prompt: "x"})
	})
}
