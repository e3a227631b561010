package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

func processOf(p *engine.Process) api.Process {
	out := api.Process{ID: p.ID, PID: p.PID(), Command: p.Command, Started: p.Started, Exit: exitOf(p.Exit())}
	out.OutputBytes, out.Streamed = p.Output()
	return out
}

func exitOf(x *engine.Exit) *api.Exit {
	if x == nil {
		return nil
	}
	return &api.Exit{
		ExitCode: x.ExitCode, Signal: x.Signal, Unknown: x.ExitCode == nil && x.Signal == "",
		Killed: x.Killed, TimedOut: x.TimedOut, OOMKilled: x.OOMKilled, ProcessLimit: x.ProcessLimit,
		LeftoverKilled: x.LeftoverKilled, Duration: x.Duration,
	}
}

func listOf(processes []*engine.Process) []api.Process {
	out := make([]api.Process, len(processes))
	for i, p := range processes {
		out[i] = processOf(p)
	}
	return out
}

func (h *Handler) listProcesses(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, listOf(h.engine.Processes()))
}

func (h *Handler) getProcess(w http.ResponseWriter, r *http.Request) {
	p, err := h.engine.Process(r.PathValue("id"))
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, processOf(p))
}

// killProcess ends a process, or drops what is kept of one that has ended.
func (h *Handler) killProcess(w http.ResponseWriter, r *http.Request) {
	noContent(w, r, h.engine.Kill(r.Context(), r.PathValue("id")))
}

func (h *Handler) killAll(w http.ResponseWriter, r *http.Request) {
	noContent(w, r, h.engine.StopAll(r.Context()))
}

func (h *Handler) signalProcess(w http.ResponseWriter, r *http.Request) {
	var req api.SignalRequest
	err := readJSON(w, r, &req)
	if err == nil {
		err = h.engine.Signal(r.PathValue("id"), req.Signal)
	}
	noContent(w, r, err)
}

func (h *Handler) resizeProcess(w http.ResponseWriter, r *http.Request) {
	var req api.Window
	err := readJSON(w, r, &req)
	if err == nil {
		err = h.engine.Resize(r.PathValue("id"), engine.Window(req))
	}
	noContent(w, r, err)
}

// feedProcess gives the body to a process, and with ?eof the end of its input.
func (h *Handler) feedProcess(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), stdinDeadline)
	defer cancel()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(stdinDeadline))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	body := &bodyReader{r: http.MaxBytesReader(w, r.Body, maxRequestBytes)}
	taken, total, err := h.engine.Feed(ctx, r.PathValue("id"), body, r.URL.Query().Has("eof"))
	if err != nil {
		writeError(w, r, fmt.Errorf("%w; %d bytes were taken, %d in all", err, taken, total))
		return
	}
	writeJSON(w, http.StatusOK, api.StdinResult{Bytes: taken, TotalBytes: total})
}

func noContent(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
