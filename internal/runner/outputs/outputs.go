// Package outputs takes what a task leaves from its workspace, once its run has ended.
//
// The workspace belongs to code that is not trusted. Its files are opened by the
// descriptors of their folders and no link is followed; git never runs in it.
package outputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
	"github.com/sampan-dev/sampan/internal/text"
)

// maxMessage is the API's bound.
const maxMessage = 256

// Taker takes the outputs of one run.
type Taker struct {
	// Workspace is the folder that they are taken from.
	Workspace       string
	Task, Namespace string
	Attempt         int32
	// Proven: the run has succeeded.
	Proven bool
	// End is when the run ended: the time of its commits, so that the same work gives the
	// same commit.
	End time.Time
	// Store keeps contents; nil where there is no record.
	Store Store
	// Room opens where git runs; it is called when it is first needed.
	Room func(context.Context) (*workspace.Room, error)
	// Push gives the credentials of the n-th output; nil where nothing may be pushed.
	Push func(n int) (user, password string)
	// Before are the outputs that the status has from earlier attempts.
	Before []v1alpha1.OutputStatus
	// Again: the run had ended in another pod, which may have taken some of them. What it
	// has kept is reported as it is.
	Again bool
	// Refuse is why nothing can be taken; nil where it can.
	Refuse error
	// Lost is why nothing can be taken but what was kept; nil where it can.
	Lost error

	root     int
	room     *workspace.Room
	snapshot string
	left     []string
	roomErr  error
}

// Take takes the outputs, one after the other. What could not be taken says why.
func (t *Taker) Take(ctx context.Context, outputs []v1alpha1.Output) []v1alpha1.OutputStatus {
	res := make([]v1alpha1.OutputStatus, 0, len(outputs))
	err := t.Refuse
	if err == nil {
		if t.root, err = nofollow.OpenRoot(t.Workspace); err == nil {
			defer nofollow.Close(t.root)
		}
	}
	for i, o := range outputs {
		st := v1alpha1.OutputStatus{Name: o.Name, Attempt: t.Attempt, Proof: v1alpha1.OutputUnproven}
		if t.Proven {
			st.Proof = v1alpha1.OutputProven
		}
		problem := err
		if problem == nil {
			problem = t.take(ctx, i, o, &st)
		}
		if problem != nil {
			if ctx.Err() != nil {
				problem = context.Cause(ctx)
			}
			st.Message = "not taken: " + problem.Error()
		}
		st.Message = text.Clip(text.OneLine(st.Message), maxMessage)
		res = append(res, st)
	}
	return res
}

func (t *Taker) take(ctx context.Context, n int, o v1alpha1.Output, st *v1alpha1.OutputStatus) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case o.Branch.Ref != "" && t.Lost != nil:
		return t.Lost
	case o.Branch.Ref != "":
		return t.branch(ctx, n, o, st)
	case t.Store == nil:
		return errors.New("it would be kept in the record, and this cluster has none: install sampan-record")
	}
	if t.Again {
		if kept, found, err := t.Store.Kept(ctx, o.Name); err != nil {
			return err
		} else if found {
			report(kept, st)
			return nil
		}
	}
	if t.Lost != nil {
		return t.Lost
	}
	if o.Path != "" {
		return t.path(ctx, o, st)
	}
	return t.patch(ctx, o, st)
}

func report(c Content, st *v1alpha1.OutputStatus) {
	st.MediaType, st.Size, st.Digest = c.MediaType, new(c.Size), string(c.Digest)
}

// put keeps a content, and says so in the status.
func (t *Taker) put(ctx context.Context, name, mediaType, ending string, st *v1alpha1.OutputStatus, write func(io.Writer) error) error {
	c, err := t.Store.Put(ctx, Content{Name: name, MediaType: mediaType, Ending: ending, Proven: t.Proven}, write)
	if err != nil {
		return err
	}
	report(c, st)
	return nil
}

func (t *Taker) path(ctx context.Context, o v1alpha1.Output, st *v1alpha1.OutputStatus) error {
	a, err := find(t.root, o.Path)
	if err != nil {
		return err
	}
	defer a.cursor.Close()
	switch a.kind() {
	case unix.S_IFREG:
		return t.put(ctx, o.Name, mediaType(a.name), path.Ext(a.name), st, a.copyFile)
	case unix.S_IFDIR:
		var left []string
		err := t.put(ctx, o.Name, typeTar, ".tar", st, func(w io.Writer) error {
			var err error
			left, err = a.archive(w)
			return err
		})
		st.Message = leaves(left)
		return err
	case unix.S_IFLNK:
		return errors.New("it is a link, which is not followed")
	}
	return errors.New("it is no file and no folder")
}

func (t *Taker) patch(ctx context.Context, o v1alpha1.Output, st *v1alpha1.OutputStatus) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	st.Message = leaves(t.left)
	return t.put(ctx, o.Name, typePatch, ".patch", st, func(w io.Writer) error { return t.room.Diff(ctx, t.snapshot, w) })
}

// open gives git the files, once for all outputs.
func (t *Taker) open(ctx context.Context) error {
	if t.room == nil && t.roomErr == nil {
		t.roomErr = t.importFiles(ctx)
	}
	return t.roomErr
}

func (t *Taker) importFiles(ctx context.Context) error {
	room, err := t.Room(ctx)
	if err != nil {
		return err
	}
	tracked, err := room.Tracked(ctx)
	if err != nil {
		return err
	}
	t.snapshot, err = room.Snapshot(ctx, func(to *workspace.Tree) error {
		var err error
		t.left, err = putTree(t.root, tracked, to)
		return err
	})
	if err != nil {
		return fmt.Errorf("giving git the files: %w", err)
	}
	t.room = room
	return nil
}
