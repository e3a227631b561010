package openai

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// TestCostOfFailures: a server that has a request works on it, and whoever gives
// it up or loses it pays all the same. What was refused, or never sent, is free.
func TestCostOfFailures(t *testing.T) {
	const known = `"usage":{"prompt_tokens":50,"completion_tokens":7}`
	type handler = func(w http.ResponseWriter, r *http.Request)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	begins := func(more handler) handler {
		return func(w http.ResponseWriter, r *http.Request) {
			send(w, "data: "+delta(`"content":"a few words of it"`)+"\n\n")
			flush(w)
			more(w, r)
		}
	}
	breaks := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	estimated, ofOutput := llm.Usage{InputTokens: 1, Estimated: true}, llm.Usage{InputTokens: 1, OutputTokens: 1, Estimated: true}
	cases := map[string]struct {
		answer handler
		// cancel ends the call from outside, soon.
		cancel bool
		idle   time.Duration
		// want is exact where the server counted; an estimate is so high at least.
		want llm.Usage
		// streamed is what is known of a stream only.
		streamed bool
	}{
		"cancelled before a word": {answer: hang, cancel: true, want: estimated},
		"cancelled in the middle": {answer: begins(hang), cancel: true, want: ofOutput, streamed: true},
		"cancelled after a count": {answer: func(w http.ResponseWriter, r *http.Request) {
			send(w, `data: {"choices":[{"delta":{"content":"par"}}],`+known+"}\n\n")
			flush(w)
			hang(w, r)
		}, cancel: true, want: llm.Usage{InputTokens: 50, OutputTokens: 7}, streamed: true},
		"silent before a word": {answer: hang, idle: shortTime, want: estimated, streamed: true},
		"silent in the middle": {answer: begins(hang), idle: shortTime, want: ofOutput, streamed: true},
		"broken before a word": {answer: breaks, want: estimated},
		"broken in the middle": {answer: begins(breaks), want: ofOutput, streamed: true},
		"ended in the middle":  {answer: begins(func(http.ResponseWriter, *http.Request) {}), want: ofOutput, streamed: true},
		"half of a whole reply": {answer: func(w http.ResponseWriter, _ *http.Request) {
			half(w, false)
			panic(http.ErrAbortHandler)
		}, want: estimated},
		"an error in the middle": {answer: begins(func(w http.ResponseWriter, _ *http.Request) {
			send(w, "data: {\"error\":\"boom\"}\n\n")
		}), want: ofOutput, streamed: true},
		"an error first": {answer: func(w http.ResponseWriter, _ *http.Request) { send(w, `{"error":"boom"}`) }},
		"a status":       {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		"a web page":     {answer: func(w http.ResponseWriter, _ *http.Request) { send(w, "<html>") }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothForms(t, func(t *testing.T, q Quirks) {
				if q.NoStream && tc.streamed {
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := serve(t, func(w http.ResponseWriter, r *http.Request) {
					readAll(r)
					if tc.cancel {
						time.AfterFunc(shortTime, cancel)
					}
					tc.answer(w, r)
				}, Config{Quirks: q, IdleTimeout: tc.idle})
				_, err := p.Complete(ctx, hello())
				var e *llm.Error
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
				got, want := e.Usage, tc.want
				if want.Estimated {
					got.InputTokens, got.OutputTokens = min(got.InputTokens, 1), min(got.OutputTokens, 1)
				}
				if got != want {
					t.Errorf("cost %+v, want the like of %+v", e.Usage, want)
				}
			})
		})
	}
	nobody, err := New(Config{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if e := failure(t, nobody, hello()); e.Usage != (llm.Usage{}) {
		t.Errorf("a call that was never sent cost %+v", e.Usage)
	}
}
