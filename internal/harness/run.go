package harness

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Timing of an orderly end: all of it together stays under one second, which
// is what a cancelled run may take.
const (
	// grace is how long a call that was told to stop may take to return.
	grace = 300 * time.Millisecond
	// closeGrace is how long tools may take to end what they left running.
	closeGrace = 500 * time.Millisecond
)

// maxMessage bounds Result.Message; the transcript has the model's final reply
// in full.
const maxMessage = 64 << 10

// run is one run in this process: it takes the turns, and decides what follows from
// a reply. Its methods, and those of its parts, are called from one goroutine.
type run struct {
	cfg    Config
	clock  Clock
	log    *journal
	budget *budget
	models *caller
	tools  *toolbox
	checks *verifier
	// started is set once the first event was appended.
	started bool
	// isReady is set once the sandbox was there.
	isReady bool
	// untold is set where the model has not been told that the workspace was restored.
	untold bool
}

// Run works on a task until it is done or something stops it. It never panics
// and always gives a Result; what the Result says is in the transcript, whose
// last event is the terminal one. When ctx ends, Run returns within a second.
func Run(ctx context.Context, cfg Config) Result { return newRun(cfg.withDefaults()).run(ctx) }

func (r *run) run(ctx context.Context) Result {
	s := r.guard(r.replay)
	if ended := r.over(); s == nil && ended != nil {
		return r.endedBefore(ended)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s == nil {
		work := r.loop
		if r.cfg.Verifying {
			work = r.verifySeparately
		}
		s = r.guard(func() error { return work(ctx, cancel) })
	}
	return r.finish(ctx, s)
}

func newRun(cfg Config) *run {
	clock, task := cfg.Clock, cfg.Task
	log := &journal{transcript: cfg.Transcript, reporter: cfg.Reporter, clock: clock}
	l := task.Limits
	ledger := broker.NewLedger(broker.Limits{InputTokens: l.InputTokens, OutputTokens: l.OutputTokens, CostUSD: l.CostUSD}, cfg.Budget)
	spent := &budget{log: log, clock: clock, limits: l, ledger: ledger, allow: cfg.Allow, began: clock.Now()}
	return &run{
		cfg: cfg, clock: clock, log: log, budget: spent,
		models: &caller{
			log: log, budget: spent, clock: clock, retry: cfg.Retry, timeout: cfg.CallTimeout,
			broker: broker.New(broker.Options{
				Router: cfg.Models, Clock: clock, CoolDown: cfg.Retry.CoolDown, Priced: ledger.Priced() || cfg.Allow != nil, Rate: cfg.Rate,
			}),
		},
		tools:  &toolbox{tools: cfg.Tools, limit: task.Limits.Tool, clock: clock},
		checks: &verifier{log: log, executor: cfg.Executor, clock: clock},
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
	defer r.keepDeadline(cancel)()
	if reply := r.log.state.pendingReply(); reply != nil {
		if err := r.react(ctx, reply); err != nil {
			return err
		}
	}
	if r.untold {
		if err := r.tellRestored(nil); err != nil {
			return err
		}
	}
	for {
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
}

// keepDeadline ends the run when its time is up; the function that it gives takes that back.
func (r *run) keepDeadline(cancel context.CancelCauseFunc) (release func()) {
	active := r.budget.limits.Active
	if active <= 0 {
		return func() {}
	}
	left := active - r.clock.Now().Sub(r.budget.began)
	stop := r.clock.AfterFunc(max(left, 0), func() { cancel(errActive) })
	return func() { stop() }
}

// begin builds the conversation and records it.
func (r *run) begin(ctx context.Context) error {
	r.tools.open()
	r.models.specs = r.tools.specs
	if r.cfg.Resume.Events() > 0 {
		return r.resume(ctx)
	}
	e, docsErr := r.firstEvent(ctx)
	conv := firstConversation(e)
	ids, routeErr := r.models.route(ctx, conv.tokens())
	e.Models = ids
	r.started = true
	if err := r.log.record(e); err != nil {
		return err
	}
	if err := r.log.sync(PhaseStarting, "starting"); err != nil {
		return err
	}
	r.keep()
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

// firstEvent is what the run begins with.
func (r *run) firstEvent(ctx context.Context) (*transcript.RunStarted, error) {
	if f := r.cfg.Fork; f != nil {
		e := startedEvent(r.cfg.Task, "", r.tools.specs)
		f.started(e, r.cfg.Task.Verify, r.log.transcript.Redact)
		return e, nil
	}
	docs, err := r.projectDocs(ctx)
	return startedEvent(r.cfg.Task, systemPrompt(r.cfg.Task, docs), r.tools.specs), err
}

func (r *run) checkExecutor() error {
	if len(r.cfg.Task.Verify) > 0 && r.cfg.Executor == nil {
		return stopf(Internal, "The task has verifications and the run has nowhere to run them.")
	}
	return nil
}

// turn is one model call and what follows from the reply.
func (r *run) turn(ctx context.Context) error {
	if err := r.budget.check(ctx); err != nil {
		return err
	}
	r.log.turn = r.log.state.progress.Turns + 1
	if err := r.wrapUp(); err != nil {
		return err
	}
	if err := r.warnOnce(); err != nil {
		return err
	}
	resp, err := r.models.call(ctx)
	if err != nil {
		return err
	}
	return r.react(ctx, resp)
}

// react does what follows from a reply.
func (r *run) react(ctx context.Context, resp *llm.Response) error {
	switch classify(resp) {
	case replyCalls:
		return r.act(ctx, resp)
	case replyFiltered:
		s := stopf(ModelUnavailable, "%s stopped its reply for its content filter.", r.log.state.progress.Model)
		s.category = llm.ContentFilter
		return s
	case replyCut:
		return r.goOn(resp)
	case replyEmpty:
		return r.nudge(resp)
	case replyDone:
	}
	return r.conclude(ctx, resp)
}

// finish writes the terminal event, ends what tools left running, and gives
// the result. It must work whatever state the run is in.
func (r *run) finish(ctx context.Context, s *stop) Result {
	s.message = headTail(r.log.transcript.Redact(s.message), maxMessage)
	if failed := r.guard(func() error { return r.writeEnd(s) }); failed != nil {
		// A success that is not on record is none.
		if s.reason == Completed {
			s.message = ""
		}
		s = stopf(Internal, "The end of the run could not be recorded (%s). It was: %s %s", failed.message, s.reason, s.message)
	}
	r.tools.close(ctx)
	p := r.log.progress("", "")
	if end := r.log.state.last; !end.IsZero() {
		p.Time = end // as a process finds it that brings the news of this end later
	}
	r.log.reporter.close(p)
	verifications := r.log.state.verifications
	if s.verifications != nil {
		verifications = s.verifications
	}
	return Result{
		Reason: s.reason, Category: s.category, Message: s.message,
		Verifications: verifications, Progress: p, Transcript: p.Transcript,
	}
}
