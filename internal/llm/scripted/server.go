package scripted

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/llm/openai"
)

// TaskHeader names the task that a request is made for; requests are listed by it.
const TaskHeader = openai.TaskHeader

// maxRequestBytes caps one request; conversations of models with the largest
// windows stay well below.
const maxRequestBytes = 64 << 20

// Server plays a script over HTTP, as an http.Handler:
//
//	POST   /v1/chat/completions   streamed or not
//	GET    /v1/models             the models the script names
//	GET    /healthz               200 without a key
//	GET    /debug/requests        received requests, a JSON object a line; ?task=NAME
//	DELETE /debug/requests        forget them
type Server struct {
	script  *Script
	player  *player
	records records
	// key is the SHA-256 of the key to ask for; nil asks for none.
	key []byte
	mux *http.ServeMux
	now func() time.Time
}

// NewServer serves a script. With a key, all but /healthz want it as bearer token.
func NewServer(script *Script, apiKey string) *Server {
	s := &Server{script: script, player: newPlayer(script), mux: http.NewServeMux(), now: time.Now}
	if apiKey != "" {
		sum := sha256.Sum256([]byte(apiKey))
		s.key = sum[:]
	}
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n") //nolint:errcheck // the client is gone
	})
	s.mux.HandleFunc("POST /v1/chat/completions", s.authorized(s.chat))
	s.mux.HandleFunc("GET /v1/models", s.authorized(s.listModels))
	s.mux.HandleFunc("GET /debug/requests", s.authorized(s.listRequests))
	s.mux.HandleFunc("DELETE /debug/requests", s.authorized(func(w http.ResponseWriter, _ *http.Request) {
		s.records.clear()
		w.WriteHeader(http.StatusNoContent)
	}))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Requests gives the received requests, oldest first.
func (s *Server) Requests() []Record { return s.records.list("") }

func (s *Server) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.key != nil {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			sum := sha256.Sum256([]byte(token))
			if subtle.ConstantTimeCompare(sum[:], s.key) != 1 {
				writeError(w, http.StatusUnauthorized, "invalid_api_key", "the bearer token is missing or wrong")
				return
			}
		}
		next(w, r)
	}
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	rec := Record{UnixNano: s.now().UnixNano(), Task: cut(r.Header.Get(TaskHeader), 256)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "invalid_request_error", "reading the request failed, or it is too large")
		return
	}
	req, conv, err := parseRequest(body, rec.Task)
	if err != nil {
		rec.Status = http.StatusBadRequest
		s.records.add(rec)
		writeError(w, rec.Status, "invalid_request_error", err.Error())
		return
	}
	rec.Model, rec.Messages, rec.Stream = cut(req.Model, 256), len(req.Messages), req.Stream
	rec.Turn, rec.Prompt, rec.Status = conv.position, firstChars(conv.prompt, promptChars), http.StatusOK
	rep, refused := s.player.next(conv)
	if refused != nil {
		rec.Status = refused.status
		s.records.add(rec)
		writeError(w, refused.status, "script_error", refused.message)
		return
	}
	if rep.fault != nil {
		rec.Fault, rec.Status = rep.fault.Kind, rep.fault.sentStatus()
	}
	seq := s.records.add(rec)
	if sleep(r.Context(), rep.delay) != nil {
		return
	}
	switch {
	case rep.fault != nil:
		s.fail(w, r, req, rep)
	case req.Stream:
		s.stream(w, req, rep)
	default:
		s.whole(w, req, rep)
	}
	if rep.fault == nil {
		http.NewResponseController(w).Flush() //nolint:errcheck // the client is gone
		s.records.sent(seq, s.now().UnixNano())
	}
}

func (s *Server) whole(w http.ResponseWriter, req *chatRequest, rep *reply) {
	data, err := rep.whole(req.Model)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(data) //nolint:errcheck // the client is gone
}

func (s *Server) stream(w http.ResponseWriter, req *chatRequest, rep *reply) {
	events, err := rep.events(req.Model, req.StreamOptions.IncludeUsage)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	writeEvents(w, append(events, []byte("[DONE]")))
}

// writeEvents sends server-sent events, each as soon as it is written.
func writeEvents(w http.ResponseWriter, events [][]byte) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flusher, _ := w.(http.Flusher)
	for _, e := range events {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", e); err != nil {
			return
		}
		if flusher != nil {
			flusher.Flush()
		}
	}
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) {
	type model struct {
		ID     string `json:"id"`
		Object string `json:"object"`
	}
	models := make([]model, 0, len(s.script.Models))
	for id := range s.script.Models {
		models = append(models, model{id, "model"})
	}
	slices.SortFunc(models, func(a, b model) int { return strings.Compare(a.ID, b.ID) })
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": models}) //nolint:errcheck // the client is gone
}

func (s *Server) listRequests(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	for _, rec := range s.records.list(r.URL.Query().Get("task")) {
		if enc.Encode(rec) != nil {
			return
		}
	}
}

// writeError answers in the protocol's own form.
func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(errorBody(code, message)) //nolint:errcheck // the client is gone
}

// errorBody is an error in the protocol's own form.
func errorBody(code, message string) []byte {
	data, err := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": code, "code": code}})
	if err != nil {
		return nil // strings always marshal
	}
	return data
}

// sleep waits, or gives up with the context.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// firstChars is the beginning of s, at most n characters.
func firstChars(s string, n int) string {
	end := 0
	for range n {
		if end >= len(s) {
			break
		}
		_, size := utf8.DecodeRuneInString(s[end:])
		end += size
	}
	return s[:end]
}
