package harness

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// outage fails until a time has passed since its first call, and then answers.
func outage(le llm.Error, lasts time.Duration, then reply) reply {
	var began time.Time
	return func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		if began.IsZero() {
			began = time.Now()
		}
		if time.Since(began) < lasts {
			e := le
			return nil, &e
		}
		return then(ctx, req)
	}
}

// A run that nobody watches lives through what passes: a gateway that is rolled
// out, a node that restarts, a name that is not yet in DNS. What does not pass ends
// it at once, and what costs money each time soon.
func TestPatience(t *testing.T) {
	paid := llm.Usage{InputTokens: 100, Estimated: true}
	for name, tc := range map[string]struct {
		fault  llm.Error
		lasts  time.Duration
		active time.Duration
		want   End
		// least and most that it took, from and to the number of calls.
		least, most time.Duration
		from, to    int
	}{
		"20 s of 503":            {llm.Error{Category: llm.Overloaded, Status: 503, Retryable: true}, 20 * time.Second, time.Hour, Completed, 20 * time.Second, 35 * time.Second, 5, 9},
		"5 min of refused":       {llm.Error{Category: llm.Network, Retryable: true}, 5 * time.Minute, time.Hour, Completed, 5 * time.Minute, 6 * time.Minute, 12, 60},
		"resets after the send":  {llm.Error{Category: llm.Network, Retryable: true, Usage: paid}, 3 * time.Minute, time.Hour, Completed, 3 * time.Minute, 4 * time.Minute, 8, 60},
		"12 min without a limit": {llm.Error{Category: llm.Overloaded, Status: 503, Retryable: true}, 12 * time.Minute, 0, Completed, 12 * time.Minute, 13 * time.Minute, 20, 130},
		"for ever":               {llm.Error{Category: llm.Overloaded, Status: 503, Retryable: true}, time.Hour, 0, ModelUnavailable, 14 * time.Minute, 15 * time.Minute, 20, 140},
		"longer than half of what is left": {llm.Error{Category: llm.Network, Retryable: true}, time.Hour, time.Minute, ModelUnavailable,
			10 * time.Second, 30 * time.Second, 4, 10},
		"a wrong key": {llm.Error{Category: llm.CredentialConfig, Status: 401}, time.Hour, time.Hour, ModelUnavailable, 0, time.Second, 1, 1},
		"another form, for ever": {llm.Error{Category: llm.ProviderUnsupported, Status: 400, Adapted: "something"}, time.Hour, time.Hour, ModelUnavailable,
			0, time.Second, broker.MaxAdaptions + 1, broker.MaxAdaptions + 1},
		"a quota that is gone": {llm.Error{Category: llm.QuotaExceeded, Status: 429}, time.Hour, time.Hour, ModelUnavailable, 0, time.Second, 1, 1},
		"500 for ever, a bug":  {llm.Error{Category: llm.Overloaded, Status: 500, Retryable: true}, time.Hour, time.Hour, ModelUnavailable, 45 * time.Second, 2 * time.Minute, 5, 16},
		"paid and cut for ever": {llm.Error{Category: llm.TruncatedStream, Retryable: true, Usage: paid}, time.Hour, time.Hour, ModelUnavailable,
			45 * time.Second, 2 * time.Minute, 5, 16},
		"the model is at fault": {llm.Error{Category: llm.ModelQuality, Retryable: true}, time.Hour, time.Hour, ModelUnavailable, 0, 3 * time.Second, 3, 3},
		"a limit that lasts 5 min": {llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: 5 * time.Minute}, time.Second, time.Hour, Completed,
			5 * time.Minute, 5*time.Minute + time.Second, 2, 2},
		"a limit that lasts longer": {llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: time.Hour}, time.Hour, time.Hour, ModelUnavailable, 0, time.Second, 1, 1},
		"an outage that promises an hour and ends": {llm.Error{Category: llm.Overloaded, Status: 503, Retryable: true, RetryAfter: time.Hour}, 50 * time.Second, time.Hour, Completed,
			time.Minute, time.Minute + time.Second, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(script(outage(tc.fault, tc.lasts, says("done"))))
				f.Task.Limits.Active = tc.active
				began := time.Now()
				res := f.run(t, t.Context())
				if res.Reason != tc.want {
					t.Errorf("ended %s, want %s: %s", res.Reason, tc.want, res.Message)
				}
				if took := time.Since(began); took < tc.least || took > tc.most {
					t.Errorf("took %s, want %s to %s", took, tc.least, tc.most)
				}
				if n := len(f.provider.sent()); n < tc.from || n > tc.to {
					t.Errorf("%d calls, want %d to %d", n, tc.from, tc.to)
				}
			})
		})
	}
}

// The documented cap is reached, and never passed.
func TestBackoffReachesItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(script(fails(&llm.Error{Category: llm.Network, Retryable: true})))
		f.run(t, t.Context())
		var longest int64
		for _, r := range find[transcript.Retry](t, f) {
			longest = max(longest, r.WaitMillis)
		}
		if longest < 12_000 || longest > 15_000 {
			t.Errorf("longest wait %d ms, want nearly 15 s", longest)
		}
	})
}

// With a stand-in, patience begins with it: the other model is asked after a few
// attempts, and only when none answers are both asked again.
func TestFallbackGoesBeforePatience(t *testing.T) {
	down := llm.Error{Category: llm.Overloaded, Status: 503, Retryable: true, Message: "down"}
	t.Run("the stand-in answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := script(outage(down, time.Hour, says("never"))), script(says("done"))
			f := newFixture(one)
			f.Models = broker.FixedRouter{model("one", one), model("two", two)}
			began := time.Now()
			res := f.run(t, t.Context())
			if res.Reason != Completed || res.Progress.Model != "two" || len(one.sent()) != broker.MaxAttempts || time.Since(began) > 10*time.Second {
				t.Errorf("%s by %s after %s and %d calls", res.Reason, res.Progress.Model, time.Since(began), len(one.sent()))
			}
		})
	})
	t.Run("both are down for 3 min", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := script(outage(down, time.Hour, says("never"))), script(outage(down, 3*time.Minute, says("done")))
			f := newFixture(one)
			f.Models = broker.FixedRouter{model("one", one), model("two", two)}
			if res := f.run(t, t.Context()); res.Reason != Completed || res.Progress.Model != "two" {
				t.Errorf("%s by %s: %s", res.Reason, res.Progress.Model, res.Message)
			}
		})
	})
	t.Run("one has no quota, the other is down for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := script(fails(&llm.Error{Category: llm.QuotaExceeded, Message: "none left"})), script(outage(down, time.Hour, says("never")))
			f := newFixture(one)
			f.Models = broker.FixedRouter{model("one", one), model("two", two)}
			res := f.run(t, t.Context())
			if res.Reason != ModelUnavailable || res.Category != llm.QuotaExceeded || !strings.Contains(res.Message, "two: Overloaded: down") || len(one.sent()) != 1 {
				t.Errorf("%s (%s): %s, %d calls", res.Reason, res.Category, res.Message, len(one.sent()))
			}
		})
	})
	t.Run("a long Retry-After is not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one := script(fails(&llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: 2 * time.Minute}))
			f := newFixture(one)
			f.Models = broker.FixedRouter{model("one", one), model("two", script(says("done")))}
			began := time.Now()
			if res := f.run(t, t.Context()); res.Reason != Completed || time.Since(began) > time.Second {
				t.Errorf("%s after %s", res.Reason, time.Since(began))
			}
		})
	})
}

// A model that hangs does not keep its stand-in from being asked, nor take most of
// the run by being asked again.
func TestHangingModelFallsBack(t *testing.T) {
	hung := func(d time.Duration, le llm.Error) reply {
		return func(ctx context.Context, _ llm.Request) (*llm.Response, error) {
			select {
			case <-time.After(d):
				e := le
				return nil, &e
			case <-ctx.Done():
				return nil, &llm.Error{Category: llm.Network, Err: ctx.Err()}
			}
		}
	}
	timeout := llm.Error{Category: llm.Timeout, Retryable: true, Usage: llm.Usage{InputTokens: 100, Estimated: true}}
	for name, tc := range map[string]struct {
		primary reply
		active  time.Duration
		turns   int
		calls   int           // of the primary
		takes   time.Duration // the whole run, to two seconds
	}{
		"no first byte":         {hung(10*time.Minute, timeout), 30 * time.Minute, 1, 1, 10 * time.Minute},
		"in a short run":        {hung(10*time.Minute, timeout), 10 * time.Minute, 1, 1, 5 * time.Minute},
		"in a very short run":   {hung(10*time.Minute, timeout), 90 * time.Second, 1, 1, time.Minute},
		"a short deadline":      {hung(5*time.Second, timeout), time.Hour, 1, 1, 5 * time.Second},
		"without a limit":       {hung(10*time.Minute, timeout), 0, 1, 1, 10 * time.Minute},
		"slowly broken":         {hung(40*time.Second, llm.Error{Category: llm.Overloaded, Status: 502, Retryable: true}), 30 * time.Minute, 1, 2, 80 * time.Second},
		"again after some time": {hung(10*time.Minute, timeout), time.Hour, 9, 1, 18 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var steps []reply
				for i := range tc.turns - 1 {
					steps = append(steps, calls(call("", "write", string(rune('a'+i)))))
				}
				one, two := script(tc.primary), script(append(steps, says("done"))...)
				f := newFixture(one)
				f.Task.Limits.Active = tc.active
				f.Models = broker.FixedRouter{model("one", one), model("two", two)}
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
					pass(time.Minute)
					return ToolResult{Content: "ok"}, nil
				}
				began := time.Now()
				res := f.run(t, t.Context())
				if took := time.Since(began); res.Reason != Completed || res.Progress.Model != "two" || took < tc.takes || took > tc.takes+2*time.Second {
					t.Errorf("%s by %s after %s: %s", res.Reason, res.Progress.Model, took, res.Message)
				}
				if n := len(one.sent()); n != tc.calls {
					t.Errorf("%d calls of the one that hangs, want %d", n, tc.calls)
				}
			})
		})
	}
}

// The window that a server names is kept to from then on.
func TestWindowIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 4000
		over := 0
		serve := func(ctx context.Context, req llm.Request) (*llm.Response, error) {
			size := 0
			for _, m := range req.Messages {
				size += len(m.Content)
			}
			if size > 4*window {
				over++
				return nil, &llm.Error{Category: llm.ContextLength, Message: "maximum context length is 4000 tokens", ContextWindow: window}
			}
			if n := len(req.Messages); n > 0 && strings.Contains(req.Messages[n-1].Content, "turn 12") {
				return says("done")(ctx, req)
			}
			r, err := onAndOn()(ctx, req)
			r.Usage = llm.Usage{InputTokens: int64(size / 4), OutputTokens: 10}
			return r, err
		}
		f := newFixture(script(serve))
		m := model("m", f.provider)
		m.ContextWindow, m.MaxOutputTokens = 200_000, 1000
		f.Models = broker.FixedRouter{m}
		turn := 0
		f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
			turn++
			return ToolResult{Content: strings.Repeat("word ", 900) + "turn " + string(rune('0'+turn/10)) + string(rune('0'+turn%10))}, nil
		}
		res := f.run(t, t.Context())
		if res.Reason != Completed || over != 1 {
			t.Errorf("%s, refused %d times, want once: %s", res.Reason, over, res.Message)
		}
		if c := find[transcript.Compaction](t, f); len(c) < 2 || c[1].ContextWindow != window {
			t.Errorf("compactions %+v", c)
		}
	})
}

// Waiting is no loop; the same thing over and over is.
func TestPollingIsNoLoop(t *testing.T) {
	for name, tc := range map[string]struct {
		takes []time.Duration
		want  End
		// turns until the end, and until the notice if there is one.
		turns, notice int
	}{
		"sleep 30":                        {[]time.Duration{30 * time.Second}, Completed, 200, 0},
		"sleep 5":                         {[]time.Duration{5 * time.Second}, Completed, 200, 0},
		"a wait, then a quick look":       {[]time.Duration{5 * time.Second, time.Millisecond}, Completed, 200, 0},
		"a test that takes its time":      {[]time.Duration{2 * time.Second}, LoopDetected, slowStop, slowNotice},
		"the same in a circle":            {[]time.Duration{2 * time.Second, 0, time.Second}, LoopDetected, 3 * slowStop, 3 * slowNotice},
		"at once":                         {[]time.Duration{0}, LoopDetected, loopStop, loopNotice},
		"quickly":                         {[]time.Duration{150 * time.Millisecond}, LoopDetected, loopStop, loopNotice},
		"a circle of two, both are quick": {[]time.Duration{0, 20 * time.Millisecond}, LoopDetected, 2 * loopStop, 2 * loopNotice},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turn, notice := 0, 0
				f := newFixture(script(func(ctx context.Context, req llm.Request) (*llm.Response, error) {
					if last := req.Messages[len(req.Messages)-1]; notice == 0 && strings.HasPrefix(last.Content, "[harness]") {
						notice = turn
					}
					if turn == 200 {
						return says("it passed")(ctx, req)
					}
					return calls(call("", "write", string(rune('a'+turn%len(tc.takes)))))(ctx, req)
				}))
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
					pass(tc.takes[turn%len(tc.takes)])
					turn++
					return ToolResult{Content: "pending"}, nil
				}
				f.Task.Limits.Turns = 300
				if res := f.run(t, t.Context()); res.Reason != tc.want || turn != tc.turns || notice != tc.notice {
					t.Errorf("ended %s after %d turns and a notice after %d, want %s, %d, %d", res.Reason, turn, notice, tc.want, tc.turns, tc.notice)
				}
			})
		})
	}
}
