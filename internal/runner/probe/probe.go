package probe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Defaults of a Prober.
const (
	DefaultTimeout  = 5 * time.Minute
	DefaultParallel = 4
	// MaxCalls is how many requests one model is sent at most, those that fail among them.
	MaxCalls = 30
)

const (
	// shortTurns and longTurns bound the conversations, which take 3 turns with one box
	// and 7 with five.
	shortTurns, longTurns = 6, 10
	// replyTokens bound one reply without tools: a model that thinks at length needs some
	// room. In conversations the entry's own limit holds.
	replyTokens = 4096
	// fewTokens is the limit that the model is to be cut off at.
	fewTokens = 32
)

// Prober has conversations with models.
type Prober struct {
	// Connect makes the provider of a candidate.
	Connect func(models.Candidate) (llm.Provider, error)
	// Timeout bounds the probe of one model; 0 is DefaultTimeout.
	Timeout time.Duration
	// MaxCostUSD bounds what one model whose price is known may cost; 0 is no bound.
	MaxCostUSD decimal.Decimal
	// Parallel models are probed at once; 0 is DefaultParallel.
	Parallel int
	// Retry is for failures that may pass; without Attempts there are 2.
	Retry broker.Retry
	// Secrets never come into a report, whatever servers say.
	Secrets []string
	// Now is the clock of latencies; nil is the wall clock.
	Now func() time.Time
}

// Run probes the candidates and gives their reports in the same order. Done is told of
// each as soon as it is there, one at a time; it may be nil.
func (p Prober) Run(ctx context.Context, candidates []models.Candidate, done func(Report)) []Report {
	p = p.withDefaults()
	reports := make([]Report, len(candidates))
	finished := make(chan Report, len(candidates))
	var g errgroup.Group
	g.SetLimit(p.Parallel)
	go func() {
		defer close(finished)
		for i, c := range candidates {
			g.Go(func() error {
				reports[i] = p.probe(ctx, c)
				finished <- reports[i]
				return nil
			})
		}
		_ = g.Wait() // what goes wrong is in the reports
	}()
	for r := range finished {
		if done != nil {
			done(r)
		}
	}
	return reports
}

func (p Prober) withDefaults() Prober {
	p.Timeout = cmp.Or(p.Timeout, DefaultTimeout)
	p.Parallel = cmp.Or(p.Parallel, DefaultParallel)
	p.Retry.Attempts = cmp.Or(p.Retry.Attempts, 2)
	p.Retry.Patience = cmp.Or(p.Retry.Patience, 20*time.Second)
	p.Retry.AfterCap = cmp.Or(p.Retry.AfterCap, 10*time.Second)
	if p.Now == nil {
		p.Now = time.Now
	}
	return p
}

// subject is one model under probe.
type subject struct {
	Prober
	candidate models.Candidate
	observer  *observer
	report    *Report
	// budget and rate are those of all conversations with the model.
	budget *broker.Ledger
	rate   *broker.Rate
}

// probe finds out about one model. It always gives a report.
func (p Prober) probe(ctx context.Context, c models.Candidate) Report {
	ctx, expire := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("%w: %s", context.DeadlineExceeded, p.Timeout))
	defer expire()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := Report{Model: c.Model.ID, Provider: c.Provider.Name, Upstream: c.Model.Upstream, Declared: c.Model.ToolCalls}
	provider, err := p.Connect(c)
	if err != nil {
		r.Outcome, r.Category, r.Message = FixSetup, llm.CredentialConfig, fmt.Sprintf("connecting to provider %s: %v", c.Provider.Name, err)
		return r
	}
	hide := transcript.NewRedactor(p.Secrets).String
	s := &subject{Prober: p, candidate: c, report: &r, rate: broker.NewRate(), observer: &observer{
		upstream: c.Model.Upstream, maxOutput: c.Model.MaxOutputTokens, hide: hide, now: p.Now, stop: stop, inner: provider,
	}}
	limits := broker.Limits{}
	if c.Model.Pricing != nil {
		limits.CostUSD = p.MaxCostUSD
	}
	s.budget = broker.NewLedger(limits, nil)
	quirks := s.judge(ctx, provider)
	seen := s.observer.so()
	r.Calls, r.LatencyMillis, r.Usage, r.Findings = seen.calls, seen.latency(), s.budget.Spent().Usage, seen.findings
	if c.Model.Pricing != nil {
		cost := s.budget.Spent().CostUSD
		r.CostUSD = &cost
	}
	r.Changes = s.changes(quirks, seen.window)
	r.Message = hide(r.Message)
	for i, f := range r.Findings {
		r.Findings[i] = hide(f)
	}
	return r
}

// judge measures the level, and gives the provider with which that was done and the
// quirks that it needs beyond those of the entry.
func (s *subject) judge(ctx context.Context, provider llm.Provider) learned {
	short := s.converse(ctx, 1, shortTurns)
	known := learnedOf(provider, s.candidate)
	switch f := short.failure; {
	case f != nil && f.category == llm.TextToolCall:
		return s.salvage(ctx, short, known)
	case f != nil && f.category == llm.ProviderUnsupported && s.refusesTools(ctx, f):
		f.fault = modelFault
		f.message = "It answers without tools, and refuses them. " + f.message
		fallthrough
	case f != nil:
		s.fail(f, short)
	default:
		s.measure(ctx, short)
	}
	return learnedOf(provider, s.candidate)
}

// measure tells a model that passed the short conversation from one that does not lose
// its way in a longer one.
func (s *subject) measure(ctx context.Context, short conversation) {
	long := s.converse(ctx, len(colours), longTurns)
	s.report.Measured = models.Good
	if long.failure == nil && len(short.slips)+len(long.slips) == 0 && s.observer.so().repairs == 0 {
		s.report.Measured = models.Excellent
	}
	for _, slip := range append(short.slips, long.slips...) {
		s.observer.find("the model %s", slip)
	}
	s.report.Outcome = Fits
	switch f, fits := long.failure, s.report.Measured.AtLeast(s.report.Declared); {
	case f != nil && fits:
		s.observer.find("of %d boxes in a row the model opened %d: %s", len(colours), long.opened, f.message)
	case f != nil:
		s.report.Outcome, s.report.Category, s.report.Message = f.fault.outcome(), f.category, f.message
		if f.fault != modelFault {
			s.report.Measured = "" // it might have passed
		}
	case !fits:
		s.report.Outcome, s.report.Category = BelowLevel, llm.ModelQuality
		s.report.Message = "It did all that it was asked to, but not everything at once."
	}
	if long.failure == nil || long.failure.fault == modelFault {
		s.checkOutputLimit(ctx)
	}
}

// fail is the end of a probe that did not pass the short conversation.
func (s *subject) fail(f *failure, c conversation) {
	s.report.Outcome, s.report.Category, s.report.Message = f.fault.outcome(), f.category, f.message
	if f.fault != modelFault {
		return
	}
	s.report.Measured = models.None
	if c.found {
		s.report.Measured = models.Limited
	}
	for _, slip := range c.slips {
		s.observer.find("the model %s", slip)
	}
	if s.report.Measured.AtLeast(s.report.Declared) {
		s.report.Outcome = Fits
	}
}

// conversation is how one went.
type conversation struct {
	// failure is nil where it was passed.
	failure *failure
	found   bool
	opened  int
	slips   []string
}

// converse has a conversation about n boxes, by the loop of a run.
func (s *subject) converse(ctx context.Context, n, turns int) conversation {
	b := newBoxes(n, secret)
	s.observer.begin()
	res := harness.Run(ctx, harness.Config{
		Task:   harness.Task{Name: "probe", Prompt: b.prompt(), Limits: harness.Limits{Turns: turns}},
		Models: broker.FixedRouter{broker.ModelOf(s.candidate, s.observer)}, Tools: b, Retry: s.Retry, Budget: s.budget, Rate: s.rate,
	})
	c := b.result()
	switch {
	case res.Reason == harness.DeadlineExceeded:
		c.failure = &failure{fault: noFault, message: fmt.Sprintf("The probe of this model did not end within %s.", s.Timeout)}
	case res.Reason != harness.Completed:
		c.failure = failureOf(res, s.observer.so())
	case c.opened < n:
		c.failure = &failure{modelFault, llm.ModelQuality, fmt.Sprintf("It said that it was done, and had opened %d of %d boxes.", c.opened, n)}
	case !strings.Contains(res.Message, b.word):
		c.failure = &failure{modelFault, llm.ModelQuality, "Its answer is not what the tool gave."}
	}
	if cut := s.observer.so().cutAt; cut > 0 && c.failure != nil && c.failure.fault == modelFault {
		c.failure = &failure{fault: noFault, message: fmt.Sprintf("A reply was cut off at %d tokens, where the entry allows %d: more was not affordable, or did not fit the window.",
			cut, s.candidate.Model.MaxOutputTokens)}
	}
	return c
}

// refusesTools says that the server answers without tools and refuses them again, and is
// not one that was started without what they need.
func (s *subject) refusesTools(ctx context.Context, f *failure) bool {
	const words = "Answer with the word yes."
	if serverFlag.MatchString(f.message) {
		return false
	}
	if _, err := s.ask(ctx, replyTokens, words, nil); err != nil {
		return false
	}
	_, err := s.ask(ctx, replyTokens, words, newBoxes(1, secret).Specs())
	if err == nil {
		f.fault, f.message = serverFault, "It refused a request, and answers the same one by now: probe it again. "+f.message
		return false
	}
	var le *llm.Error
	return errors.As(err, &le) && le.Category == llm.ProviderUnsupported
}

// ask asks one question.
func (s *subject) ask(ctx context.Context, maxTokens int, words string, tools []llm.ToolSpec) (*llm.Response, error) {
	m := s.candidate.Model
	// A text has fewer tokens than letters; servers add some of their own.
	input := len(words) + 100
	for _, t := range tools {
		input += len(t.Name) + len(t.Description) + len(t.Parameters) + 100
	}
	hold, err := s.budget.Reserve(ctx, broker.Ask{Pricing: m.Pricing, Input: int64(input), Output: int64(min(maxTokens, m.MaxOutputTokens))})
	if err != nil {
		return nil, err
	}
	defer hold.Release()
	if err := s.rate.Pace(ctx, broker.Wall{}, broker.ModelOf(s.candidate, s.observer)); err != nil {
		return nil, err
	}
	resp, err := s.observer.Complete(ctx, llm.Request{
		Model: m.Upstream, MaxOutputTokens: hold.MaxOutput,
		Messages: []llm.Message{{Role: llm.RoleUser, Content: words}}, Tools: tools,
	})
	var le *llm.Error
	switch {
	case err == nil:
		hold.Settle(s.priced(resp.Usage))
	case errors.As(err, &le):
		hold.Settle(s.priced(le.Usage))
	}
	return resp, err
}

// priced is usage with what it costs.
func (s *subject) priced(u llm.Usage) broker.Spent {
	tokens := models.Tokens{Input: u.InputTokens, CachedInput: u.CachedInputTokens, Output: u.OutputTokens}
	return broker.Spent{Usage: u, CostUSD: s.candidate.Model.Pricing.Cost(tokens)}
}

// checkOutputLimit asks for more than the limit allows.
func (s *subject) checkOutputLimit(ctx context.Context) {
	resp, err := s.ask(ctx, fewTokens, "Count from 1 to 200, in words, one a line.", nil)
	if err == nil && !resp.Usage.Estimated && resp.Usage.OutputTokens > 2*fewTokens {
		s.observer.find("the limit of output tokens is ignored: %d came where %d were allowed, so no cost limit is sure to hold", resp.Usage.OutputTokens, fewTokens)
	}
}

// salvage tries a model that writes its calls as text once more, with the quirk that
// reads them there.
func (s *subject) salvage(ctx context.Context, short conversation, known learned) learned {
	s.fail(short.failure, short)
	c := s.candidate
	c.Model.Quirks.TextToolCalls = openai.TextToolCallsSalvage
	provider, err := s.Connect(c)
	if err != nil {
		return known
	}
	s.observer.use(provider)
	again := s.converse(ctx, 1, shortTurns)
	switch f := again.failure; {
	case f == nil:
		s.observer.find("with textToolCalls: salvage it passes the conversation of two calls")
		known = learnedOf(provider, s.candidate)
		known.level = models.Good
	case f.fault == modelFault:
		s.observer.find("with textToolCalls: salvage it does not work, either: %s", f.message)
	default:
		s.observer.find("textToolCalls: salvage was not tried to the end: %s", f.message)
		if s.report.Outcome == BelowLevel {
			s.report.Measured, s.report.Outcome, s.report.Category = "", f.fault.outcome(), f.category
		}
	}
	return known
}

// secret is a word that no model guesses.
func secret() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "w" + hex.EncodeToString(b[:])
}
