package inpod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
	"github.com/sampan-dev/sampan/internal/text"
)

// suspending reports whether the operator wants the workspace kept, since the pod is to go.
func suspending(sb *v1alpha1.Sandbox) bool {
	return meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionSuspending)
}

// keeps reports whether the runner keeps the workspace of a Sandbox in the record.
func keeps(sb *v1alpha1.Sandbox) bool {
	return os.Getenv(podapi.EnvRecordURL) != "" && podapi.Kept(sb)
}

// keeping is the workspace of a named Sandbox as the record keeps it.
type keeping struct {
	// uid is the pod's.
	uid string
	// open gives the record of a Sandbox, and folders what is kept of it.
	open    func(sb *v1alpha1.Sandbox) (record.Recorder, error)
	folders func(sb *v1alpha1.Sandbox) recorded.Folders

	// brought is closed once the workspace of the last checkpoint is there, or err says why
	// it never will be.
	brought chan struct{}
	err     error
	// bench is nil where nothing is kept, and before brought is closed.
	bench *recorded.Bench
	// restored: there was a checkpoint.
	restored bool

	mu sync.Mutex
	// status is what the Sandbox is to be told, and waits what a checkpoint waits for.
	status v1alpha1.SandboxCheckpoint
	waits  string
	// wake is sent to when either has changed.
	wake chan struct{}
	// telling is held while the Sandbox is told, so that nothing older comes later.
	telling sync.Mutex
}

func newKeeping(uid string) *keeping {
	k := &keeping{uid: uid, folders: foldersOf, brought: make(chan struct{}), wake: make(chan struct{}, 1)}
	k.open = k.openRecord
	return k
}

// openRecord gives the record of a Sandbox on the server.
func (k *keeping) openRecord(sb *v1alpha1.Sandbox) (record.Recorder, error) {
	ca, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordCAFile))
	if err != nil {
		return nil, fmt.Errorf("reading who signs the certificate of the record: %w", err)
	}
	return client.New(client.Config{
		URL: os.Getenv(podapi.EnvRecordURL), CA: ca, TokenFile: filepath.Join(podapi.InputDir, podapi.RecordTokenFile),
		Namespace: sb.Namespace, Sandbox: sb.Name, UID: string(sb.UID),
		OnWait: func(err error) { k.wait(waitingFor(err)) }, OnGoOn: func() { k.wait("") },
	})
}

// bring opens the record of the Sandbox for a pod, and restores the last checkpoint.
func (k *keeping) bring(ctx context.Context, sb *v1alpha1.Sandbox, pod string) error {
	k.set(func(s *v1alpha1.SandboxCheckpoint) {
		*s = sb.Status.Checkpoint
		s.PodUID, s.State, s.Message = k.uid, "", ""
	})
	rec, err := k.open(sb)
	if err != nil {
		return err
	}
	bench, err := recorded.OpenBench(ctx, rec, k.folders(sb), pod, k.kept)
	if err == nil {
		k.restored, err = bench.Restore(ctx)
	}
	if err != nil {
		return fmt.Errorf("restoring the workspace of the last pod: %w", err)
	}
	k.bench = bench
	return nil
}

// set changes what the Sandbox is told.
func (k *keeping) set(change func(*v1alpha1.SandboxCheckpoint)) {
	k.mu.Lock()
	change(&k.status)
	k.mu.Unlock()
	k.rouse()
}

// say tells the Sandbox how far the last checkpoint of the pod is.
func (k *keeping) say(state v1alpha1.CheckpointState, message string) {
	k.set(func(s *v1alpha1.SandboxCheckpoint) {
		s.State = state
		if message != "" {
			s.Message = text.Clip(message, maxCheckpointMessage)
		}
	})
}

// kept notes a checkpoint.
func (k *keeping) kept(c record.Checkpoint, message string) {
	k.set(func(s *v1alpha1.SandboxCheckpoint) {
		s.Time, s.Files, s.Bytes = new(metav1.NewTime(c.Time)), new(c.Files), new(c.Bytes)
		s.Message = text.Clip(message, maxCheckpointMessage)
	})
}

// wait notes what a checkpoint waits for; empty when it goes on.
func (k *keeping) wait(what string) {
	k.mu.Lock()
	k.waits = what
	k.mu.Unlock()
	k.rouse()
}

func (k *keeping) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // it is told already
	}
}

// current is what the Sandbox is to be told. A checkpoint that waits has not failed for
// good, and is told as one that is tried again.
func (k *keeping) current() v1alpha1.SandboxCheckpoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.status
	if k.waits != "" {
		out.Message = k.waits
		if out.State == v1alpha1.CheckpointTaking {
			out.State = v1alpha1.CheckpointFailed
		}
	}
	return out
}

// keep keeps the workspace until ctx ends: it restores it, tells the Sandbox of that, and
// takes checkpoints while it is used from outside. What it returns is to be called at the
// runner's end.
func (p *Runner) keep(ctx context.Context, w *watcher) (end func()) {
	keeping, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.bringFrom(keeping, w, &running) })
	return func() {
		stop()
		running.Wait()
		p.farewell(ctx, w)
	}
}

func (p *Runner) bringFrom(ctx context.Context, w *watcher, running *sync.WaitGroup) {
	k := p.keeping
	defer close(k.brought)
	// Whose record it is, the server looks up in the status.
	sb, err := w.await(ctx, func(sb *v1alpha1.Sandbox) bool { return !keeps(sb) || sb.Status.PodUID == p.uid })
	if err != nil || !keeps(sb) {
		return
	}
	running.Go(func() { p.tell(ctx, sb) })
	if k.err = k.bring(ctx, sb, p.name); k.err != nil {
		k.say("", k.err.Error())
		return
	}
	running.Go(func() { p.keepUsed(ctx) })
}

// awaitBrought waits for so long as a guest does until the workspace of the last pod is there.
func (p *Runner) awaitBrought(ctx context.Context, sb *v1alpha1.Sandbox) error {
	ctx, cancel := context.WithTimeoutCause(ctx, guestPatience,
		fmt.Errorf("%w: the workspace of the last pod is being restored", convert.ErrNotReady))
	defer cancel()
	err := p.bring(ctx, sb)
	if err != nil && !errors.Is(err, convert.ErrNotReady) {
		err = fmt.Errorf("%w: %w", convert.ErrNotReady, err)
	}
	return err
}

// guestPatience is below the minute after which kube-apiserver ends most requests.
const guestPatience = 45 * time.Second

// bring waits until the workspace of the last pod is there, where there is one.
func (p *Runner) bring(ctx context.Context, sb *v1alpha1.Sandbox) error {
	if !keeps(sb) {
		return nil
	}
	select {
	case <-p.keeping.brought:
		return p.keeping.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
