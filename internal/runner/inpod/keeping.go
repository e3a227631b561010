package inpod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// lastTake bounds one try to take the checkpoint before the pod goes; the next one
	// does not store again what this one has. takeAgain is the pause before that.
	lastTake, takeAgain = 15 * time.Minute, 30 * time.Second
	// passingTake bounds a checkpoint that only spares work if the pod is lost, and
	// passingInterval is the least time between two of them while the Sandbox is used from
	// outside.
	passingTake, passingInterval = time.Minute, time.Minute
	// farewellTake bounds the checkpoint of a pod that somebody else has deleted.
	farewellTake = 10 * time.Second
)

// errSuspending ends a run in a Sandbox whose pod is to go.
var errSuspending = fmt.Errorf("%w: the Sandbox is being suspended", harness.ErrInterrupted)

// suspending reports whether the operator wants the workspace kept, since the pod is to go.
func suspending(sb *v1alpha1.Sandbox) bool {
	return meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionSuspending)
}

// keeps reports whether the runner keeps the workspace of a Sandbox in the record.
func keeps(sb *v1alpha1.Sandbox) bool {
	return os.Getenv(podapi.EnvRecordURL) != "" && podapi.Kept(sb)
}

// keeping keeps the workspace of a named Sandbox in the record.
type keeping struct {
	// brought is closed once the workspace of the last checkpoint is there, or err says why
	// it never will be.
	brought chan struct{}
	err     error
	// bench is nil where nothing is kept, and before brought is closed.
	bench *recorded.Bench
	// restored: there was a checkpoint.
	restored bool

	mu *sync.Mutex
	// status is what the Sandbox is told.
	status v1alpha1.SandboxCheckpoint
}

func newKeeping() keeping { return keeping{brought: make(chan struct{}), mu: &sync.Mutex{}} }

// set changes what the Sandbox is told.
func (k *keeping) set(change func(*v1alpha1.SandboxCheckpoint)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

// kept notes a checkpoint.
func (k *keeping) kept(c record.Checkpoint, message string) {
	k.set(func(s *v1alpha1.SandboxCheckpoint) {
		s.Time, s.Files, s.Bytes = new(metav1.NewTime(c.Time)), new(c.Files), new(c.Bytes)
		s.Message = text.Clip(message, maxCheckpointMessage)
	})
}

// current is what the Sandbox is to be told.
func (k *keeping) current() v1alpha1.SandboxCheckpoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// keep begins to keep the workspace: it restores it, and takes checkpoints while the
// Sandbox is used from outside. What it returns is to be called at the runner's end.
func (p *Runner) keep(ctx context.Context, w *watcher) (end func()) {
	keeping, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		ctx := keeping
		sb, err := w.await(ctx, func(sb *v1alpha1.Sandbox) bool { return !keeps(sb) || sb.Status.PodUID == p.uid })
		if err == nil && keeps(sb) {
			p.keeping.err = p.openBench(ctx, sb)
		}
		close(p.keeping.brought)
		if p.keeping.bench == nil {
			return
		}
		p.report(ctx, sb)
		p.keepUsed(ctx, sb)
	})
	return func() {
		stop()
		running.Wait()
		p.farewell(ctx, w)
	}
}

// openBench opens the record of the Sandbox, and restores the last checkpoint of it.
func (p *Runner) openBench(ctx context.Context, sb *v1alpha1.Sandbox) error {
	k := &p.keeping
	k.set(func(s *v1alpha1.SandboxCheckpoint) {
		*s = sb.Status.Checkpoint
		s.PodUID, s.State, s.Message = p.uid, "", ""
	})
	ca, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordCAFile))
	if err != nil {
		return fmt.Errorf("reading who signs the certificate of the record: %w", err)
	}
	rec, err := client.New(client.Config{
		URL: os.Getenv(podapi.EnvRecordURL), CA: ca, TokenFile: filepath.Join(podapi.InputDir, podapi.RecordTokenFile),
		Namespace: sb.Namespace, Sandbox: sb.Name, UID: string(sb.UID),
	})
	if err != nil {
		return err
	}
	bench, err := recorded.OpenBench(ctx, rec, foldersOf(sb), p.name, k.kept)
	if err == nil {
		k.restored, err = bench.Restore(ctx)
	}
	if err != nil {
		return fmt.Errorf("the workspace of the last pod: %w", err)
	}
	k.bench = bench
	return nil
}

// bring waits until the workspace of the last pod is there.
func (p *Runner) bring(ctx context.Context, sb *v1alpha1.Sandbox) error {
	if !keeps(sb) {
		return nil
	}
	select {
	case <-p.keeping.brought:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.keeping.err == nil && p.keeping.restored && !p.prepared {
		p.prepared, p.base = true, p.keeping.bench.Base()
	}
	return p.keeping.err
}

// take takes a checkpoint of a workspace that was prepared: of any other there is nothing
// to keep.
func (p *Runner) take(ctx context.Context) error {
	if p.keeping.bench == nil || !p.ready.Load() {
		return nil
	}
	err := p.keeping.bench.Take(ctx, p.base)
	var large *snapshot.TooLargeError
	if errors.As(err, &large) {
		return large
	}
	return err
}

// report tells the Sandbox what is kept, as often as it takes until ctx ends.
func (p *Runner) report(ctx context.Context, sb *v1alpha1.Sandbox) bool {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.api.noteCheckpoint(ctx, sb, p.keeping.current())
		if final(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(newBackOff()))
	return err == nil
}

// rest keeps the workspace while the Sandbox is being suspended: nothing runs and nobody is
// let in from its begin on, until the operator wants the Sandbox to go on, or deletes the
// pod.
func (p *Runner) rest(ctx context.Context, w *watcher) {
	sb := w.sandbox()
	p.guests.rest()
	defer p.guests.wake()
	state := func(ctx context.Context, state v1alpha1.CheckpointState, message string) {
		p.keeping.set(func(s *v1alpha1.SandboxCheckpoint) {
			s.PodUID, s.State = p.uid, state
			if message != "" {
				s.Message = text.Clip(message, maxCheckpointMessage)
			}
		})
		p.report(ctx, sb)
	}
	resting, wake := context.WithCancel(ctx)
	defer wake()
	go func() {
		defer wake()
		_, _ = w.await(resting, func(sb *v1alpha1.Sandbox) bool { return !suspending(sb) })
	}()
	state(resting, v1alpha1.CheckpointTaking, "")
	for resting.Err() == nil {
		message, err := p.takeLast(resting)
		if err == nil {
			state(resting, v1alpha1.CheckpointComplete, message)
			<-resting.Done()
			break
		}
		state(resting, v1alpha1.CheckpointFailed, err.Error())
		select {
		case <-resting.Done():
		case <-time.After(takeAgain):
		}
	}
	if ctx.Err() == nil {
		state(ctx, "", "") // from here on what is kept may be older than the workspace
	}
}

// takeLast ends what runs, and takes the checkpoint before the pod goes. What does not end
// is said: the checkpoint may then have a file as it was while somebody wrote it.
func (p *Runner) takeLast(ctx context.Context) (message string, err error) {
	if err := p.empty(ctx); err != nil {
		message = "Taken while something ran: " + err.Error()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lastTake, fmt.Errorf("it took more than %s", lastTake))
	defer cancel()
	return message, p.take(ctx)
}

// keepAfter takes a checkpoint after a task, so that a pod that is lost takes none of its
// work along. Without one the next is taken later.
func (p *Runner) keepAfter(ctx context.Context) {
	p.takePassing(ctx)
}

func (p *Runner) takePassing(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, passingTake, fmt.Errorf("it took more than %s", passingTake))
	defer cancel()
	if err := p.take(ctx); err != nil {
		p.keeping.set(func(s *v1alpha1.SandboxCheckpoint) {
			s.Message = text.Clip("No newer checkpoint: "+err.Error(), maxCheckpointMessage)
		})
	}
}

// keepUsed takes checkpoints while the Sandbox is used from outside, and tells the Sandbox
// of those and of what tasks have left, until ctx ends.
func (p *Runner) keepUsed(ctx context.Context, sb *v1alpha1.Sandbox) {
	told := p.keeping.current()
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
		if now := p.keeping.current(); now != told && now.State == "" {
			told = now
			p.report(ctx, sb)
		}
	}
}

// farewell takes a last checkpoint in a pod that is going without having been asked for
// one, as far as its grace allows.
func (p *Runner) farewell(ctx context.Context, w *watcher) {
	sb := w.sandbox()
	if p.keeping.bench == nil || p.keeping.current().State == v1alpha1.CheckpointComplete {
		return
	}
	p.guests.rest()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTake)
	defer cancel()
	if err := p.take(ctx); err == nil {
		p.report(ctx, sb)
	}
}
