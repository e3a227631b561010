package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// defect is a way in which a server misbehaves, and what a run makes of it. The
// run is real but for the model: loop, provider, HTTP, tools, commands.
type defect struct {
	name   string
	quirks openai.Quirks
	// replies come one for each request; after them the server says "done", or
	// goes on with the last one where forever is set.
	replies []answer
	forever bool
	// form is "streamed" or "whole" where it does not occur in the other one.
	form string
	// id is the model's, where its name matters.
	id string

	want     End
	category llm.Category
	// message of the result, where the model's words matter.
	message string
	// results hold words of each tool result, in the order of the calls.
	results []string
	// failed are the categories of the failed calls, waited how long was waited
	// after the first.
	failed []llm.Category
	waited time.Duration
	// note is in the notes of the first reply, notice is what the model was told.
	note   string
	notice transcript.NoticeKind
	// reasoning of the first reply.
	reasoning string
	// usage of the run, where the server's count matters; of an estimate only
	// that it is one.
	usage *llm.Usage
	// sent looks at a field of the last request, as "a.b=JSON"; "messages" is its
	// last message of an assistant. An absent field is "absent".
	sent []string
}

// TestServerDefects goes through them row by row, each streamed and not.
func TestServerDefects(t *testing.T) {
	for _, row := range defects {
		for _, d := range row.cases {
			for _, form := range []string{"streamed", "whole"} {
				if d.form != "" && d.form != form {
					continue
				}
				t.Run(row.name+"/"+d.name+"/"+form, func(t *testing.T) {
					t.Parallel()
					d := d // each form has its own
					d.quirks.NoStream = form == "whole"
					d.run(t)
				})
			}
		}
	}
}

func (d *defect) run(t *testing.T) {
	f, server := d.fixture(t)
	res := f.run(t, t.Context())
	d.wantResult(t, res)
	d.wantRecord(t, f)
	for _, want := range d.sent {
		path, value, _ := strings.Cut(want, "=")
		if got := server.field(t, path); got != value {
			t.Errorf("%s of the last request is %s, want %s", path, got, value)
		}
	}
	want := len(d.failed) + len(find[transcript.Response](t, f))
	if got := server.count(); got != want {
		t.Errorf("the server got %d requests, %d are on record as answered or failed", got, want)
	}
}

func (d *defect) wantResult(t *testing.T, res Result) {
	t.Helper()
	want := d.want
	if want == "" {
		want = Completed
	}
	if res.Reason != want || res.Category != d.category {
		t.Errorf("ended %s (%q), want %s (%q): %s", res.Reason, res.Category, want, d.category, res.Message)
	}
	if d.message != "" && res.Message != d.message {
		t.Errorf("message %q, want %q", res.Message, d.message)
	}
	switch got := res.Progress.Usage; {
	case d.usage == nil:
	case d.usage.Estimated && (!got.Estimated || got.InputTokens < 100 || got.OutputTokens < 1):
		t.Errorf("usage %+v, want an estimate", got)
	case !d.usage.Estimated && got != *d.usage:
		t.Errorf("usage %+v, want %+v", got, *d.usage)
	}
}

func (d *defect) wantRecord(t *testing.T, f *fixture) {
	t.Helper()
	results := find[transcript.ToolResult](t, f)
	if len(results) != len(d.results) {
		t.Errorf("%d tool results, want %d: %+v", len(results), len(d.results), results)
	}
	for i := range min(len(results), len(d.results)) {
		if !strings.Contains(results[i].Content, d.results[i]) {
			t.Errorf("result %d is %q, want %q in it", i, results[i].Content, d.results[i])
		}
	}
	var failed []llm.Category
	for i, r := range find[transcript.Retry](t, f) {
		failed = append(failed, r.Category)
		if wait := time.Duration(r.WaitMillis) * time.Millisecond; i == 0 && d.waited > 0 && wait != d.waited {
			t.Errorf("waited %s, want %s", wait, d.waited)
		}
	}
	if diff := cmp.Diff(d.failed, failed, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("failed calls (-want +got):\n%s", diff)
	}
	replies := find[transcript.Response](t, f)
	if d.note != "" && (len(replies) == 0 || !strings.Contains(strings.Join(replies[0].Notes, "\n"), d.note)) {
		t.Errorf("no note %q: %+v", d.note, replies)
	}
	if d.reasoning != "" && (len(replies) == 0 || replies[0].Message.Reasoning != d.reasoning) {
		t.Errorf("reasoning is not %q: %+v", d.reasoning, replies)
	}
	if d.notice != "" && !slices.Contains(notices(t, f), d.notice) {
		t.Errorf("notices %v, want %s", notices(t, f), d.notice)
	}
}

// fixture is the run with its server.
func (d *defect) fixture(t *testing.T) (*fixture, *badServer) {
	t.Helper()
	server := &badServer{t: t, defect: d}
	hs := httptest.NewServer(server)
	p, err := openai.New(openai.Config{BaseURL: hs.URL + "/v1", APIKey: "sk-secret-of-the-test", Quirks: d.quirks})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.TempDir(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		hs.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := tool.NewSet(e, []string{"bash"}, tool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(nil)
	f.Tools, f.Executor = countedTools{set, f.tools}, e
	m := model("m", p)
	m.MaxOutputTokens = 100
	if m.Upstream = "m"; d.id != "" {
		m.Upstream = d.id
	}
	f.Models = broker.FixedRouter{m}
	f.Retry = broker.Retry{Attempts: 3, Base: time.Millisecond, Cap: time.Millisecond}
	return f, server
}

// countedTools tell the fixture of their end.
type countedTools struct {
	*tool.Set
	f *fakeTools
}

func (c countedTools) Close(ctx context.Context) error {
	c.f.closed++
	return c.Set.Close(ctx)
}

// badServer misbehaves as its defect says, and is strict about what it is sent.
type badServer struct {
	t      *testing.T
	defect *defect

	mu       sync.Mutex
	requests []map[string]any
}

func (s *badServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// ServeHTTP implements http.Handler.
func (s *badServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req map[string]any
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		s.t.Errorf("the request is not JSON: %v", err)
		return
	}
	s.wantStrict(req)
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	streamed := req["stream"] == true
	switch {
	case n < len(s.defect.replies):
		s.defect.replies[n](w, streamed)
	case s.defect.forever:
		s.defect.replies[len(s.defect.replies)-1](w, streamed)
	default:
		replied(`"content":"done"`, "stop")(w, streamed)
	}
}

// wantStrict: ids are unique strings, every call has its answer right behind it,
// and arguments are the text of an object: some server refuses anything else.
func (s *badServer) wantStrict(req map[string]any) {
	ids, open := map[string]bool{}, []string{}
	for _, raw := range req["messages"].([]any) {
		m := raw.(map[string]any)
		if m["role"] == "tool" {
			if id, ok := m["tool_call_id"].(string); !ok || len(open) == 0 || id != open[0] {
				s.t.Errorf("an answer to %v, open are %v", m["tool_call_id"], open)
			} else {
				open = open[1:]
			}
			continue
		}
		if len(open) > 0 {
			s.t.Errorf("%v have no answer", open)
		}
		calls, _ := m["tool_calls"].([]any)
		for _, raw := range calls {
			c := raw.(map[string]any)
			id, _ := c["id"].(string)
			if id == "" || ids[id] {
				s.t.Errorf("id %v is empty or not new", c["id"])
			}
			ids[id], open = true, append(open, id)
			var object map[string]any
			if text, _ := c["function"].(map[string]any)["arguments"].(string); json.Unmarshal([]byte(text), &object) != nil {
				s.t.Errorf("arguments %q are no object's text", text)
			}
		}
	}
}

// field gives a field of the last request as JSON.
func (s *badServer) field(t *testing.T, path string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.requests[len(s.requests)-1]
	if rest, ok := strings.CutPrefix(path, "messages."); ok {
		path = rest
		for _, raw := range at["messages"].([]any) {
			if m := raw.(map[string]any); m["role"] == "assistant" {
				at = m
			}
		}
	}
	v, ok := at[path]
	if !ok {
		return "absent"
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// answer is what a server sends for one request.
type answer func(w http.ResponseWriter, streamed bool)

// replied is a message in the protocol's form, with the fields of its choice.
func replied(fields, finish string) answer {
	return func(w http.ResponseWriter, streamed bool) {
		if !streamed {
			raw(`{"choices":[{"index":0,"message":{"role":"assistant",`+fields+`},"finish_reason":"`+finish+`"}],`+usage+`}`)(w, false)
			return
		}
		stream(chunk(fields), `{"choices":[{"index":0,"delta":{},"finish_reason":"`+finish+`"}]}`, `{"choices":[],`+usage+`}`)(w, true)
	}
}

const usage = `"usage":{"prompt_tokens":100,"completion_tokens":10}`

func chunk(fields string) string { return `{"choices":[{"index":0,"delta":{` + fields + `}}]}` }

// raw sends JSON as it is, or as the only event of a stream.
func raw(body string) answer {
	return func(w http.ResponseWriter, streamed bool) {
		if streamed {
			stream(body)(w, true)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, body)
	}
}

// stream sends events and the end mark.
func stream(events ...string) answer {
	return func(w http.ResponseWriter, _ bool) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range append(slices.Clone(events), "[DONE]") {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", e)
		}
	}
}

// pieces is an answer that only a stream can give: tool calls bit by bit.
func pieces(calls ...string) answer {
	events := make([]string, 0, len(calls)+1)
	for _, c := range calls {
		events = append(events, chunk(`"tool_calls":[`+c+`]`))
	}
	return stream(append(events, `{"choices":[{"delta":{},"finish_reason":"tool_calls"}],`+usage+`}`)...)
}

// status answers with an HTTP status; headers are name, value, name, value.
func status(code int, body string, headers ...string) answer {
	return func(w http.ResponseWriter, _ bool) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, body)
	}
}

func apiError(code, message string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":%q,"code":%q}}`, message, code, code)
}

// toolCalls are the fields of a message that only calls tools.
func toolCalls(calls ...string) string {
	return `"content":null,"tool_calls":[` + strings.Join(calls, ",") + `]`
}

// bash is a call that prints a word.
func bash(id, word string) string {
	return `{"id":"` + id + `","type":"function","function":{"name":"bash","arguments":` + echo(word) + `}}`
}

func echo(word string) string { return `"{\"command\":\"echo ` + word + `\"}"` }

// breaks begins a reply and then breaks the connection.
func breaks(w http.ResponseWriter, streamed bool) {
	body := `{"choices":[{"message":{"content":"hal`
	if streamed {
		body = "data: " + chunk(`"content":"hal"`) + "\n\n"
	}
	_, _ = fmt.Fprint(w, body)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// resets breaks the connection before anything was said.
func resets(http.ResponseWriter, bool) { panic(http.ErrAbortHandler) }
