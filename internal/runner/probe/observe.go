package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
)

// maxFindings bounds what is said of one model.
const maxFindings = 12

// errCalls is the cause of the end of a probe that sent too many requests.
var errCalls = fmt.Errorf("%w: the probe of a model sends at most %d requests", harness.ErrInterrupted, MaxCalls)

// observer is a provider that notes what goes through it, and ends the probe with
// stop where that is too much.
type observer struct {
	upstream string
	// maxOutput is the entry's limit of one reply.
	maxOutput int
	// hide takes secrets out of what the server says.
	hide func(string) string
	now  func() time.Time
	stop context.CancelCauseFunc

	mu    sync.Mutex
	inner llm.Provider
	seen  seen
}

// seen is what an observer has noted.
type seen struct {
	calls     int
	latencies []time.Duration
	// window is the context window that a refusal named.
	window int
	// last is the last failure.
	last     *llm.Error
	findings []string
	// cutAt is a limit of output below the entry's at which a reply was cut off; 0 for none.
	cutAt int
	// repairs counts replies that we only could use since we are lenient, and those
	// that we could not use.
	repairs int
}

// Complete implements llm.Provider.
func (o *observer) Complete(ctx context.Context, req llm.Request) (*llm.Response, error) {
	inner, ok := o.count()
	if !ok {
		o.stop(errCalls)
		return nil, &llm.Error{Category: llm.Stopped, Message: errCalls.Error(), Err: errCalls}
	}
	began := o.now()
	resp, err := inner.Complete(ctx, req)
	took := o.now().Sub(began)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && resp != nil {
		o.conceal(resp)
		o.seen.answered(resp, o.upstream, took)
		if n := req.MaxOutputTokens; resp.FinishReason == llm.FinishLength && len(req.Tools) > 0 && n > 0 && n < o.maxOutput {
			o.seen.cutAt = n
		}
	}
	var le *llm.Error
	if errors.As(err, &le) {
		o.seen.failed(le)
	}
	return resp, err
}

// conceal hides secrets in what is told of a reply in part, which hides none that are
// cut.
func (o *observer) conceal(resp *llm.Response) {
	resp.Model = o.hide(resp.Model)
	for i := range resp.Message.ToolCalls {
		c := &resp.Message.ToolCalls[i]
		c.Name, c.Arguments = o.hide(c.Name), o.hide(c.Arguments)
	}
}

// begin is called before each conversation.
func (o *observer) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.cutAt = 0
}

// count counts one more call, if it may be made.
func (o *observer) count() (llm.Provider, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen.calls == MaxCalls {
		return nil, false
	}
	o.seen.calls++
	return o.inner, true
}

// use changes the provider.
func (o *observer) use(p llm.Provider) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inner = p
}

// so gives what was noted so far. A call that was given up may still be under way.
func (o *observer) so() seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.seen
	out.latencies, out.findings = slices.Clone(out.latencies), slices.Clone(out.findings)
	return out
}

// find notes something unusual.
func (o *observer) find(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.find(format, args...)
}

func (s *seen) answered(resp *llm.Response, upstream string, took time.Duration) {
	s.latencies = append(s.latencies, took)
	if resp.Usage.Estimated || resp.Usage == (llm.Usage{}) {
		s.find("the server counts no tokens, so usage and cost are estimates")
	}
	if resp.Model != "" && resp.Model != upstream {
		s.find("the server says that %.80q answered", resp.Model)
	}
	for _, note := range resp.Notes {
		s.repairs++
		s.find("repaired: %s", note)
	}
}

func (s *seen) failed(le *llm.Error) {
	s.last = le
	if le.ContextWindow > 0 {
		s.window = le.ContextWindow
	}
	if le.Adapted != "" {
		s.find("%s", le.Adapted)
	} else if atFault(le.Category) == modelFault {
		s.repairs++
	}
}

// find notes something unusual, once.
func (s *seen) find(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if len(s.findings) < maxFindings && !slices.Contains(s.findings, what) {
		s.findings = append(s.findings, what)
	}
}

// latency of the calls that were answered.
func (s *seen) latency() *Latency {
	if len(s.latencies) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return &Latency{P50: sorted[(len(sorted)-1)/2].Milliseconds(), Max: sorted[len(sorted)-1].Milliseconds()}
}
