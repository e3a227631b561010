package openai

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

func TestBrokenConnections(t *testing.T) {
	hijack := func(w http.ResponseWriter, reset bool) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if reset {
			conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then the test fails
		}
		conn.Close() //nolint:errcheck // it is to break
	}
	cases := map[string]struct {
		answer func(w http.ResponseWriter, stream bool)
		want   llm.Category
	}{
		"reset at once":  {func(w http.ResponseWriter, _ bool) { hijack(w, true) }, llm.Network},
		"closed at once": {func(w http.ResponseWriter, _ bool) { hijack(w, false) }, llm.Network},
		"reset in the middle": {func(w http.ResponseWriter, stream bool) {
			half(w, stream)
			hijack(w, true)
		}, llm.TruncatedStream},
		"closed in the middle": {func(w http.ResponseWriter, stream bool) {
			half(w, stream)
			panic(http.ErrAbortHandler)
		}, llm.TruncatedStream},
		"ended in the middle": {func(w http.ResponseWriter, stream bool) { half(w, stream) }, llm.TruncatedStream},
		"ended in the middle of a line": {func(w http.ResponseWriter, stream bool) {
			half(w, stream)
			send(w, `data: {"choices":[{"del`)
		}, llm.TruncatedStream},
		"nothing at all": {func(http.ResponseWriter, bool) {}, llm.TruncatedStream},
		"not JSON": {func(w http.ResponseWriter, stream bool) {
			send(w, map[bool]string{true: "data: {nope}\n\n", false: "{nope}"}[stream])
		}, llm.TruncatedStream},
		"a web page": {func(w http.ResponseWriter, _ bool) { send(w, "\n<!DOCTYPE html>") }, llm.ProviderUnsupported},
		"a line without end": {func(w http.ResponseWriter, _ bool) {
			send(w, `data: {"choices":"`)
			for block := strings.Repeat("x", 1<<20); ; {
				if _, err := io.WriteString(w, block); err != nil {
					return
				}
			}
		}, llm.ProviderUnsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bothForms(t, func(t *testing.T, q Quirks) {
				if q.NoStream && name == "a line without end" {
					t.Skip("a line is one of a stream")
				}
				p := serve(t, func(w http.ResponseWriter, r *http.Request) {
					readAll(r)
					tc.answer(w, !q.NoStream)
				}, Config{Quirks: q})
				e := failure(t, p, hello())
				if e.Category != tc.want || e.Retryable != (tc.want != llm.ProviderUnsupported) {
					t.Errorf("%+v, want %s", e, tc.want)
				}
			})
		})
	}
}

// half begins a reply.
func half(w http.ResponseWriter, stream bool) {
	if stream {
		send(w, "data: "+delta(`"content":"par"`)+"\n\n")
	} else {
		send(w, `{"choices":[{"message":{"content":"par`)
	}
	flush(w)
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	p, err := New(Config{BaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	if e := failure(t, p, hello()); e.Category != llm.Network || !e.Retryable || e.Status != 0 {
		t.Errorf("%+v", e)
	}
}

func TestDeadlines(t *testing.T) {
	cases := map[string]func(w http.ResponseWriter, stream bool){
		"nothing is sent":  func(http.ResponseWriter, bool) {},
		"half is sent":     half,
		"headers are sent": func(w http.ResponseWriter, _ bool) { flush(w) },
		"an error's half is sent": func(w http.ResponseWriter, _ bool) {
			w.WriteHeader(http.StatusInternalServerError)
			flush(w)
		},
	}
	for name, begin := range cases {
		handler := func(w http.ResponseWriter, r *http.Request) {
			readAll(r)
			begin(w, !strings.Contains(r.Header.Get("Accept"), "json"))
			<-r.Context().Done()
		}
		wantStatus := strings.HasPrefix(name, "an error")
		t.Run(name+"/idle", func(t *testing.T) {
			t.Parallel()
			e := failure(t, serve(t, handler, Config{IdleTimeout: shortTime}), hello())
			if !wantStatus && (e.Category != llm.Timeout || !e.Retryable || !strings.Contains(e.Message, "sent nothing for 1s")) {
				t.Errorf("%+v", e)
			}
		})
		t.Run(name+"/total", func(t *testing.T) {
			t.Parallel()
			e := failure(t, serve(t, handler, Config{TotalTimeout: shortTime, Quirks: Quirks{NoStream: true}}), hello())
			if !wantStatus && (e.Category != llm.Timeout || !e.Retryable || !strings.Contains(e.Message, "not complete after 1s")) {
				t.Errorf("%+v", e)
			}
		})
		t.Run(name+"/cancelled", func(t *testing.T) {
			t.Parallel()
			p := serve(t, handler, Config{})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(shortTime, cancel)
			start := time.Now()
			_, err := p.Complete(ctx, hello())
			var e *llm.Error
			if !errors.As(err, &e) || !errors.Is(err, context.Canceled) || e.Retryable {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("returned after %s", took)
			}
		})
	}
}

// A server that sends keep-alives is alive, however many; but not for ever.
func TestKeepAlives(t *testing.T) {
	lines := strings.Repeat(": keep-alive\n\n", 2000)
	p := serve(t, says("data: \n\n"+lines+events(delta(`"content":"x"`), finish("stop"))), Config{})
	if got := complete(t, p, hello()); got.Message.Content != "x" {
		t.Errorf("%+v", got)
	}
	p = serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			send(w, ": keep-alive\n\n")
			flush(w)
		}
	}, Config{IdleTimeout: time.Minute, TotalTimeout: shortTime})
	if e := failure(t, p, hello()); e.Category != llm.Timeout && e.Category != llm.ProviderUnsupported {
		t.Errorf("%+v", e)
	}
}

// What counts is the time since the last byte, not since the first.
func TestSlowStreamIsAlive(t *testing.T) {
	const idle = 2 * time.Second
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		readAll(r)
		tick := time.NewTicker(idle / 10)
		defer tick.Stop()
		for range 12 {
			send(w, "data: "+delta(`"content":"x"`)+"\n\n")
			flush(w)
			<-tick.C
		}
		send(w, "data: "+finish("stop")+"\n\n")
	}, Config{IdleTimeout: idle})
	if got := complete(t, p, hello()); got.Message.Content != strings.Repeat("x", 12) {
		t.Errorf("%+v", got)
	}
}

// Once the model has finished, nothing that follows can spoil the reply.
func TestEndsWithoutEndMark(t *testing.T) {
	reply := "data: " + delta(`"content":"x"`) + "\n\ndata: " + finish("stop") + "\n\n"
	for name, after := range map[string]func(w http.ResponseWriter, r *http.Request){
		"end of body": func(http.ResponseWriter, *http.Request) {},
		"broken":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hangs":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs after the mark": func(w http.ResponseWriter, r *http.Request) {
			send(w, "data: [DONE]\n\n")
			flush(w)
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				readAll(r)
				send(w, reply)
				flush(w)
				after(w, r)
			}, Config{IdleTimeout: time.Second})
			if got := complete(t, p, hello()); got.Message.Content != "x" || !got.Usage.Estimated {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A word for the end that comes with every piece says nothing of the end.
func TestEndsThatAreNone(t *testing.T) {
	piece := func(text, word string) string {
		return `data: {"choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":"` + word + `"}]}` + "\n\n"
	}
	for name, said := range map[string]string{
		"null": piece("x", "null"), "none": piece("x", "none") + piece("y", "none"), "stop": piece("x", "stop") + piece("y", "stop"),
	} {
		p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			readAll(r)
			send(w, said)
			flush(w)
			panic(http.ErrAbortHandler)
		}, Config{})
		if e := failure(t, p, hello()); !e.Retryable || e.Usage.InputTokens == 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// No pause is short where the end comes with every piece.
func TestPausesBehindPieces(t *testing.T) {
	event := func(text, word string) []byte {
		return []byte(`{"choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":"` + word + `"}]}`)
	}
	for name, tc := range map[string]struct {
		events   [][]byte
		finished bool
	}{
		"behind all":       {[][]byte{event("x", ""), event("", "stop")}, true},
		"with the last":    {[][]byte{event("x", ""), event("y", "stop")}, true},
		"with every piece": {[][]byte{event("", "stop"), event("x", "stop"), event("", "stop")}, false},
		"null":             {[][]byte{event("x", "null"), event("", "null")}, false},
	} {
		finished := false
		r := replyReader{finished: func() { finished = true }}
		a := &assembly{known: func(string) bool { return false }}
		for _, e := range tc.events {
			if err := r.event(a, e); err != nil {
				t.Fatal(err)
			}
		}
		if finished != tc.finished {
			t.Errorf("%s: finished %v", name, finished)
		}
	}
}

func TestCAFile(t *testing.T) {
	server := httptest.NewTLSServer(says(message(`"content":"x"`, "stop")))
	server.Config.ErrorLog = nil
	defer server.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{BaseURL: server.URL, CAFile: path})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	complete(t, p, hello())
	stranger, err := New(Config{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if e := failure(t, stranger, hello()); e.Category != llm.CredentialConfig || e.Retryable {
		t.Errorf("%+v", e)
	}
	for _, file := range []string{path + ".missing", os.DevNull} {
		if _, err := New(Config{BaseURL: server.URL, CAFile: file}); err == nil {
			t.Errorf("CA file %s was taken", file)
		}
	}
}
