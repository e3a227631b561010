package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// Handler answers the requests of the interface under /v1 with an engine. It asks
// nobody who they are: whoever serves it on a connection decides who may send
// requests there. On the sandbox's socket that is the door.
type Handler struct {
	opts   Options
	engine *engine.Engine
	began  time.Time
	mux    *http.ServeMux
}

// NewHandler opens the workspace; SocketPath is not used. The caller must Close it.
func NewHandler(opts Options) (*Handler, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxFileBytes <= 0 {
		opts.MaxFileBytes = defaultMaxFileBytes
	}
	if opts.Heartbeat <= 0 {
		opts.Heartbeat = defaultHeartbeat
	}
	opts.Engine.Log = opts.Log
	e, err := engine.New(opts.Workspace, opts.Engine)
	if err != nil {
		return nil, err
	}
	h := &Handler{opts: opts, engine: e, began: time.Now()}
	h.mux = h.routes()
	return h, nil
}

// Close kills what still runs, and closes the workspace.
func (h *Handler) Close() error { return h.engine.Close() }

// handlers are those of all routes but files, see ServeHTTP.
func (h *Handler) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /v1/status":                 h.status,
		"POST /v1/exec":                  h.execFor,
		"POST /v1/exec/stream":           h.entering(h.execStream),
		"GET /v1/processes":              h.listProcesses,
		"DELETE /v1/processes":           h.killAll,
		"GET /v1/processes/{id}":         h.getProcess,
		"DELETE /v1/processes/{id}":      h.killProcess,
		"GET /v1/processes/{id}/stream":  h.entering(h.followProcess),
		"POST /v1/processes/{id}/signal": h.entering(h.signalProcess),
		"POST /v1/processes/{id}/stdin":  h.entering(h.feedProcess),
		"POST /v1/processes/{id}/window": h.entering(h.resizeProcess),
		"GET /v1/backup":                 h.entering(h.backup),
		"PUT /v1/backup":                 h.restore,
		"POST /v1/lines":                 h.entering(h.lines),
		"POST /v1/grep":                  h.entering(h.grep),
		"POST /v1/glob":                  h.entering(h.glob),
		"GET /v1/openapi.json":           openAPI,
	}
}

func (h *Handler) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, handler := range h.handlers() {
		mux.HandleFunc(pattern, handler)
	}
	mux.HandleFunc("/", noRoute)
	return mux
}

// ServeHTTP implements http.Handler. File paths are taken from the URL as it was
// sent: a mux would answer ".." with a redirect instead of a refusal.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.contain(w, r)
	// The last request's deadline must not end this one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	if strings.HasPrefix(r.URL.EscapedPath(), api.FilesPrefix) {
		h.entering(h.files)(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// entering lets a request in beside others, and ends it when one must be exclusive.
// Commands do so themselves.
func (h *Handler) entering(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, leave, err := h.engine.Enter(r.Context())
		if err != nil {
			writeError(w, r, err)
			return
		}
		defer leave()
		ew, answered := endWith(ctx, w)
		defer answered()
		next(ew, r.WithContext(ctx))
	}
}

// contain turns a bug in one request into that request's error.
func (h *Handler) contain(w http.ResponseWriter, r *http.Request) {
	if v := recover(); v != nil {
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		h.opts.Log.Error("Recovered from a panic", "method", r.Method, "path", r.URL.Path, "panic", v)
		writeError(w, r, fmt.Errorf("bug in the sandbox server: %v", v))
	}
}

func noRoute(w http.ResponseWriter, r *http.Request) {
	writeCode(w, r, http.StatusNotFound, api.Error{Code: api.CodeRoute, Message: r.Method + " " + r.URL.Path + ": no such route"})
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerDeadline))
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(api.OpenAPI()) // the client has gone; there is nobody to tell
}
