package conformance

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRun: a case is told from what it says, also where it ends its goroutine.
func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		test            func(T)
		failed, skipped bool
		log             []string
	}{
		"passes":  {test: func(t T) { t.Helper(); t.Log("fine") }, log: []string{"fine"}},
		"fails":   {test: func(t T) { t.Errorf("a %d", 1); t.Error("b", 2) }, failed: true, log: []string{"a 1", "b 2"}},
		"is over": {test: func(t T) { t.Fatalf("a"); t.Error("after it") }, failed: true, log: []string{"a"}},
		"is left": {test: func(t T) { t.Skipf("no %s", "ps"); t.Error("after it") }, skipped: true, log: []string{"no ps"}},
		"in part": {test: func(t T) {
			if t.Run("x", func(t T) { t.Fatal("a") }) || !t.Run("y", func(t T) { t.Log("b") }) {
				t.Error("taken for the other")
			}
		}, failed: true, log: []string{"x: a", "y: b"}},
	} {
		r := newRun(t.Context(), name)
		if err := r.do(tc.test); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.log, r.log); diff != "" || r.failed != tc.failed || r.skipped != tc.skipped {
			t.Errorf("a case that %s: failed %v, skipped %v (-want +got):\n%s", name, r.failed, r.skipped, diff)
		}
	}
	var dir string
	r := newRun(t.Context(), "cleanup")
	if err := r.do(func(t T) { dir = t.TempDir(); t.Fatal("over") }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || dir == "" {
		t.Errorf("%q was left: %v", dir, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	stuck := make(chan struct{})
	defer close(stuck)
	if err := newRun(ctx, "stuck").do(func(T) { cancel(over); <-stuck }); !errors.Is(err, over) {
		t.Errorf("a case that does not end: %v", err)
	}
}
