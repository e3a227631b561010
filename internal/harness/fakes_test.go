package harness

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// reply is one step of a fakeProvider.
type reply func(ctx context.Context, req llm.Request) (*llm.Response, error)

// fakeProvider answers with its replies in order; the last one repeats.
type fakeProvider struct {
	mu       sync.Mutex
	replies  []reply
	requests []llm.Request
}

func script(replies ...reply) *fakeProvider { return &fakeProvider{replies: replies} }

func (p *fakeProvider) Complete(ctx context.Context, req llm.Request) (*llm.Response, error) {
	p.mu.Lock()
	i := min(len(p.requests), len(p.replies)-1)
	p.requests = append(p.requests, req)
	next := p.replies[i]
	p.mu.Unlock()
	return next(ctx, req)
}

func (p *fakeProvider) sent() []llm.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

var someUsage = llm.Usage{InputTokens: 100, OutputTokens: 10}

func respond(resp llm.Response) reply {
	return func(context.Context, llm.Request) (*llm.Response, error) {
		r := resp
		r.Message.ToolCalls = slices.Clone(resp.Message.ToolCalls)
		if r.Usage == (llm.Usage{}) {
			r.Usage = someUsage
		}
		return &r, nil
	}
}

func says(text string) reply {
	return respond(llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Content: text}, FinishReason: llm.FinishStop})
}

func calls(cs ...llm.ToolCall) reply {
	return respond(llm.Response{Message: llm.Message{Role: llm.RoleAssistant, ToolCalls: cs}, FinishReason: llm.FinishToolCalls})
}

func call(id, name, args string) llm.ToolCall {
	return llm.ToolCall{ID: id, Name: name, Arguments: args}
}

func fails(err *llm.Error) reply {
	return func(context.Context, llm.Request) (*llm.Response, error) { return nil, err }
}

// hangs until its context ends, as a good provider does.
func hangs() reply {
	return func(ctx context.Context, _ llm.Request) (*llm.Response, error) {
		<-ctx.Done()
		return nil, &llm.Error{Category: llm.Network, Message: "stopped", Err: ctx.Err()}
	}
}

// fakeTools: "read" is read-only, "write" is not; run does what each test wants.
type fakeTools struct {
	run    func(ctx context.Context, c llm.ToolCall) (ToolResult, error)
	mu     sync.Mutex
	ran    []string
	closed int
}

func (f *fakeTools) Specs() []llm.ToolSpec {
	return []llm.ToolSpec{
		{Name: "read", Description: "reads", Parameters: []byte(`{"type":"object"}`)},
		{Name: "write", Description: "writes", Parameters: []byte(`{"type":"object"}`)},
	}
}

func (f *fakeTools) ReadOnly(name string) bool { return name == "read" }

func (f *fakeTools) Run(ctx context.Context, c llm.ToolCall) (ToolResult, error) {
	f.mu.Lock()
	f.ran = append(f.ran, c.ID)
	f.mu.Unlock()
	if f.run == nil {
		return ToolResult{Content: "ok " + c.Arguments}, nil
	}
	return f.run(ctx, c)
}

func (f *fakeTools) Close(context.Context) error { f.closed++; return nil }

// fakeExec answers commands; the zero value lets all of them pass.
type fakeExec struct {
	exec func(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error)
	docs string
	err  error
}

func (f *fakeExec) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	if f.exec == nil {
		return exits(0, ""), nil
	}
	return f.exec(ctx, req)
}

func (f *fakeExec) ReadFile(_ context.Context, path string, _ int64) (*tool.File, error) {
	switch {
	case f.err != nil:
		return nil, f.err
	case f.docs == "" || path != "AGENTS.md":
		return nil, fmt.Errorf("open %s: %w", path, tool.ErrNotFound)
	}
	return &tool.File{FileInfo: tool.FileInfo{Path: path, Mode: fs.FileMode(0o644)}, Data: []byte(f.docs)}, nil
}

func exits(code int, out string) *tool.ExecResult {
	return &tool.ExecResult{ExitCode: &code, Stdout: []byte(out)}
}

// fixture is a run in the making.
type fixture struct {
	Config
	provider *fakeProvider
	tools    *fakeTools
	exec     *fakeExec
	out      bytes.Buffer
}

func newFixture(p *fakeProvider) *fixture {
	f := &fixture{provider: p, tools: &fakeTools{}, exec: &fakeExec{}}
	f.Config = Config{
		Task:     Task{Name: "t", Prompt: "do it"},
		Models:   broker.FixedRouter{model("m", p)},
		Tools:    f.tools,
		Executor: f.exec,
	}
	f.Transcript = transcript.New(transcript.Options{Tee: &f.out})
	return f
}

func model(id string, p llm.Provider) broker.Model {
	return broker.Model{ID: id, Upstream: "up-" + id, Provider: p, Pricing: &models.Pricing{}}
}

// run runs it and checks what must hold of every run's record.
func (f *fixture) run(t *testing.T, ctx context.Context) Result {
	t.Helper()
	live := newRun(f.withDefaults())
	res := live.run(ctx)
	f.checkReplay(t, live.log.state)
	rep, err := transcript.Verify(bytes.NewReader(f.out.Bytes()))
	if err != nil {
		t.Fatalf("transcript: %v\n%s", err, f.out.String())
	}
	if rep.Ended == nil || rep.Ended.Reason != string(res.Reason) || rep.Ended.ExitCode != res.Reason.ExitCode() {
		t.Errorf("terminal event = %+v, want reason %s", rep.Ended, res.Reason)
	}
	want := TranscriptSummary{Events: rep.Events, Bytes: rep.Bytes, Digest: rep.Digest}
	if res.Transcript != want {
		t.Errorf("Result.Transcript = %+v, the transcript says %+v", res.Transcript, want)
	}
	f.checkCallsAnswered(t)
	if f.tools.closed != 1 {
		t.Errorf("tools were closed %d times, want 1", f.tools.closed)
	}
	return res
}

// checkCallsAnswered: every call on record has one result, in call order.
func (f *fixture) checkCallsAnswered(t *testing.T) {
	t.Helper()
	var called, answered []string
	for _, d := range f.events(t) {
		switch d := d.(type) {
		case *transcript.ToolCall:
			called = append(called, d.ID)
		case *transcript.ToolResult:
			answered = append(answered, d.ID)
		}
	}
	if !slices.Equal(called, answered) {
		t.Errorf("calls %v were answered as %v", called, answered)
	}
}

// events gives the data of all recorded events.
func (f *fixture) events(t *testing.T) []any {
	t.Helper()
	events, _, err := transcript.ReadAll(bytes.NewReader(f.out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, e := range events {
		d, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// find gives the recorded events of one type.
func find[T any](t *testing.T, f *fixture) []T {
	t.Helper()
	var out []T
	for _, d := range f.events(t) {
		if v, ok := d.(*T); ok {
			out = append(out, *v)
		}
	}
	return out
}

func notices(t *testing.T, f *fixture) []transcript.NoticeKind {
	t.Helper()
	var out []transcript.NoticeKind
	for _, n := range find[transcript.Notice](t, f) {
		out = append(out, n.Kind)
	}
	return out
}

var errGone = fmt.Errorf("%w: connection refused", tool.ErrExecutorGone)

func soon() time.Duration { return 900 * time.Millisecond }

// pass lets the virtual time of a synctest bubble pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // takes no real time in a bubble, and all callers are in one
}
