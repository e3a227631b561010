package inpod

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// troubled is a store with trouble, while there is some, in what it appends.
type troubled struct {
	*record.Store
	mu      sync.Mutex
	trouble func(context.Context) error
	// refused counts what was not appended.
	refused int
}

func (s *troubled) Recorder(t record.Task, w record.Writer) record.Recorder {
	return troubledRecorder{s.Store.Recorder(t, w), s}
}

func (s *troubled) set(trouble func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
}

type troubledRecorder struct {
	record.Recorder
	s *troubled
}

func (r troubledRecorder) Append(ctx context.Context, first int64, lines []byte) error {
	r.s.mu.Lock()
	trouble := r.s.trouble
	r.s.mu.Unlock()
	if trouble != nil {
		if err := trouble(ctx); err != nil {
			r.s.mu.Lock()
			r.s.refused++
			r.s.mu.Unlock()
			return err
		}
	}
	return r.Recorder.Append(ctx, first, lines)
}

// full is a disk without room.
func full(context.Context) error {
	return fmt.Errorf("%w: writing: %w", record.ErrUnavailable, syscall.ENOSPC)
}

// slow is a disk that has not written after as long as the store waits for one.
func slow(c clock.Clock) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-c.After(30 * time.Second):
			return fmt.Errorf("%w: writing took more than 30s", record.ErrUnavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// oneCall is a model that makes a call and then is done, and the tool.
type oneCall struct {
	mu     sync.Mutex
	turns  int
	before func()
	ran    int
}

func (o *oneCall) Complete(context.Context, llm.Request) (*llm.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turns++
	if o.turns > 1 {
		return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Content: "done"}, FinishReason: llm.FinishStop}, nil
	}
	o.before() // what follows meets the trouble
	call := llm.ToolCall{ID: "1", Name: "write", Arguments: "{}"}
	return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call}}, FinishReason: llm.FinishToolCalls}, nil
}

func (o *oneCall) Specs() []llm.ToolSpec {
	return []llm.ToolSpec{{Name: "write", Description: "writes", Parameters: []byte(`{"type":"object"}`)}}
}

func (o *oneCall) ReadOnly(string) bool { return false }

func (o *oneCall) Run(context.Context, llm.ToolCall) (harness.ToolResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ran++
	return harness.ToolResult{Content: "written"}, nil
}

func (o *oneCall) Close(context.Context) error { return nil }

func (o *oneCall) effects() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ran
}

// eventually waits, with a bound that is there against a hang alone.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	hangs := time.After(2 * time.Minute)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !f() {
		select {
		case <-look.C:
		case <-hangs:
			t.Fatalf("never: %s", what)
		}
	}
}

// A run whose store is full, or does not get done, waits before its next effect, says
// so, and goes on when the store does. Its record has every event once.
func TestARunWaitsForItsStore(t *testing.T) {
	fake := clocktesting.NewFakeClock(time.Now())
	for name, row := range map[string]struct {
		trouble func(context.Context) error
		says    string
		pass    func(t *testing.T)
	}{
		"full": {full, "no space left on device", func(*testing.T) {}},
		"slow": {slow(fake), "took more than 30s", func(t *testing.T) {
			eventually(t, "the store is writing", fake.HasWaiters)
			fake.Step(30 * time.Second)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inner, err := record.Open(t.Context(), "mem://")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = inner.Close() })
			store := &troubled{Store: inner}
			hs := httptest.NewTLSServer(apiserver.RunnersDoor(store, func(token string) (record.Writer, bool) {
				return record.Writer{Attempt: 1, PodUID: "pod"}, token == "token"
			}))
			t.Cleanup(hs.Close)
			config := client.Config{
				URL: hs.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hs.Certificate().Raw}),
				TokenFile: filepath.Join(t.TempDir(), "token"), Namespace: "ns", Task: "t", UID: "u",
			}
			if err := os.WriteFile(config.TokenFile, []byte("token"), 0o600); err != nil {
				t.Fatal(err)
			}
			used, err := priorUsageOf(recordedTask.Status.Progress)
			if err != nil {
				t.Fatal(err)
			}
			rep := newReporter(&api{}, recordedTask, "t-1", used)
			j, err := resume(t.Context(), config, rep, func(error) { t.Error("the run is fenced") }, transcript.Options{})
			if err != nil {
				t.Fatal(err)
			}
			model := &oneCall{before: func() { store.set(row.trouble) }}
			ended := make(chan harness.Result, 1)
			go func() {
				ended <- j.Run(t.Context(), nil, harness.Config{
					Task: harness.Task{Name: "t", Prompt: "p"}, Tools: model, Reporter: rep.progress,
					Models: broker.FixedRouter{{ID: "m", Upstream: "m", Provider: model}},
				}, nil)
			}()
			row.pass(t)
			eventually(t, "the status tells of it", func() bool {
				said := rep.current().Progress.Activity
				return strings.HasPrefix(said, "waiting for the record: ") && strings.Contains(said, row.says)
			})
			if n := model.effects(); n != 0 {
				t.Errorf("%d calls took effect before they were on record", n)
			}
			store.set(nil)
			eventually(t, "the run goes on", func() bool {
				if fake.HasWaiters() { // it was tried again meanwhile
					fake.Step(30 * time.Second)
				}
				return len(ended) > 0
			})
			res := <-ended
			if res.Reason != harness.Completed || res.Progress.Turns != 2 || model.effects() != 1 {
				t.Errorf("ended %s after %d turns and %d effects: %s", res.Reason, res.Progress.Turns, model.effects(), res.Message)
			}
			if store.refused == 0 {
				t.Error("the store had no trouble")
			}
			if said := rep.current().Progress.Activity; strings.Contains(said, "waiting for the record") {
				t.Errorf("it still says %q", said)
			}
			log, err := inner.Log(t.Context(), record.Task{Namespace: "ns", UID: "u"}, 1)
			if err != nil {
				t.Fatal(err)
			}
			report, err := transcript.Verify(log)
			if err != nil || report.Events != res.Transcript.Events || report.Ended == nil {
				t.Errorf("the record has %+v, %v; the run tells of %d events", report, err, res.Transcript.Events)
			}
		})
	}
}
