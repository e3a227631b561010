package inpod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// lastTake bounds one try to take the checkpoint before the pod goes; the next one
	// does not store again what this one has. takeAgain is the pause before that.
	lastTake, takeAgain = 15 * time.Minute, 30 * time.Second
	// passingTake bounds a checkpoint that only spares work if the pod is lost, and
	// passingInterval is the time from a use from outside to the checkpoint after it.
	passingTake, passingInterval = time.Minute, time.Minute
	// farewellTake bounds the checkpoint of a pod that somebody else has deleted.
	farewellTake = 10 * time.Second
)

// errSuspending ends a run in a Sandbox whose pod is to go.
var errSuspending = fmt.Errorf("%w: the Sandbox is being suspended", harness.ErrInterrupted)

// rest keeps the workspace while the Sandbox is being suspended: from its begin on nothing
// runs and nobody is let in, until the operator wants the Sandbox to go on or deletes the
// pod.
func (p *Runner) rest(ctx context.Context, w *watcher) {
	p.guests.rest()
	defer p.guests.wake()
	resting, wake := context.WithCancel(ctx)
	defer wake()
	go func() {
		defer wake()
		_, _ = w.await(resting, func(sb *v1alpha1.Sandbox) bool { return !suspending(sb) }) // or ctx has ended
	}()
	p.takeLast(resting)
	<-resting.Done()
	if ctx.Err() == nil { // from here on the workspace may have more than what is kept
		p.keeping.say("", "")
		p.report(ctx, w.sandbox())
	}
}

// takeLast takes the checkpoint before the pod goes, as often as it takes until ctx ends.
func (p *Runner) takeLast(ctx context.Context) {
	for {
		p.keeping.say(v1alpha1.CheckpointTaking, "")
		message, err := p.tryLast(ctx)
		if err == nil {
			p.keeping.say(v1alpha1.CheckpointComplete, message)
			return
		}
		p.keeping.say(v1alpha1.CheckpointFailed, err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(takeAgain):
		}
	}
}

// tryLast ends what runs, and takes a checkpoint. What does not end is said: a file that
// it wrote meanwhile may be kept as it was half-way.
func (p *Runner) tryLast(ctx context.Context) (message string, err error) {
	if err := p.empty(ctx); err != nil {
		message = "Taken while something ran: " + err.Error()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lastTake, fmt.Errorf("it took more than %s", lastTake))
	defer cancel()
	return message, p.take(ctx)
}

// take takes a checkpoint of a workspace that was prepared: in any other nothing was done.
func (p *Runner) take(ctx context.Context) error {
	if !p.ready.Load() || p.keeping.bench == nil {
		return nil
	}
	err := p.keeping.bench.Take(ctx, p.base)
	var large *snapshot.TooLargeError
	if errors.As(err, &large) {
		return large
	}
	return err
}

// takePassing takes a checkpoint so that a pod that is lost takes no work along. Where that
// fails, the next one may succeed.
func (p *Runner) takePassing(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, passingTake, fmt.Errorf("it took more than %s", passingTake))
	defer cancel()
	if err := p.take(ctx); err != nil {
		p.keeping.set(func(s *v1alpha1.SandboxCheckpoint) {
			s.Message = text.Clip("No newer checkpoint: "+err.Error(), maxCheckpointMessage)
		})
	}
}

// keepUsed takes checkpoints while the Sandbox is used from outside, until ctx ends.
func (p *Runner) keepUsed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.guests.used:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(passingInterval):
		}
		if p.guests.occupied() || errors.Is(p.guests.closed(), errResting) {
			continue // a checkpoint is taken at the end of that
		}
		p.takePassing(ctx)
	}
}

// farewell takes a last checkpoint in a pod that goes without the operator's having asked
// for one, as far as its grace allows.
func (p *Runner) farewell(ctx context.Context, w *watcher) {
	if p.keeping.bench == nil || p.keeping.current().State == v1alpha1.CheckpointComplete {
		return
	}
	p.guests.rest()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTake)
	defer cancel()
	if err := p.take(ctx); err == nil {
		p.report(ctx, w.sandbox())
	}
}

// tell tells the Sandbox what is kept, whenever that has changed, until ctx ends.
func (p *Runner) tell(ctx context.Context, sb *v1alpha1.Sandbox) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.keeping.wake:
			p.report(ctx, sb)
		}
	}
}

// report tells the Sandbox what is kept by now, as often as it takes until ctx ends.
func (p *Runner) report(ctx context.Context, sb *v1alpha1.Sandbox) {
	once := func() (struct{}, error) {
		p.keeping.telling.Lock()
		defer p.keeping.telling.Unlock()
		err := p.api.noteCheckpoint(ctx, sb, p.keeping.current())
		if final(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	// What the API server never takes is that of a pod that is not the Sandbox's any more.
	_, _ = backoff.Retry(ctx, once, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(newBackOff()))
}
