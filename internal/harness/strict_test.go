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

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// strictServer is one kind of server: what it refuses, in its own words, and what
// its replies look like.
type strictServer struct {
	// profile is the name of its profile.
	profile string
	// rules are what it refuses beside what every server does.
	rules []rule
	// learns is how much has to be learned also with the profile: limits, and what
	// only some models refuse.
	learns int
	// body is how it says so: %q stands for the words. status is 400 where not set.
	body   string
	status int
	// busy and overflow are its other errors: status and body.
	busy, overflow failureForm

	// id is the form of its ids, with two numbers: the turn's and the call's.
	id string
	// thought is the field for the model's thinking, if any.
	thought string
	// callExtra and messageExtra are fields that it adds to calls and messages, and
	// wants back where wantsBack is set. Each begins with a comma.
	callExtra, messageExtra string
	// first is an event that comes before all others.
	first string
	// usage, stop and calls are its words for these.
	usage, stop, calls string
}

type failureForm struct {
	status int
	body   string
}

// TestProfiles takes a run of ten turns through each kind of server, with parallel
// calls, an error, an overflow and a compaction: with the profile, where nothing
// may be refused for its form, and without, where all has to be learned.
func TestProfiles(t *testing.T) {
	for _, p := range models.Profiles() {
		i := slices.IndexFunc(strictServers, func(s strictServer) bool { return s.profile == p.Name })
		if i < 0 {
			t.Errorf("no server is like the profile %s", p.Name)
			continue
		}
		for _, form := range []string{"streamed", "whole"} {
			for _, known := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/known=%v", p.Name, form, known), func(t *testing.T) {
					t.Parallel()
					profile := p.Name
					if !known {
						profile = models.Generic
					}
					strictServers[i].run(t, profile, form == "whole")
				})
			}
		}
	}
}

func (s strictServer) run(t *testing.T, profile string, whole bool) {
	g := &strictRun{strictServer: s.withDefaults(), failed: map[int]bool{}}
	hs := httptest.NewServer(g)
	candidate := models.Candidate{
		Model:    models.Model{ID: "m", Upstream: "m"},
		Provider: models.Provider{Type: models.TypeOpenAI, BaseURL: hs.URL + "/v1", Profile: profile},
	}
	quirks := openai.Quirks(candidate.Quirks())
	quirks.NoStream = quirks.NoStream || whole
	p, err := openai.New(openai.Config{BaseURL: hs.URL + "/v1", Quirks: quirks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); hs.Close() })
	f := newFixture(nil)
	f.Tools = strictTools{f.tools}
	f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
		if strings.Contains(c.Arguments, "nothing") {
			return ToolResult{}, nil
		}
		return ToolResult{Content: strings.Repeat("a line of output\n", 400)}, nil
	}
	m := model("m", p)
	m.Upstream, m.MaxOutputTokens = "m", 8192
	f.Models = broker.FixedRouter{m}
	f.Retry = broker.Retry{Attempts: 3, Base: time.Millisecond, Cap: time.Millisecond}
	f.Task.Limits.Turns = lastTurn + 1

	res := f.run(t, t.Context())
	if res.Reason != Completed || res.Message != "All done." {
		t.Errorf("ended %s: %s", res.Reason, res.Message)
	}
	g.wantRecord(t, f, profile == s.profile)
}

// wantRecord: the run had all that it should have, and nothing was refused that
// its profile knew.
func (g *strictRun) wantRecord(t *testing.T, f *fixture, known bool) {
	t.Helper()
	if len(find[transcript.Compaction](t, f)) == 0 || !slices.Contains(notices(t, f), transcript.NoticeSoftLimit) {
		t.Errorf("no compaction, or no notice: %v", notices(t, f))
	}
	if turns := len(find[transcript.Response](t, f)); turns != lastTurn+1 {
		t.Errorf("%d turns", turns)
	}
	adapted := 0
	for _, r := range find[transcript.Retry](t, f) {
		if r.Adapted != "" {
			adapted++
		}
	}
	if adapted != len(g.refused) || known && adapted != g.learns {
		t.Errorf("%d of %d refusals were learned from: %q", adapted, len(g.refused), g.refused)
	}
}

// strictTools have schemas with keywords that some servers refuse.
type strictTools struct{ *fakeTools }

func (strictTools) Specs() []llm.ToolSpec {
	return []llm.ToolSpec{
		{Name: "read", Description: "reads", Parameters: []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,` +
			`"properties":{"path":{"type":"string","format":"uri"},"from":{"type":["integer","null"],"exclusiveMinimum":0},"tags":{"type":"array"}},"required":["path"]}`)},
		{Name: "write", Description: "writes", Parameters: []byte(`{"type":"object","properties":{"path":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`)},
		{Name: "list", Description: "lists", Parameters: []byte(`{"type":"object","properties":{},"additionalProperties":false}`)},
	}
}

// strictRun is one run's server.
type strictRun struct {
	strictServer
	mu sync.Mutex
	// turn counts the replies that were given.
	turn int
	// failed are the turns in which an error was given already.
	failed map[int]bool
	// refused are the words of refusals.
	refused []string
}

func (s strictServer) withDefaults() strictServer {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&s.body, `{"error":{"message":%q,"type":"invalid_request_error","param":null,"code":null}}`},
		{&s.id, "call_%03d%03d"},
		{&s.usage, `{"prompt_tokens":2000,"completion_tokens":10,"total_tokens":2010}`},
		{&s.stop, "stop"}, {&s.calls, "tool_calls"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if s.status == 0 {
		s.status = http.StatusBadRequest
	}
	if s.busy.status == 0 {
		s.busy = failureForm{503, `{"error":{"message":"The server is overloaded, try again","type":"server_error"}}`}
	}
	if s.overflow.status == 0 {
		s.overflow = failureForm{400, `{"error":{"message":"This model's maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`}
	}
	return s
}

const (
	busyTurn     = 3
	overflowTurn = 5
	lastTurn     = 9
)

// turns are the calls of each turn; the last has none.
var strictTurns = [lastTurn][][2]string{
	{{"read", `{"path":"a"}`}, {"read", `{"path":"b"}`}},
	{{"write", `{"path":"c"}`}},
	{{"list", `{}`}},
	{{"read", `{"path":"d"}`}, {"write", `{"path":"nothing"}`}},
	{{"functions.rm -rf /", `{}`}},
	{{"read", `{"path":"e"}`}, {"list", `{}`}, {"read", `{"path":"f"}`}},
	{{"read", `{"path":"cut`}},
	{{"list", `{"path":"nothing"}`}},
	{{"write", `{"path":"g"}`}},
}

// ServeHTTP implements http.Handler.
func (g *strictRun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var body map[string]any
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	req := newStrictRequest(body)
	for _, check := range append(slices.Clone(everyServer), g.rules...) {
		if words := check(req); words != "" {
			g.refused = append(g.refused, words)
			g.fail(w, failureForm{g.status, fmt.Sprintf(g.body, words)})
			return
		}
	}
	for turn, form := range map[int]failureForm{busyTurn: g.busy, overflowTurn: g.overflow} {
		if g.turn == turn && !g.failed[turn] {
			g.failed[turn] = true
			g.fail(w, form)
			return
		}
	}
	g.reply(w, body["stream"] == true)
	g.turn++
}

func (g *strictRun) fail(w http.ResponseWriter, form failureForm) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(form.status)
	_, _ = fmt.Fprint(w, form.body)
}

// reply gives the message of a turn.
func (g *strictRun) reply(w http.ResponseWriter, streamed bool) {
	thought := ""
	if g.thought != "" {
		thought = fmt.Sprintf(`,%q:"I think."`, g.thought)
	}
	fields, end := `"role":"assistant","content":"All done."`+thought, g.stop
	if g.turn < lastTurn {
		var parts []string
		for i, c := range strictTurns[g.turn] {
			arguments, _ := json.Marshal(c[1])
			parts = append(parts, fmt.Sprintf(`{"index":%d,"id":%q,"type":"function","function":{"name":%q,"arguments":%s}%s}`,
				i, fmt.Sprintf(g.id, g.turn, i), c[0], arguments, g.extraOfCall(i)))
		}
		content := [3]string{"null", `"\n\n"`, `"I go on."`}[g.turn%3]
		fields, end = `"role":"assistant","content":`+content+thought+`,"tool_calls":[`+strings.Join(parts, ",")+`]`+g.messageExtra, g.calls
	}
	if !streamed {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{%s},"finish_reason":%q}],"usage":%s}`, fields, end, g.usage)
		return
	}
	var events []string
	if g.first != "" {
		events = append(events, g.first)
	}
	stream(append(events, chunk(fields), fmt.Sprintf(`{"choices":[{"index":0,"delta":{},"finish_reason":%q}]}`, end), `{"choices":[],"usage":`+g.usage+`}`)...)(w, true)
}

// extraOfCall: of parallel calls only the first is signed.
func (g *strictRun) extraOfCall(i int) string {
	if i > 0 {
		return ""
	}
	return g.callExtra
}
