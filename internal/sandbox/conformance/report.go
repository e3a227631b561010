package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// caseDeadline bounds one case; the longest take some seconds.
const caseDeadline = 5 * time.Minute

// ErrFailed says that some cases failed.
var ErrFailed = errors.New("not conformant")

// Report runs some cases, one after the other, and writes how each ended. prepare makes
// what is under test as new, and fails the case if it cannot.
func Report(ctx context.Context, w io.Writer, cases []Case, prepare func(T) Subject) error {
	var failed, skipped int
	for _, c := range cases {
		began := time.Now()
		r := newRun(ctx, c.Name)
		if err := r.do(func(t T) { c.Test(t, prepare(t)) }); err != nil {
			return err
		}
		word := "ok"
		switch {
		case r.failed:
			word = "FAIL"
			failed++
		case r.skipped:
			word = "skip"
			skipped++
		}
		fmt.Fprintf(w, "%-4s  %-22s  %6.2fs\n", word, c.Name, time.Since(began).Seconds())
		for _, line := range r.log {
			fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(line, "\n", "\n      "))
		}
	}
	fmt.Fprintf(w, "%d of %d cases passed, %d were skipped\n", len(cases)-failed-skipped, len(cases), skipped)
	if failed > 0 {
		return fmt.Errorf("%w: %d cases failed", ErrFailed, failed)
	}
	return nil
}

// run is a case on its way.
type run struct {
	name string
	ctx  context.Context

	mu              sync.Mutex
	failed, skipped bool
	log             []string
	cleanups        []func()
}

func newRun(ctx context.Context, name string) *run { return &run{name: name, ctx: ctx} }

// do runs a case in a goroutine of its own, which the case may end.
func (r *run) do(f func(T)) error {
	ctx, cancel := context.WithTimeoutCause(r.ctx, caseDeadline, fmt.Errorf("%s did not end within %v", r.name, caseDeadline))
	defer cancel()
	outer := r.ctx
	r.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.cleanUp()
		f(r)
	}()
	select {
	case <-done:
		return context.Cause(outer)
	case <-ctx.Done():
		// It cannot be made to end, so nothing can be tried after it.
		return context.Cause(ctx)
	}
}

func (r *run) cleanUp() {
	r.mu.Lock()
	cleanups := r.cleanups
	r.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

func (r *run) note(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.log = append(r.log, strings.TrimRight(text, "\n"))
}

// Helper implements T.
func (r *run) Helper() {}

// Context implements T.
func (r *run) Context() context.Context { return r.ctx }

// TempDir implements T.
func (r *run) TempDir() string {
	dir, err := os.MkdirTemp("", "sampan-conformance-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Cleanup implements T.
func (r *run) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// Run implements T.
func (r *run) Run(name string, f func(T)) bool {
	sub := newRun(r.ctx, r.name+"/"+name)
	if err := sub.do(f); err != nil {
		r.Fatal(err)
	}
	for _, line := range sub.log {
		r.note(sub.failed, name+": "+line)
	}
	return !sub.failed
}

// Log implements T.
func (r *run) Log(args ...any) { r.note(false, fmt.Sprintln(args...)) }

// Error implements T.
func (r *run) Error(args ...any) { r.note(true, fmt.Sprintln(args...)) }

// Errorf implements T.
func (r *run) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }

// Fatal implements T.
func (r *run) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// Fatalf implements T.
func (r *run) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf implements T.
func (r *run) Skipf(format string, args ...any) {
	r.note(false, fmt.Sprintf(format, args...))
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}
