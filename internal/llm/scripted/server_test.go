package scripted

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm/openai"
)

func TestAuthorization(t *testing.T) {
	p, server, url := overHTTP(t, mustParse(t, script), "the-key", openai.Quirks{})
	complete(t, p, user("hello"))
	for path, want := range map[string]int{"/healthz": 200, "/v1/models": 401, "/debug/requests": 401} {
		if status, _ := get(t, http.MethodGet, url+path, ""); status != want {
			t.Errorf("%s without a key: %d, want %d", path, status, want)
		}
	}
	status, body := get(t, http.MethodGet, url+"/debug/requests?task=demo", "the-key")
	if status != 200 || strings.Contains(body, "the-key") || strings.Count(body, "\n") != 1 {
		t.Errorf("debug: %d %s", status, body)
	}
	var rec Record
	if err := json.Unmarshal([]byte(body), &rec); err != nil {
		t.Fatal(err)
	}
	if rec.UnixNano == 0 {
		t.Error("no time")
	}
	rec.UnixNano, rec.SentUnixNano = 0, 0
	want := Record{Seq: 1, Task: "demo", Model: "m", Messages: 2, Stream: true, Status: 200, Prompt: "hello"}
	if d := cmp.Diff(want, rec); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if _, body := get(t, http.MethodGet, url+"/v1/models", "the-key"); !strings.Contains(body, `"id":"small"`) {
		t.Errorf("models: %s", body)
	}
	if _, body := get(t, http.MethodGet, url+"/debug/requests?task=other", "the-key"); body != "" {
		t.Errorf("another task's requests: %s", body)
	}
	if status, _ := get(t, http.MethodDelete, url+"/debug/requests", "the-key"); status != 204 || len(server.Requests()) != 0 {
		t.Errorf("delete: %d, %d left", status, len(server.Requests()))
	}
}

func get(t *testing.T, method, url, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRefusesWhatStrictServersRefuse(t *testing.T) {
	server := NewServer(mustParse(t, script), "")
	for name, body := range map[string]string{
		"not JSON":          `{`,
		"no messages":       `{"model":"m"}`,
		"tool without":      `{"messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"1"}]}`,
		"tool null":         `{"messages":[{"role":"tool","content":null}]}`,
		"role of its own":   `{"messages":[{"role":"robot","content":"x"}]}`,
		"messages no array": `{"messages":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body)))
			if w.Code != http.StatusBadRequest {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestUsageOnlyWhenAskedFor(t *testing.T) {
	server := NewServer(mustParse(t, script), "")
	for options, want := range map[string]bool{`{"include_usage":true}`: true, `{}`: false} {
		body := `{"model":"m","stream":true,"stream_options":` + options + `,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body)))
		if got := strings.Contains(w.Body.String(), `"cached_tokens":60`); got != want {
			t.Errorf("%s: usage sent is %v\n%s", options, got, w.Body)
		}
		events := bufio.NewScanner(bytes.NewReader(w.Body.Bytes()))
		last := ""
		for events.Scan() {
			if events.Text() != "" {
				last = events.Text()
			}
		}
		if last != "data: [DONE]" {
			t.Errorf("last event %q", last)
		}
	}
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script.yaml")
	if err := os.WriteFile(path, []byte("turns: [{text: hi, fault: {kind: hang}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	addr, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- Serve(ctx, Options{Addr: "127.0.0.1:0", ScriptPath: path, Ready: func(a net.Addr) { addr <- a }})
	}()
	p, err := openai.New(openai.Config{BaseURL: "http://" + (<-addr).String() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	time.AfterFunc(5*time.Millisecond, cancel)
	if _, err := p.Complete(t.Context(), user("x")); err == nil {
		t.Error("a request that hangs was answered")
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := Serve(t.Context(), Options{ScriptPath: path + ".missing"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing script: %v", err)
	}
	if err := Serve(t.Context(), Options{ScriptPath: path, Addr: "127.0.0.1:-1"}); err == nil {
		t.Error("a wrong address was taken")
	}
}
