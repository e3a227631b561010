package openai

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/llm"
)

// BenchmarkComplete is a call over loopback, to a server that answers at once; raw
// is the same exchange with net/http alone, so the difference is our own cost.
func BenchmarkComplete(b *testing.B) {
	stream := events(
		delta(`"role":"assistant","content":""`), delta(`"content":"Let me look. "`),
		delta(`"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"bash","arguments":""}}]`),
		delta(`"tool_calls":[{"index":0,"function":{"arguments":"{\"command\""}}]`),
		delta(`"tool_calls":[{"index":0,"function":{"arguments":":\"ls -l\"}"}}]`),
		finish("tool_calls"), `{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		readAll(r)
		says(stream)(w, r)
	}))
	defer server.Close()
	for name, turns := range map[string]int{"start": 0, "100 turns": 100} {
		req := hello()
		for range turns {
			req.Messages = append(req.Messages,
				llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call("x", "bash", ls)}},
				llm.Message{Role: llm.RoleTool, ToolCallID: "x", Content: strings.Repeat("some output\n", 100)})
		}
		b.Run(name+"/raw", func(b *testing.B) {
			encoded, err := newSettings(Quirks{}).encode(req, "")
			if err != nil {
				b.Fatal(err)
			}
			body := bytes.Join(encoded, nil)
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL, bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the time counts
				resp.Body.Close()              //nolint:errcheck // only read
			}
		})
		b.Run(name+"/provider", func(b *testing.B) {
			p, err := New(Config{BaseURL: server.URL})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Complete(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
