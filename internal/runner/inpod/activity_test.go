package inpod

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// TestUseFromOutsideIsReported: an idle time does not pass while somebody uses a Sandbox,
// and few writes see to that.
func TestUseFromOutsideIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 40 * time.Second
		sb := &v1alpha1.Sandbox{Spec: v1alpha1.SandboxSpec{IdleSeconds: 40, TTLSeconds: 3600}}
		g := newGuests()
		g.open()
		var runs, taken, fails atomic.Bool
		var mu sync.Mutex
		var reports []time.Time
		a := &activity{
			clock: clock.RealClock{}, sandbox: func() *v1alpha1.Sandbox { return sb }, came: g.came, taken: taken.Load, log: io.Discard,
			busy: func(context.Context) bool { return g.present() || runs.Load() },
			report: func(_ context.Context, at time.Time) error {
				if fails.Load() {
					return errors.New("the API server is away")
				}
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, at)
				return nil
			},
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.run(ctx) }()
		began := time.Now()
		after := func(d time.Duration, most int) (last time.Time) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(reports) > most {
				t.Errorf("%d reports in %v, want no more than %d", len(reports), d, most)
			}
			if len(reports) > 0 {
				last = reports[len(reports)-1]
			}
			reports = nil
			return last
		}
		within := func(what string, last time.Time) {
			t.Helper()
			if last.IsZero() || time.Since(last) > idle/4 {
				t.Errorf("%s: last reported %v ago", what, time.Since(last))
			}
		}
		if last := after(10*idle, 0); !last.IsZero() {
			t.Errorf("unused, it was reported after %v", last.Sub(began))
		}
		_, leave, err := g.enter(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		within("who comes", after(0, 1))
		within("a long request", after(10*idle, 41))
		leave()
		after(idle, 2)
		if last := after(10*idle, 0); !last.IsZero() {
			t.Error("it was reported after the last use")
		}
		runs.Store(true)
		within("a command without a guest", after(10*idle, 41))
		fails.Store(true)
		after(idle, 0)
		fails.Store(false)
		within("after the API server was away", after(idle/4, 2))
		runs.Store(false)
		for range 1000 { // one request after the other
			_, leave, err := g.enter(ctx, false)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(10 * time.Millisecond)
			leave()
		}
		within("many short requests", after(0, 3))
		taken.Store(true)
		runs.Store(true)
		after(idle/4, 1)
		if last := after(10*idle, 0); !last.IsZero() {
			t.Error("it was reported while a task has it")
		}
		stop()
		<-done
	})
}

func TestHowOftenUseIsReported(t *testing.T) {
	for _, row := range []struct {
		idle, ttl int32
		want      time.Duration
	}{{0, 0, 0}, {40, 0, 10 * time.Second}, {0, 80, 20 * time.Second}, {80, 40, 10 * time.Second}, {1, 0, time.Second}} {
		sb := &v1alpha1.Sandbox{Spec: v1alpha1.SandboxSpec{IdleSeconds: row.idle, TTLSeconds: row.ttl}}
		if got := reportEvery(sb); got != row.want {
			t.Errorf("idle %d, ttl %d: every %v, want %v", row.idle, row.ttl, got, row.want)
		}
	}
}
