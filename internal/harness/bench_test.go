package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// TestMain: a run leaves no goroutine behind. Those in tests that make one
// hang on purpose end with the virtual time of the test.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkTurn is the loop's own time for a turn with one call, with a
// transcript on disk. Provider and tool take no time.
func BenchmarkTurn(b *testing.B) {
	for _, size := range []int{100, 30_000} {
		for _, window := range []int{0, 128_000} {
			b.Run(fmt.Sprintf("output=%d/window=%d", size, window), func(b *testing.B) {
				n := 0
				p := script(func(ctx context.Context, req llm.Request) (*llm.Response, error) {
					if n++; n >= b.N {
						return says("done")(ctx, req)
					}
					return calls(call("", "write", fmt.Sprintf(`{"command":"%d"}`, n)))(ctx, req)
				})
				f := newFixture(p)
				w, err := transcript.Create(filepath.Join(b.TempDir(), "t.jsonl"), transcript.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer w.Close() //nolint:errcheck // a benchmark
				f.Transcript, f.Task.Limits.Turns = w, b.N+1
				f.Reporter = NewReporter(func(Progress) {}, nil)
				text := strings.Repeat("x", size)
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) { return ToolResult{Content: text}, nil }
				m := model("m", discarding{p})
				m.ContextWindow = window
				f.Models = broker.FixedRouter{m}
				b.ReportAllocs()
				b.ResetTimer()
				if res := Run(b.Context(), f.Config); res.Reason != Completed {
					b.Fatalf("ended %s: %s", res.Reason, res.Message)
				}
			})
		}
	}
}

// discarding keeps the fake from holding on to all requests.
type discarding struct{ p *fakeProvider }

func (d discarding) Complete(ctx context.Context, req llm.Request) (*llm.Response, error) {
	return d.p.replies[0](ctx, req)
}
