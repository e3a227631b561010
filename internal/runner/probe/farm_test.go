package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// asked is what a server of the farm is asked.
type asked struct {
	Model     string `json:"model"`
	MaxTokens int    `json:"max_tokens"`
	Tools     []any  `json:"tools"`
	Messages  []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	ParallelToolCalls *bool `json:"parallel_tool_calls"`
}

// last is the last message.
func (a asked) last() string { return a.Messages[len(a.Messages)-1].Content }

// toolCall is a call in a reply of the farm.
type toolCall struct{ name, args string }

// said is a reply of the farm.
type said struct {
	text   string
	call   *toolCall
	out    int
	finish string
}

// model is a small model: it says what follows from a conversation.
type model func(asked) said

var (
	wanted  = regexp.MustCompile(`key of the (\w+) box with`)
	single  = regexp.MustCompile(`word in the (\w+) box`)
	keyIs   = regexp.MustCompile(`The key of the (\w+) box is (\w+)`)
	nextIs  = regexp.MustCompile(`The next box is the (\w+) one, and its key is (\w+)`)
	wordIs  = regexp.MustCompile(`is the word (\w+)`)
	numbers = strings.Repeat("one\n", 400)
)

// good does everything right.
func good(a asked) said {
	switch last := a.last(); {
	case len(a.Tools) == 0:
		return said{text: strings.Repeat("one\n", 8), out: a.MaxTokens, finish: "length"}
	case wordIs.MatchString(last):
		return said{text: wordIs.FindStringSubmatch(last)[1]}
	case nextIs.MatchString(last):
		m := nextIs.FindStringSubmatch(last)
		return open(m[1], m[2])
	case keyIs.MatchString(last):
		m := keyIs.FindStringSubmatch(last)
		return open(m[1], m[2])
	case single.MatchString(last):
		return find(single.FindStringSubmatch(last)[1])
	case wanted.MatchString(last):
		return find(wanted.FindStringSubmatch(last)[1])
	}
	return said{text: "What?"}
}

func find(box string) said {
	return said{call: &toolCall{"find_key", fmt.Sprintf(`{"box":%q}`, box)}}
}

func open(box, key string) said {
	return said{call: &toolCall{"open_box", fmt.Sprintf(`{"box":%q,"key":%q}`, box, key)}}
}

// lost loses its way in the third box.
func lost(a asked) said {
	if m := nextIs.FindStringSubmatch(a.last()); m != nil && m[1] == "green" {
		return said{text: "I have opened all boxes."}
	}
	return good(a)
}

// clumsy guesses a key first, and does it right when it is told.
func clumsy(a asked) said {
	if m := keyIs.FindStringSubmatch(a.last()); m != nil && !strings.Contains(fmt.Sprint(a.Messages), "Error:") {
		return open(m[1], "guess")
	}
	if strings.Contains(a.last(), "Error:") {
		for _, m := range a.Messages {
			if k := keyIs.FindStringSubmatch(m.Content); k != nil {
				return open(k[1], k[2])
			}
		}
	}
	return good(a)
}

// lying says that it has the word.
func lying(a asked) said {
	if keyIs.MatchString(a.last()) {
		return said{text: "I opened the box. The word is: sesame"}
	}
	return good(a)
}

// garbling does the work and reports something else.
func garbling(a asked) said {
	if wordIs.MatchString(a.last()) {
		return said{text: "The word is sesame."}
	}
	return good(a)
}

// talking never calls a tool.
func talking(asked) said { return said{text: "Sure! First I would find the key."} }

// writing writes its calls into the text.
func writing(a asked) said {
	s := good(a)
	if s.call != nil {
		return said{text: fmt.Sprintf("<tool_call>\n{\"name\": %q, \"arguments\": %s}\n</tool_call>", s.call.name, s.call.args)}
	}
	return s
}

// forgetting writes its second call into the text.
func forgetting(a asked) said {
	if len(a.Messages) == 2 {
		return good(a)
	}
	if strings.Contains(a.last(), "[harness]") {
		a.Messages = a.Messages[:len(a.Messages)-1]
	}
	return writing(a)
}

// wordy says what a box is.
func wordy(a asked) said {
	s := good(a)
	if s.call != nil {
		s.call.args = strings.Replace(s.call.args, `","key`, ` box","key`, 1)
		if s.call.name == "find_key" {
			s.call.args = strings.Replace(s.call.args, `"}`, ` box"}`, 1)
		}
	}
	return s
}

// thinking needs so many tokens before it says anything.
func thinking(tokens int) model {
	return func(a asked) said {
		if a.MaxTokens < tokens {
			return said{out: a.MaxTokens, finish: "length"}
		}
		s := good(a)
		s.out = tokens
		return s
	}
}

// echo tells the key as the name of the model.
func echo(w http.ResponseWriter, r *http.Request) {
	var a asked
	_ = json.NewDecoder(r.Body).Decode(&a)
	a.Model = r.Header.Get("Authorization")
	writeReply(w, a, good(a))
}

// endless ignores the limit of output tokens.
func endless(a asked) said {
	if len(a.Tools) == 0 {
		return said{text: numbers, out: 400}
	}
	return good(a)
}

// serve serves a model over HTTP, streamed.
func serve(m model) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a asked
		if err := json.Unmarshal(body, &a); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeReply(w, a, m(a))
	}
}

func writeReply(w http.ResponseWriter, a asked, s said) {
	delta := map[string]any{"role": "assistant", "content": s.text}
	finish := or(s.finish, "stop")
	if s.call != nil {
		finish = "tool_calls"
		delta["tool_calls"] = []any{map[string]any{"index": 0, "id": fmt.Sprintf("call_%d", len(a.Messages)), "type": "function",
			"function": map[string]any{"name": s.call.name, "arguments": s.call.args}}}
	}
	out := s.out
	if out == 0 {
		out = 20
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range []any{
		chunk(a, map[string]any{"index": 0, "delta": delta, "finish_reason": nil}),
		chunk(a, map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": finish}),
		map[string]any{"model": a.Model, "choices": []any{}, "usage": map[string]any{"prompt_tokens": 500, "completion_tokens": out}},
	} {
		data, _ := json.Marshal(event)
		fmt.Fprintf(w, "data: %s\n\n", data)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func chunk(a asked, choice map[string]any) map[string]any {
	return map[string]any{"object": "chat.completion.chunk", "model": a.Model, "choices": []any{choice}}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// refuse always answers with a status and words.
func refuse(status int, words string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		data, _ := json.Marshal(map[string]any{"error": map[string]any{"message": words}})
		w.Write(data) //nolint:errcheck // the client is gone
	}
}

// unless refuses requests of a kind, and serves the others.
func unless(refused func(asked) bool, with, otherwise http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a asked
		_ = json.Unmarshal(body, &a)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if refused(a) {
			with(w, r)
			return
		}
		otherwise(w, r)
	}
}

// after serves so many requests in one way, and those that follow in another.
func after(n int64, first, then http.HandlerFunc) http.HandlerFunc {
	var had atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if had.Add(1) <= n {
			first(w, r)
			return
		}
		then(w, r)
	}
}

// truncate ends each stream in its middle.
func truncate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"I will\"}}]}\n\n")
	http.NewResponseController(w).Flush() //nolint:errcheck // the client is gone
	panic(http.ErrAbortHandler)
}

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// start serves a handler, and counts its requests.
func start(t *testing.T, h http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		// A server learns that its client went away only once it has read what came.
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}
