package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// usageDeadline bounds the count of a workspace.
const usageDeadline = 30 * time.Second

// status tells of the sandbox; with ?usage it counts what is in the workspace.
func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	memory := h.engine.Memory()
	now := time.Now()
	used := h.engine.FirstActivity()
	if used.IsZero() {
		used = now
	}
	st := api.Status{
		Protocol:         api.Protocol,
		Workspace:        h.engine.Workspace(),
		UptimeSeconds:    now.Sub(h.began).Seconds(),
		WarmSeconds:      used.Sub(h.began).Seconds(),
		LastActivity:     h.engine.LastActivity().UTC(),
		Processes:        listOf(h.engine.Running()),
		Streams:          h.engine.Readers(),
		OOMKills:         memory.OOMKills,
		MemoryBytes:      memory.Used,
		MemoryLimitBytes: memory.Limit,
	}
	var err error
	if st.CapacityBytes, st.AvailableBytes, err = h.engine.FileSystem(); err != nil {
		writeError(w, r, err)
		return
	}
	if r.URL.Query().Has("usage") {
		if st.Usage, err = h.usage(r.Context()); err != nil {
			writeError(w, r, err)
			return
		}
	}
	writeJSON(w, http.StatusOK, st)
}

// usage counts beside other requests, and ends when one must be exclusive.
func (h *Handler) usage(ctx context.Context) (*api.Usage, error) {
	ctx, leave, err := h.engine.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, usageDeadline)
	defer cancel()
	u, err := h.engine.Usage(ctx)
	if err != nil {
		return nil, err
	}
	return (*api.Usage)(&u), nil
}

// exec runs a command. A client that goes away ends r's context, and with it
// the command.
// execFor runs a command. A guest's request counts before its body has come, so that a
// verify command ends it wherever it is.
func (h *Handler) execFor(w http.ResponseWriter, r *http.Request) {
	if isGuest(r) {
		h.entering(h.exec)(w, r)
		return
	}
	h.exec(w, r)
}

// isGuest: the runner passes the request on for somebody else.
func isGuest(r *http.Request) bool { return r.Header.Get(api.HeaderGuest) != "" }

func (h *Handler) exec(w http.ResponseWriter, r *http.Request) {
	var req api.ExecRequest
	if err := readJSON(w, r, &req); err != nil {
		writeError(w, r, err)
		return
	}
	if req.Isolated && isGuest(r) {
		writeError(w, r, fmt.Errorf("%w: isolated is for the runner's verify commands alone", tool.ErrInvalid))
		return
	}
	res, err := h.engine.ExecID(r.Context(), execID(r), tool.ExecRequest(req))
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, (*api.ExecResult)(res))
}

// execID is the client's own name for a command, or a new one.
func execID(r *http.Request) string {
	if id := r.Header.Get(api.HeaderExecID); id != "" {
		return id
	}
	return rand.Text()
}

func (h *Handler) lines(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context, req *api.LinesRequest) (*tool.Lines, error) {
		return h.engine.ReadLines(ctx, req.Path, tool.LineRange(req.LineRange))
	}, convert.FromLines)
}

func (h *Handler) grep(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context, req *api.GrepRequest) (*tool.GrepResult, error) {
		return h.engine.Grep(ctx, tool.GrepRequest(*req))
	}, convert.FromGrep)
}

func (h *Handler) glob(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context, req *api.GlobRequest) (*tool.GlobResult, error) {
		return h.engine.Glob(ctx, tool.GlobRequest(*req))
	}, convert.FromGlob)
}

// answer decodes a JSON request, does the work and encodes the result.
func answer[Q, R, A any](w http.ResponseWriter, r *http.Request, do func(context.Context, *Q) (*R, error), encode func(*R) *A) {
	req := new(Q)
	if err := readJSON(w, r, req); err != nil {
		writeError(w, r, err)
		return
	}
	res, err := do(r.Context(), req)
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, encode(res))
}

// readJSON decodes a bounded body. An unknown field is an error: a client that
// asks for something we do not know must not believe that it got it.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyDeadline))
	// Without a deadline again: it would end the watch for a client that leaves.
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	body := http.MaxBytesReader(w, r.Body, maxRequestBytes)
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one JSON value in the body", tool.ErrInvalid)
	}
	return nil
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fmt.Errorf("request body: %w: the limit is %d bytes", tool.ErrTooLarge, tooLarge.Limit)
	}
	// Told, not wrapped: a broken connection's errno is not the file system's.
	return fmt.Errorf("%w: request body: %s", tool.ErrInvalid, err.Error())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerDeadline))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; there is nobody to tell
}

func writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := convert.FromError(err)
	writeCode(w, r, e.Code.Status(), e)
}

func writeCode(w http.ResponseWriter, r *http.Request, status int, e api.Error) {
	w.Header().Set(api.HeaderError, string(e.Code))
	if r.Method == http.MethodHead {
		w.Header().Set(api.HeaderMessage, url.QueryEscape(e.Message))
	}
	writeJSON(w, status, e)
}
