package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// testExecBirths: a process that is born at the very moment at which its command
// ends, by itself or by a cancellation, ends with it all the same.
func testExecBirths(t T, s Subject) {
	m := mark(t)
	command := fmt.Sprintf("for i in 1 2 3; do (setsid sleep %s >/dev/null 2>&1 &) ; done", m)
	for i := range 150 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			time.AfterFunc(time.Duration(i)*40*time.Microsecond, cancel)
		}
		_, err := s.Exec(ctx, tool.ExecRequest{Shell: command})
		cancel()
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if err != nil {
			wantNoneLeft(t, m)
		} else if left := alive(t, m); len(left) > 0 {
			t.Fatalf("round %d: still running: %v", i, left)
		}
	}
}
