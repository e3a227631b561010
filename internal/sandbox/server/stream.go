package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// exitDeadline bounds the wait for a process that is ended with its stream.
const exitDeadline = 10 * time.Second

// execStream starts a process and streams its output. Its client may go away.
func (h *Handler) execStream(w http.ResponseWriter, r *http.Request) {
	var req api.StreamRequest
	if err := readJSON(w, r, &req); err != nil {
		writeError(w, r, err)
		return
	}
	p, reader, err := h.engine.Start(r.Context(), execID(r), engine.StartRequest{
		Argv: req.Argv, Shell: req.Shell, Cwd: req.Cwd, Env: req.Env, Stdin: req.Stdin, StdinOpen: req.StdinOpen,
		TimeoutSeconds: req.TimeoutSeconds, MergeStderr: req.MergeStderr, Window: (*engine.Window)(req.Window),
	})
	if err != nil {
		writeError(w, r, err)
		return
	}
	h.stream(w, r, p, reader)
}

// followProcess streams the output after a position.
func (h *Handler) followProcess(w http.ResponseWriter, r *http.Request) {
	after := r.URL.Query().Get("after")
	if after == "" {
		after = r.Header.Get("Last-Event-ID") // of who follows standard events by itself
	}
	var position int64
	var err error
	if after != "" {
		if position, err = strconv.ParseInt(after, 10, 64); err != nil {
			writeError(w, r, fmt.Errorf("%w: after=%q is no position", tool.ErrInvalid, after))
			return
		}
	}
	p, reader, err := h.engine.Follow(r.PathValue("id"), position)
	if err != nil {
		writeError(w, r, err)
		return
	}
	h.stream(w, r, p, reader)
}

// stream sends events until the process has ended or the client is gone.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, p *engine.Process, reader *engine.Reader) {
	defer reader.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := &events{w: w, rc: http.NewResponseController(w)}
	s.json(api.EventStart, "", processOf(p))
	ctx := r.Context()
	for s.flush() == nil {
		b, err := reader.Next(ctx, h.opts.Heartbeat)
		if errors.Is(err, tool.ErrKilled) && ctx == r.Context() {
			// All is ended, for another request. It has to wait for the process anyway, so
			// that how that ended can be told.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), exitDeadline)
			defer cancel()
			ctx = last
			continue
		}
		if e, ok := w.(*ended); ok {
			e.extend()
		}
		if err != nil {
			s.json(api.EventError, "", convert.FromError(tool.ErrKilled))
			_ = s.flush()
			return
		}
		s.batch(b)
		if b.Done {
			s.json(api.EventExit, "", exitOf(p.Exit()))
			_ = s.flush() // the client has gone; it can ask again
			return
		}
	}
}

// events writes server-sent events.
type events struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
}

func (s *events) batch(b engine.Batch) {
	if b.Gap != nil {
		s.json(api.EventLost, position(b.Gap.To), api.Lost{
			From: b.Gap.From, To: b.Gap.To,
			StdoutOffset: b.Gap.Offsets[engine.Stdout], StderrOffset: b.Gap.Offsets[engine.Stderr],
		})
	}
	for _, c := range b.Chunks {
		name := api.EventStdout
		if c.Stream == engine.Stderr {
			name = api.EventStderr
		}
		// An api.Output, without the detour.
		s.begin(name, position(c.End()))
		s.buf = fmt.Appendf(s.buf, `data: {"offset":%d,"data":"`, c.Offset)
		s.buf = base64.StdEncoding.AppendEncode(s.buf, c.Data)
		s.buf = append(s.buf, "\"}\n\n"...)
	}
	if len(s.buf) == 0 && !b.Done {
		s.buf = append(s.buf, ": alive\n\n"...)
	}
}

func position(n int64) string { return strconv.FormatInt(n, 10) }

func (s *events) begin(name api.Event, id string) {
	s.buf = append(append(append(s.buf, "event: "...), name...), '\n')
	if id != "" {
		s.buf = append(append(append(s.buf, "id: "...), id...), '\n')
	}
}

func (s *events) json(name api.Event, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of the API that has no JSON
	}
	s.begin(name, id)
	s.buf = append(append(append(s.buf, "data: "...), data...), "\n\n"...)
}

// flush sends what was written; an error says that the client does not take it.
func (s *events) flush() error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(streamDeadline)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf); err != nil {
		return err
	}
	s.buf = s.buf[:0]
	return s.rc.Flush()
}
