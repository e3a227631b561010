package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/llm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and gives a provider for it.
func serve(t *testing.T, handler http.HandlerFunc, cfg Config) *Provider {
	t.Helper()
	server := httptest.NewServer(handler)
	cfg.BaseURL = server.URL + "/v1"
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); server.CloseClientConnections(); server.Close() })
	return p
}

// says answers every request with a body: an SSE stream of the lines, or JSON.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(body, "data:") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		send(w, body)
	}
}

// events makes a stream of data, with the end mark.
func events(data ...string) string {
	var b strings.Builder
	for _, d := range append(data, "[DONE]") {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

// delta and message wrap what the first choice holds.
func delta(fields string) string { return `{"choices":[{"index":0,"delta":{` + fields + `}}]}` }

func finish(reason string) string {
	return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
}

func message(fields, reason string) string {
	return `{"choices":[{"index":0,"message":{"role":"assistant",` + fields + `},"finish_reason":"` + reason + `"}]}`
}

// hello is a request with two tools.
func hello() llm.Request {
	return llm.Request{
		Model:    "m",
		Messages: []llm.Message{{Role: llm.RoleSystem, Content: "s"}, {Role: llm.RoleUser, Content: "hello"}},
		Tools: []llm.ToolSpec{
			{Name: "bash", Description: "Run.", Parameters: []byte(
				`{"type":"object","properties":{"command":{"type":"string"}},"required":["command"],"additionalProperties":false}`)},
			{Name: "list", Description: "List."},
		},
	}
}

func complete(t *testing.T, p *Provider, req llm.Request) *llm.Response {
	t.Helper()
	resp, err := p.Complete(t.Context(), req)
	if err != nil {
		t.Fatalf("Complete: %v", err)
	}
	return resp
}

func failure(t *testing.T, p *Provider, req llm.Request) *llm.Error {
	t.Helper()
	resp, err := p.Complete(t.Context(), req)
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("Complete: %+v, %v, want an *llm.Error", resp, err)
	}
	return e
}

// sent gives the body and header of the request that a provider makes.
func sent(t *testing.T, cfg Config, req llm.Request) (map[string]any, http.Header) {
	t.Helper()
	var body map[string]any
	var header http.Header
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("the request is not JSON: %v", err)
		}
		says(message(`"content":"ok"`, "stop"))(w, r)
	}, cfg)
	complete(t, p, req)
	return body, header
}

// The helpers of a handler, whose client may be gone.

func send(w io.Writer, s string) { io.WriteString(w, s) } //nolint:errcheck // see above

func sendf(w io.Writer, format string, args ...any) { send(w, fmt.Sprintf(format, args...)) }

func readAll(r *http.Request) { io.Copy(io.Discard, r.Body) } //nolint:errcheck // see above

func flush(w http.ResponseWriter) { http.NewResponseController(w).Flush() } //nolint:errcheck // see above

func ptr[T any](v T) *T { return &v }

const shortTime = time.Second
