package inpod

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const (
	// leastReport is the least time between two reports of activity, and restingLook how
	// often it is looked whether a Sandbox has got a time from which on it counts as idle.
	leastReport = time.Second
	restingLook = 30 * time.Second
)

// activity reports that a named Sandbox is used from outside, since its idle time counts
// from then on. While a task has it nothing needs to be reported.
type activity struct {
	clock   clock.Clock
	sandbox func() *v1alpha1.Sandbox
	// came is sent to when a guest comes or leaves.
	came <-chan struct{}
	// busy looks whether a guest is there, or a command runs.
	busy func(context.Context) bool
	// taken reports whether a task has the Sandbox.
	taken  func() bool
	report func(context.Context, time.Time) error
	log    io.Writer
}

// run reports until ctx ends: within a quarter of the idle time after it was used, and not
// more often than that.
func (a *activity) run(ctx context.Context) {
	var last time.Time
	used, failing := false, false
	for {
		pause := reportEvery(a.sandbox())
		if used && pause > 0 && a.clock.Since(last) >= pause {
			err := a.report(ctx, a.clock.Now())
			if err != nil && !failing && ctx.Err() == nil {
				_, _ = fmt.Fprintf(a.log, "That the Sandbox is used cannot be reported for now: %v\n", err) // the use goes on
			}
			last, used, failing = a.clock.Now(), err != nil, err != nil
		}
		if pause == 0 {
			pause = restingLook
		}
		select {
		case <-ctx.Done():
			return
		case <-a.came:
			used = !a.taken()
		case <-a.clock.After(pause):
			used = !a.taken() && (used || a.busy(ctx))
		}
	}
}

// reportEvery is how often activity is reported; 0 is never.
func reportEvery(sb *v1alpha1.Sandbox) time.Duration {
	least := sb.Spec.IdleSeconds
	if ttl := sb.Spec.TTLSeconds; ttl > 0 && (least == 0 || ttl < least) {
		least = ttl
	}
	if least == 0 {
		return 0
	}
	return max(leastReport, time.Duration(least)*time.Second/4)
}

// inUse looks whether a guest is there, or a command of one runs.
func (p *Runner) inUse(ctx context.Context) bool {
	if p.guests.present() {
		return true
	}
	if !p.exec.Answered() {
		return false // nobody has been let in yet
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	st, err := p.exec.Status(ctx)
	return err == nil && (len(st.Processes) > 0 || st.Streams > 0)
}
