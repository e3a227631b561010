package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	// maxParallel read-only calls run at once.
	maxParallel = 8
	// toolSlack is what a tool gets beyond its limit to say by itself that it
	// timed out, with what it has so far.
	toolSlack = 5 * time.Second
	// maxResult bounds a result as a last resort; tools bound theirs themselves.
	maxResult = 256 << 10
)

// errToolTimeout is the cause when one tool call takes too long.
var errToolTimeout = errors.New("the tool call timed out")

const (
	cancelledText = "Cancelled: the run was stopped before this call came to an end."
	lostText      = "Lost: the sandbox went away before this call came to an end."
)

// outcome is how a call went.
type outcome struct {
	result ToolResult
	// synthetic: it is not the tool that says so.
	synthetic bool
	took      time.Duration
	// end is set when the run cannot go on.
	end *stop
}

// act runs the calls of a reply and gives the model their results. Calls that
// only read run side by side, but never past one that writes.
func (r *run) act(ctx context.Context, resp *llm.Response) error {
	calls := resp.Message.ToolCalls
	for _, c := range calls {
		if err := r.log.record(&transcript.ToolCall{ID: c.ID, Name: c.Name, Arguments: c.Arguments}); err != nil {
			return err
		}
	}
	if err := r.log.sync(PhaseTool, activity(calls[0])); err != nil {
		return err
	}
	if err := r.kept(ctx); err != nil {
		return err
	}
	end := r.ready(ctx)
	for from := 0; from < len(calls); {
		to := r.tools.batchEnd(calls, from)
		outcomes := r.tools.run(ctx, resp, from, to, end)
		for i, o := range outcomes {
			if o.end != nil && end == nil {
				end = o.end
			}
			if err := r.answer(calls[from+i], o); err != nil {
				return err
			}
		}
		from = to
		if from < len(calls) && end == nil {
			if err := r.log.sync(PhaseTool, activity(calls[from])); err != nil {
				return err
			}
		}
	}
	if end != nil {
		return end
	}
	if err := r.checkLoop(); err != nil {
		return err
	}
	return r.think()
}

// think is the end of a turn after which the model is asked again.
func (r *run) think() error {
	if err := r.log.sync(PhaseThinking, "thinking"); err != nil {
		return err
	}
	r.keep()
	return nil
}

// toolbox runs the tools that a model may call.
type toolbox struct {
	tools Tools
	// specs are offered to the model; names tells which there are.
	specs []llm.ToolSpec
	names map[string]bool
	// limit caps one call.
	limit time.Duration
	clock Clock
}

// open asks the tools, which may be nil, what they are.
func (t *toolbox) open() {
	if t.tools != nil {
		t.specs = t.tools.Specs()
	}
	t.names = map[string]bool{}
	for _, s := range t.specs {
		t.names[s.Name] = true
	}
}

// batchEnd gives the end of the calls from one on that may run at once.
func (t *toolbox) batchEnd(calls []llm.ToolCall, from int) int {
	to := from
	for to < len(calls) && to-from < maxParallel && t.readOnly(calls[to].Name) {
		to++
	}
	return max(to, from+1)
}

func (t *toolbox) readOnly(name string) bool { return t.names[name] && t.tools.ReadOnly(name) }

// run runs calls [from, to). Once the run has an end, they are only answered.
func (t *toolbox) run(ctx context.Context, resp *llm.Response, from, to int, end *stop) []outcome {
	out := make([]outcome, to-from)
	one := func(i int) {
		switch call := resp.Message.ToolCalls[from+i]; {
		case end != nil:
			out[i] = unanswered(end)
		case ctx.Err() != nil:
			out[i] = unanswered(stopFromContext(ctx))
		case cutOff(resp, from+i):
			out[i] = synthetic(cutCallText)
		case !t.names[call.Name]:
			out[i] = synthetic(t.unknownTool(call.Name))
		default:
			out[i] = t.runOne(ctx, call)
		}
	}
	if len(out) == 1 {
		one(0)
		return out
	}
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { one(i) })
	}
	wg.Wait()
	return out
}

// synthetic is the answer to a call that no tool gave.
func synthetic(text string) outcome {
	return outcome{result: ToolResult{Content: text, IsError: true}, synthetic: true}
}

// unanswered is the answer to a call that the end of the run cut off.
func unanswered(end *stop) outcome {
	text := cancelledText
	if end.reason == SandboxLost {
		text = lostText
	}
	o := synthetic(text)
	o.end = end
	return o
}

// runOne runs one call. It returns soon after ctx ends, also when the tool
// does not.
func (t *toolbox) runOne(ctx context.Context, call llm.ToolCall) outcome {
	began := t.clock.Now()
	limit := t.limit
	callCtx, cancel := withTimeout(ctx, t.clock, limit+toolSlack, errToolTimeout)
	defer cancel()
	result, err := await(callCtx, t.clock, func() (ToolResult, error) { return t.tools.Run(callCtx, call) })
	if p := (*panicked)(nil); errors.As(err, &p) {
		result, err = ToolResult{Content: fmt.Sprintf("The tool %s failed: %v", call.Name, p.value), IsError: true}, nil
	}
	o := outcome{result: result, took: t.clock.Now().Sub(began)}
	if err == nil {
		o.result.Content = headTail(o.result.Content, maxResult)
		return o
	}
	var end *stop
	switch {
	case ctx.Err() != nil:
		end = stopFromContext(ctx)
	case errors.Is(context.Cause(callCtx), errToolTimeout):
		o.result = ToolResult{Content: fmt.Sprintf("The tool timed out after %s and was stopped.", limit), IsError: true}
		o.synthetic = true
		return o
	case errors.Is(err, tool.ErrExecutorGone):
		end = stopf(SandboxLost, "The sandbox went away during a %s call: %v", call.Name, err)
	default:
		o.result = ToolResult{Content: fmt.Sprintf("The tool %s failed: %v", call.Name, err), IsError: true}
		return o
	}
	cut := unanswered(end)
	cut.took = o.took
	return cut
}

// close ends what the tools left running.
func (t *toolbox) close(ctx context.Context) {
	if t.tools == nil {
		return
	}
	ctx, cancel := withTimeout(context.WithoutCancel(ctx), t.clock, closeGrace, context.DeadlineExceeded)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // the run has ended, on record; nothing is left to tell
		_ = t.tools.Close(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (t *toolbox) unknownTool(name string) string {
	names := make([]string, 0, len(t.names))
	for n := range t.names {
		names = append(names, n)
	}
	sort.Strings(names)
	if len(names) == 0 {
		return fmt.Sprintf("There is no tool %q. This run has no tools: answer in text.", name)
	}
	return fmt.Sprintf("There is no tool %q. The tools are: %s.", name, strings.Join(names, ", "))
}

// answer records a result.
func (r *run) answer(call llm.ToolCall, o outcome) error {
	return r.log.record(&transcript.ToolResult{
		ID: call.ID, Name: call.Name, Content: o.result.Content, IsError: o.result.IsError,
		Synthetic: o.synthetic, DurationMillis: o.took.Milliseconds(),
	})
}

// activity says in a few words what a call does: "bash: go test ./...".
func activity(call llm.ToolCall) string {
	var args map[string]json.RawMessage
	if err := json.Unmarshal([]byte(call.Arguments), &args); err != nil {
		return call.Name
	}
	for _, key := range []string{"command", "path", "pattern"} {
		var s string
		if json.Unmarshal(args[key], &s) == nil && s != "" {
			return call.Name + ": " + oneLine(s, 80)
		}
	}
	return call.Name
}

// oneLine gives the first n bytes or so of a text on one line.
func oneLine(s string, n int) string {
	short := strings.Join(strings.Fields(s[:min(len(s), 4*n)]), " ")
	if len(short) <= n {
		return strings.ToValidUTF8(short, "")
	}
	return strings.ToValidUTF8(short[:n], "") + "…"
}

// headTail cuts the middle out of a text that is longer than n bytes.
func headTail(s string, n int) string {
	return text.HeadTail(s, n, func(omitted int) string { return fmt.Sprintf("\n[… %d bytes left out …]\n", omitted) })
}
