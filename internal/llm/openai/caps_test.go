package openai

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sampan-dev/sampan/internal/llm"
)

// hostile is an endpoint's answer of any size: what it begins with, what it goes on
// with for ever, and what it would end with.
type hostile struct {
	status           int
	begin, then, end string
	// copies of then; 0 is 60 MiB of it.
	copies   int
	encoding string
	header   http.Header
	want     llm.Category
	words    string
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	readAll(r)
	for name, values := range h.header {
		w.Header()[name] = values
	}
	out := io.Writer(w)
	if h.encoding == "zstd" {
		w.Header().Set("Content-Encoding", "zstd")
	}
	if h.status != 0 {
		w.WriteHeader(h.status)
	}
	if h.encoding == "zstd" {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		defer z.Close() //nolint:errcheck // the client may be gone
		out = z
	}
	send(out, h.begin)
	n := h.copies
	if n == 0 {
		n = 60 << 20 / len(h.then)
	}
	block := strings.Repeat(h.then, max(1, min(n, 64<<10/len(h.then))))
	for left := n * len(h.then); left > 0; left -= len(block) {
		if _, err := io.WriteString(out, block[:min(left, len(block))]); err != nil {
			return
		}
	}
	send(out, h.end)
}

const (
	// maxTestMiB is what the test's process has at its peak, with both ends in it.
	maxTestMiB = 128
	// maxMadeMiB bounds the garbage: a few copies of the largest event.
	maxMadeMiB = 100
)

// TestHostileReplies: whatever one reply holds, reading it costs a bounded amount of
// memory, and the failure says which bound it went over.
func TestHostileReplies(t *testing.T) {
	whole := func(fields string) string {
		return `{"choices":[{"index":0,"finish_reason":"stop","message":{` + fields
	}
	event := func(fields string) string { return "data: " + delta(fields) + "\n\n" }
	cases := map[string]hostile{
		"text of 60 MiB":             {begin: whole(`"content":"`), then: "a", end: `"}}]}`, words: "8 MiB"},
		"text of 60 MiB in lines":    {begin: whole(`"content":[` + "\n"), then: `{"text":"` + strings.Repeat("a", 4000) + `"},` + "\n", end: `{}]}}]}`, words: "MiB"},
		"text of 7 MiB":              {begin: whole(`"content":"`), then: "a", copies: 7 << 20, end: `"}}]}`, words: "2 MiB of text"},
		"choices":                    {begin: `{"choices":[`, then: "{},", end: "{}]}", copies: 2 << 20, words: "16 choices"},
		"calls":                      {begin: whole(`"tool_calls":[`), then: "{},", end: "{}]}}]}", copies: 2 << 20, words: "128 tool calls"},
		"calls, one more":            {begin: whole(`"tool_calls":[`), then: `{"function":{"name":"bash"}},`, end: `{"function":{"name":"bash"}}]}}]}`, copies: 128, words: "128 tool calls"},
		"parts":                      {begin: whole(`"content":[`), then: "{},", end: "{}]}}]}", copies: 2 << 20, words: "4096 elements"},
		"lists in lists":             {begin: whole(`"content":`), then: "[", copies: 7 << 20, words: "64 levels"},
		"many lists that are short":  {begin: whole(`"x":[`), then: "[[{},{}],[{},{}],[{},{}]],", end: "[]]}}]}", copies: 4000, words: "lists and objects"},
		"arguments":                  {begin: whole(`"tool_calls":[{"function":{"name":"bash","arguments":"`), then: "a", end: `"}}]}}]}`, copies: 5 << 20, words: "2 MiB"},
		"arguments that nest":        {begin: whole(`"tool_calls":[{"function":{"name":"bash","arguments":"`), then: "[", end: `"}}]}}]}`, copies: 1 << 20, words: ""},
		"arguments that nest quoted": {begin: whole(`"tool_calls":[{"function":{"name":"bash","arguments":"`), then: `{'a':`, end: `"}}]}}]}`, copies: 300 << 10, words: ""},
		"a stream of text":           {begin: ": hi\n\n", then: event(`"content":"` + strings.Repeat("a", 30000) + `"`), words: "2 MiB of text"},
		"a stream of thoughts":       {begin: ": hi\n\n", then: event(`"reasoning_content":"` + strings.Repeat("a", 30000) + `"`), words: "2 MiB of text"},
		"a stream of calls":          {begin: ": hi\n\n", then: event(`"tool_calls":[{"function":{"name":"bash","arguments":"{}"}}]`), copies: 50000, words: "128 tool calls"},
		"a stream of choices":        {begin: `data: {"choices":[`, then: "{},", copies: 7 << 18, words: "16 choices"},
		"a line without end":         {begin: "data: ", then: "a", words: "8 MiB in one line"},
		"a comment without end":      {begin: ": ", then: "a", words: "8 MiB in one line"},
		"a value over many lines":    {begin: "data: {\n", then: "data: \"a\":1,\n", words: "MiB"},
		"a bomb of text":             {begin: whole(`"content":"`), then: "a", encoding: "zstd", copies: 70 << 20, words: "8 MiB"},
		"a bomb of comments":         {then: ": ping\n\n", encoding: "zstd", copies: 10 << 20, words: "64 MiB in it when unpacked"},
		"an error's body":            {status: 400, begin: `{"error":{"message":"`, then: "a", end: `"}}`, words: "400"},
		"an error's lists":           {status: 400, begin: `{"errors":[`, then: `{"message":"a"},`, end: `{}]}`, words: "400"},
		"an error that nests":        {status: 400, then: `{"error":`, words: "400"},
		"an error's quoted nest":     {status: 400, begin: "x {'a':", then: `{'a':[`, copies: 9000, words: "400"},
		"an error's page":            {status: 502, begin: "<html>", then: `<title>a</title>`, want: llm.Overloaded, words: "an HTML page (a)"},
		"headers":                    {header: http.Header{"X-Long": {strings.Repeat("a", 4<<20)}}, then: "a", copies: 1, want: llm.Network, words: "header"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := serve(t, tc.ServeHTTP, Config{})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			resp, err := p.Complete(t.Context(), hello())
			runtime.ReadMemStats(&after)
			if all := (after.HeapSys + after.StackSys) >> 20; all > maxTestMiB {
				t.Errorf("heap and stacks have %d MiB, want at most %d", all, maxTestMiB)
			}
			// What the server's encoder makes is not ours.
			if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > maxMadeMiB && tc.encoding == "" {
				t.Errorf("%d MiB were allocated in all, want at most %d", made, maxMadeMiB)
			}
			if tc.words == "" {
				return // a reply, or none
			}
			e, ok := err.(*llm.Error) //nolint:errorlint // every error of a provider is one
			if !ok {
				t.Fatalf("%v, %v, want a failure", resp, err)
			}
			want := tc.want
			if want == "" {
				want = llm.ProviderUnsupported
			}
			if e.Category != want || !strings.Contains(e.Message, tc.words) || len(e.Message) > 1000 {
				t.Errorf("%s, want %s with %q", fmt.Sprintf("%.300s", e.Error()), want, tc.words)
			}
		})
	}
}

// What a reply may hold it can hold: nothing here is near a bound by accident.
func TestLargeRepliesAreRead(t *testing.T) {
	text := strings.Repeat("word ", 200<<10)
	logprobs := `"logprobs":{"content":[` + strings.Repeat(`{"token":"a","logprob":-0.1,"top_logprobs":[{"token":"a"},{"token":"b"}]},`, 20000) + `{}]},`
	p := serve(t, says(`{"choices":[{"index":0,`+logprobs+`"finish_reason":"stop","message":{"content":"`+text+`"}}]}`), Config{Quirks: Quirks{NoStream: true}})
	if got := complete(t, p, hello()); got.Message.Content != text {
		t.Errorf("%d bytes came, want %d", len(got.Message.Content), len(text))
	}
	var calls []string
	for i := range maxCalls {
		calls = append(calls, fmt.Sprintf(`{"index":%d,"id":"c%d","function":{"name":"bash","arguments":"{}"}}`, i, i))
	}
	p = serve(t, says(message(`"tool_calls":[`+strings.Join(calls, ",")+`]`, "tool_calls")), Config{})
	if got := complete(t, p, hello()); len(got.Message.ToolCalls) != maxCalls {
		t.Errorf("%d calls came, want %d", len(got.Message.ToolCalls), maxCalls)
	}
}
