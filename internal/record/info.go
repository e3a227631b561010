package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gocloud.dev/blob"
)

// KindSandbox is the kind of a record that has the workspace of a named Sandbox.
const KindSandbox = "Sandbox"

// Info is what a record knows of its task, for when the task is gone.
type Info struct {
	Name string `json:"name"`
	// Kind is empty for a task, or KindSandbox: the name is that of a Sandbox then, and so
	// is the UID of the record.
	Kind    string    `json:"kind,omitempty"`
	Created time.Time `json:"created"`
	// Ended is when the task did, unless it still goes on.
	Ended *time.Time `json:"ended,omitempty"`
	// RetainSeconds is how long the record is to outlive its task.
	RetainSeconds int64 `json:"retainSeconds,omitempty"`
}

// Describe keeps what the record of a task knows of it, in place of what it knew.
func (s *Store) Describe(ctx context.Context, t Task, i Info) error {
	if err := t.Check(); err != nil {
		return err
	}
	payload, err := marshal("what is known of a task", i)
	if err != nil {
		return err
	}
	return s.put(ctx, t.infoKey(), payload)
}

// Info gives what was kept by Describe, ErrNotFound where nothing was.
func (s *Store) Info(ctx context.Context, t Task) (Info, error) {
	if err := t.Check(); err != nil {
		return Info{}, err
	}
	var i Info
	err := s.getJSON(ctx, t.infoKey(), &i)
	return i, err
}

// Delete deletes the record of a task. What is known of the task goes last, so that
// what a failure leaves can still be judged. The chunks are for Sweep.
func (s *Store) Delete(ctx context.Context, t Task) error {
	_, err := s.delete(ctx, t)
	return err
}

// delete counts the objects that it has deleted.
func (s *Store) delete(ctx context.Context, t Task) (int, error) {
	if err := t.Check(); err != nil {
		return 0, err
	}
	defer s.forget(t)
	removed, info := 0, false
	err := s.list(ctx, t.prefix(), "", func(obj *blob.ListObject) error {
		if obj.Key == t.infoKey() {
			info = true
			return nil
		}
		removed++
		return s.remove(ctx, obj.Key)
	})
	if err == nil && info {
		removed++
		err = s.remove(ctx, t.infoKey())
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fmt.Errorf("the record of %s/%s is not deleted whole: %w", t.Namespace, t.UID, err)
	}
	return removed, err
}
