package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// origin is the record that a task goes on from, as its spec and the operator say.
type origin struct {
	place
	// turn is record.Last where the spec says none.
	turn int
}

// originOf is that of a task; nil without one. Which task it is, of those that have had
// the name, was settled before the first pod: see status.fromUID.
func originOf(task *v1alpha1.AgentTask) *origin {
	from := task.Spec.From
	if from.TaskRef.Name == "" {
		return nil
	}
	o := &origin{
		place: place{Task: record.Task{Namespace: task.Namespace, UID: task.Status.FromUID}, name: from.TaskRef.Name},
		turn:  record.Last,
	}
	if from.Turn != nil {
		o.turn = int(*from.Turn)
	}
	return o
}

// openOrigin gives what the task of a call goes on from.
func (c *call) openOrigin(ctx context.Context) (*subject, error) {
	switch {
	case c.origin == nil:
		return nil, refusal(wire.CodeForbidden, "spec.from of the AgentTask names no other")
	case c.origin.UID == "":
		return nil, fmt.Errorf("%w: status.fromUID of the AgentTask does not say yet which %s is meant", record.ErrUnavailable, c.origin.name)
	}
	s, err := c.door.find(ctx, c.origin.Namespace, c.origin.name, c.origin.UID)
	if apierrors.IsNotFound(err) {
		return nil, refusal(wire.CodeNotFound, "%v", err)
	}
	return s, err
}

// originCheckpoint answers with a checkpoint, whose chunks stay for a while.
func originCheckpoint(ctx context.Context, c *call) error {
	s, err := c.openOrigin(ctx)
	if err != nil {
		return err
	}
	turn, err := c.turnOfOrigin()
	if err != nil {
		return err
	}
	checkpoint, err := s.store.Hold(ctx, s.task, turn)
	if errors.Is(err, record.ErrNotFound) {
		return refusal(wire.CodeNotFound, "AgentTask %s has %v", c.origin.name, err)
	}
	if err != nil {
		return err
	}
	return c.answer(checkpoint)
}

// turnOfOrigin is the turn that is asked for, if it may be: any, where the spec says none.
func (c *call) turnOfOrigin() (int, error) {
	said := c.req.URL.Query().Get(wire.Turn)
	if said == "" {
		return c.origin.turn, nil
	}
	turn, err := strconv.ParseUint(said, 10, 31)
	if err != nil {
		return 0, refusal(wire.CodeInvalid, "parameter %s is %.64q; give the number of a turn", wire.Turn, said)
	}
	if c.origin.turn != record.Last && c.origin.turn != int(turn) {
		return 0, refusal(wire.CodeForbidden, "spec.from.turn of the AgentTask is %d, not %d", c.origin.turn, turn)
	}
	return int(turn), nil
}

// originLog answers with the lines of the transcript.
func originLog(ctx context.Context, c *call) error {
	s, err := c.openOrigin(ctx)
	if err != nil {
		return err
	}
	return c.sendLog(func(from int64) (io.ReadCloser, error) { return s.store.Log(ctx, s.task, from) })
}
