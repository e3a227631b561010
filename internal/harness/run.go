package harness

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Timing of an orderly end: all of it together stays under one second, which
// is what a cancelled run may take.
const (
	// grace is how long a call that was told to stop may take to return.
	grace = 300 * time.Millisecond
	// closeGrace is how long tools may take to end what they left running.
	closeGrace = 500 * time.Millisecond
)

// maxMessage bounds Result.Message; the transcript has the model's last words
// in full.
const maxMessage = 64 << 10

// run is the state of one run. Its methods are called from one goroutine.
type run struct {
	cfg   Config
	clock Clock
	// began is when the run's active time starts to count; for a resumed run
	// that lies before this process.
	began time.Time
	// unheeded is the last reply of a resumed run, when it was not acted on yet.
	unheeded *llm.Response
	// specs are offered to the model; tools tells which names there are.
	specs []llm.ToolSpec
	tools map[string]bool
	conv  *conversation
	pool  *pool
	// open are the recorded calls without a result, in order.
	open []llm.ToolCall
	// callIDs are all tool call ids of the run: a second use gets a new one.
	callIDs map[string]bool
	loops   loopDetector

	// started is set once the first event was appended.
	started bool
	// current is the turn that events belong to: the one of the next or the
	// last reply, counting from 1.
	current  int
	progress Progress
	report   *reporter
	// empties counts replies in a row without anything in them.
	empties int
	// warned is set once the model was told to wrap up.
	warned bool
	// wrapUpAt is the turn before which the model was told that the user wants
	// the run to end; 0 is never.
	wrapUpAt int
	// verifications say how each last went.
	verifications []VerificationResult
	// isReady is set once the sandbox was there.
	isReady bool
	// unproven is set from a failed verification until all have passed.
	unproven bool
	// idleClaims counts how often in a row the model called a failing task done
	// without a single tool call in between.
	idleClaims int
}

// Run works on a task until it is done or something stops it. It never panics
// and always gives a Result; what the Result says is in the transcript, whose
// last event is the terminal one. When ctx ends, Run returns within a second.
func Run(ctx context.Context, cfg Config) Result {
	if res, ended := endedBefore(cfg); ended {
		return res
	}
	r := newRun(cfg.withDefaults())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := r.guard(func() error { return r.loop(ctx, cancel) })
	return r.finish(ctx, s)
}

func newRun(cfg Config) *run {
	return &run{
		cfg:     cfg,
		clock:   cfg.Clock,
		began:   cfg.Clock.Now(),
		tools:   map[string]bool{},
		callIDs: map[string]bool{},
		report:  newReporter(cfg.Progress, cfg.Clock),
	}
}

// guard turns a panic into an Internal stop.
func (r *run) guard(f func() error) (s *stop) {
	defer func() {
		if p := recover(); p != nil {
			s = stopf(Internal, "The harness failed: %v", p)
			s.detail = string(debug.Stack())
		}
	}()
	return asStop(f())
}

// loop takes turns until one stops the run.
func (r *run) loop(ctx context.Context, cancel context.CancelCauseFunc) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if active := r.cfg.Task.Limits.Active; active > 0 {
		left := active - r.clock.Now().Sub(r.began)
		defer r.clock.AfterFunc(max(left, 0), func() { cancel(errActive) })()
	}
	if r.unheeded != nil {
		if err := r.react(ctx, r.unheeded); err != nil {
			return err
		}
	}
	for {
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
}

// begin builds the conversation and records it.
func (r *run) begin(ctx context.Context) error {
	if r.cfg.Tools != nil {
		r.specs = r.cfg.Tools.Specs()
	}
	for _, s := range r.specs {
		r.tools[s.Name] = true
	}
	r.pool = newPool(r.cfg.Models, r.clock, r.cfg.Retry.CoolDown, r.cfg.Task.Limits.CostUSD.IsPositive())
	if len(r.cfg.Resume) > 0 {
		return r.resume(ctx)
	}
	docs, docsErr := r.projectDocs(ctx)
	system := systemPrompt(r.cfg.Task, docs)
	r.conv = newConversation(r.specs)
	r.conv.add(llm.Message{Role: llm.RoleSystem, Content: system}, llm.Message{Role: llm.RoleUser, Content: r.cfg.Task.Prompt})
	ids, routeErr := r.route(ctx)
	r.started = true
	if err := r.append(startedEvent(r.cfg.Task, system, r.specs, ids)); err != nil {
		return err
	}
	if err := r.sync(PhaseStarting, "starting"); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	case docsErr != nil:
		return docsErr
	case routeErr != nil:
		return routeErr
	}
	return r.checkExecutor()
}

func (r *run) checkExecutor() error {
	if len(r.cfg.Task.Verify) > 0 && r.cfg.Executor == nil {
		return stopf(Internal, "The task has verifications and the run has nowhere to run them.")
	}
	return nil
}

// route asks for the candidates and gives their ids.
func (r *run) route(ctx context.Context) ([]string, error) {
	candidates, err := r.pool.candidates(ctx, r.conv.tokens())
	if err != nil {
		s := stopf(ModelUnavailable, "No model can be used: %v", err)
		s.category = llm.ProviderUnsupported
		return nil, s
	}
	ids := make([]string, len(candidates))
	for i, m := range candidates {
		ids[i] = m.ID
	}
	return ids, nil
}

// turn is one model call and what follows from the reply.
func (r *run) turn(ctx context.Context) error {
	if err := r.checkLimits(ctx); err != nil {
		return err
	}
	r.current = r.progress.Turns + 1
	if err := r.wrapUp(); err != nil {
		return err
	}
	if err := r.warnOnce(); err != nil {
		return err
	}
	resp, err := r.callModel(ctx)
	if err != nil {
		return err
	}
	return r.react(ctx, resp)
}

// react does what follows from a reply.
func (r *run) react(ctx context.Context, resp *llm.Response) error {
	kind := classify(resp)
	if kind != replyEmpty {
		r.empties = 0
	}
	switch kind {
	case replyCalls:
		return r.act(ctx, resp)
	case replyFiltered:
		s := stopf(ModelUnavailable, "%s stopped its reply for its content filter.", r.progress.Model)
		s.category = llm.ContentFilter
		return s
	case replyCut:
		return r.goOn(resp)
	case replyEmpty:
		return r.nudge(resp)
	}
	return r.conclude(ctx, resp)
}

// finish writes the terminal event, ends what tools left running, and gives
// the result. It must work whatever state the run is in.
func (r *run) finish(ctx context.Context, s *stop) Result {
	s.message = headTail(r.cfg.Transcript.Redact(s.message), maxMessage)
	r.progress.Phase, r.progress.Activity = "", ""
	r.progress.Time = r.clock.Now()
	if failed := r.guard(func() error { return r.writeEnd(s) }); failed != nil {
		// A success that is not on record is none.
		if s.reason == Completed {
			s.message = ""
		}
		s = stopf(Internal, "The end of the run could not be recorded (%s). It was: %s %s", failed.message, s.reason, s.message)
	}
	r.closeTools(ctx)
	r.report.close(r.progress)
	return Result{
		Reason: s.reason, Category: s.category, Message: s.message,
		Verifications: r.verifications, Progress: r.progress, Transcript: r.progress.Transcript,
	}
}

func (r *run) closeTools(ctx context.Context) {
	if r.cfg.Tools == nil {
		return
	}
	ctx, cancel := withTimeout(context.WithoutCancel(ctx), r.clock, closeGrace, context.DeadlineExceeded)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // the run has ended, on record; nothing is left to tell
		_ = r.cfg.Tools.Close(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
