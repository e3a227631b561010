package recorded

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
)

// maxKeptBytes bounds the workspace of a checkpoint, unless the workspace itself may have
// more.
const maxKeptBytes = 10 << 30

// lastCheckpoint bounds the checkpoint of a run that has ended. Where it was told to stop,
// Grace bounds it as well: the pod has ten seconds in all, of which the report needs some.
const lastCheckpoint = 5 * time.Second

// Keeper takes checkpoints of the workspace and the home into the record. It implements
// harness.Checkpointer.
type Keeper struct {
	// ctx ends with the runner's work on the task.
	ctx context.Context
	rec record.Recorder
	// snap, and home, which is nil where no home is kept, are used by one goroutine at a
	// time: the one that Begin starts.
	snap, home *snapshot.Snapshotter
	// base gives the commit that was checked out.
	base func() string
	// kept is told of each checkpoint.
	kept func(record.Checkpoint, string)

	// begun gives the outcome of what was begun; nil when nothing was.
	begun chan error
	// newest is the newest checkpoint, nil before the first. ended: no more are taken.
	newest *record.Checkpoint
	ended  bool
	// ending is why, for people.
	ending string
}

// Begin implements harness.Checkpointer.
func (k *Keeper) Begin(turn int, log harness.TranscriptSummary) {
	if k.begun != nil || k.ended {
		return
	}
	done := make(chan error, 1)
	k.begun = done
	go func() { done <- k.take(k.ctx, turn, log) }()
}

// Wait implements harness.Checkpointer.
func (k *Keeper) Wait(ctx context.Context) error {
	if k.begun == nil {
		return nil
	}
	select {
	case err := <-k.begun:
		k.begun = nil
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Seal implements harness.Checkpointer. Every file is read: one that has changed without its
// times would be verified as it was before. And it is tried also where an earlier checkpoint
// has ended the others: the workspace may have become smaller since.
func (k *Keeper) Seal(ctx context.Context, turn int, log harness.TranscriptSummary) (digest, why string, err error) {
	if err := k.Wait(ctx); err != nil {
		return "", "", err
	}
	k.snap.Reset()
	k.ended, k.ending = false, ""
	k.Begin(turn, log)
	if err := k.Wait(ctx); err != nil {
		return "", "", err
	}
	if k.ended {
		return "", k.ending, nil
	}
	return k.newest.Workspace(), "", nil
}

// take takes a checkpoint. A workspace that is too large, and a record that refuses it,
// end checkpoints, and not the run.
func (k *Keeper) take(ctx context.Context, turn int, log harness.TranscriptSummary) error {
	err := k.attempt(ctx, turn, log)
	var large *snapshot.TooLargeError
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, record.ErrFenced):
		return err
	case errors.As(err, &large):
		err = large
	}
	k.ended, k.ending = true, err.Error()
	k.tell("No later checkpoint is taken: " + k.ending)
	return nil
}

// attempt commits a checkpoint, from nothing where one of the chunks that were there before
// is not there any more.
func (k *Keeper) attempt(ctx context.Context, turn int, log harness.TranscriptSummary) error {
	err := k.commit(ctx, turn, log)
	if errors.Is(err, record.ErrNotFound) {
		k.snap.Reset()
		if k.home != nil {
			k.home.Reset()
		}
		err = k.commit(ctx, turn, log)
	}
	return err
}

func (k *Keeper) commit(ctx context.Context, turn int, log harness.TranscriptSummary) error {
	tree, err := k.snap.Take(ctx, k.rec)
	if err != nil {
		return err
	}
	home, left, err := k.takeHome(ctx)
	if err != nil {
		return err
	}
	c := record.Checkpoint{
		Turn: turn, Events: log.Events, LogDigest: log.Digest, Time: time.Now().UTC().Round(0), Base: k.base(),
		Tree: tree.Chunks, Files: tree.Files, Bytes: tree.Bytes, Home: home, LeftOut: joinLeftOut(left, tree.LeftOut),
	}
	if err := k.rec.Commit(ctx, c); err != nil {
		return fmt.Errorf("keeping the checkpoint of turn %d: %w", turn, err)
	}
	k.newest = &c
	k.tell(leftOut(c))
	return nil
}

// tell tells of the newest checkpoint.
func (k *Keeper) tell(message string) {
	var c record.Checkpoint
	if k.newest != nil {
		c = *k.newest
	}
	k.kept(c, message)
}

// finish takes the checkpoint of a run that has ended, in the middle of a turn perhaps,
// while its sandbox is still there.
func (k *Keeper) finish(p harness.Progress) {
	ctx, cancel := context.WithTimeout(k.ctx, lastCheckpoint)
	defer cancel()
	err := k.Wait(ctx)
	if err == nil && !k.ended && (k.newest == nil || k.newest.Turn < p.Turns) {
		err = k.take(ctx, p.Turns, p.Transcript)
	}
	if err != nil { // the run goes on from the turn before
		k.tell("The state at the stop was not kept: " + err.Error())
	}
}

// leftOut says in a line what a checkpoint does not have.
func leftOut(c record.Checkpoint) string {
	if len(c.LeftOut) == 0 {
		return ""
	}
	return "Left out: " + strings.Join(c.LeftOut, ", ")
}
