package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// recordNamespace is where a folder has the records of tasks, each by the task's name.
const recordNamespace = "local"

// Recorded is the record of a task in a folder, which has to be there. The store is to
// be closed.
func Recorded(ctx context.Context, dir, task string) (recorded.Stored, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return recorded.Stored{}, err
	}
	store, err := record.Open(ctx, (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return recorded.Stored{}, err
	}
	return recorded.Stored{Store: store, Task: record.Task{Namespace: recordNamespace, UID: task}}, nil
}

// parseOrigin reads TASK or TASK@TURN.
func parseOrigin(said string) (v1alpha1.TaskOrigin, error) {
	name, turn, hasTurn := strings.Cut(said, "@")
	from := v1alpha1.TaskOrigin{TaskRef: v1alpha1.OriginTaskReference{Name: name}}
	if name == "" {
		return from, fmt.Errorf("--from is %q; name a task of the record, as in fix or fix@3", said)
	}
	if hasTurn {
		n, err := strconv.ParseInt(turn, 10, 32)
		if err != nil || n < 0 {
			return from, fmt.Errorf("--from is %q; after @ comes the number of a turn, from 0", said)
		}
		from.Turn = new(int32(n))
	}
	return from, nil
}

// takeOrigin takes --from for the task, and refuses what cannot be gone on from.
func (l Runner) takeOrigin(at *v1alpha1.AgentTask) error {
	if l.From != "" {
		from, err := parseOrigin(l.From)
		if err != nil {
			return err
		}
		if at.Spec.From.TaskRef.Name != "" {
			return fmt.Errorf("--from is given, and %s has spec.from; leave one of them out", l.TaskFile)
		}
		at.Spec.From = from
	}
	switch from := at.Spec.From.TaskRef; {
	case from.Name == "":
		return nil
	case l.RecordDir == "":
		return fmt.Errorf("the task goes on from %s, whose record is needed: give its folder with --record", from.Name)
	case from.UID != "":
		return errors.New("spec.from.taskRef.uid needs a cluster; a folder has one record of a name")
	case from.Name == at.Name:
		return fmt.Errorf("the task %s cannot go on from itself; give it another metadata.name", at.Name)
	case at.Spec.SystemPrompt != "":
		return errors.New("a task that goes on from another has that one's system prompt; leave spec.systemPrompt out")
	}
	return nil
}

// openRecord begins the record of the task in RecordDir, if that is set, or opens what an
// earlier process has left there.
func (l Runner) openRecord(ctx context.Context, at *v1alpha1.AgentTask, task harness.Task, opts transcript.Options, p *place) (done func() error, err error) {
	if l.RecordDir == "" {
		return func() error { return nil }, nil
	}
	unlock, err := lockRecord(l.RecordDir, at.Name)
	if err != nil {
		return nil, &runner.UsageError{Err: err}
	}
	own, err := Recorded(ctx, l.RecordDir, at.Name)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	recording, stop := recorded.Graceful(ctx, recorded.Grace)
	done = func() error {
		stop()
		return errors.Join(own.Store.Close(), unlock())
	}
	if p.journal, err = l.resumeRecord(recording, own, at, task, opts); err != nil {
		return nil, errors.Join(err, done())
	}
	p.base = p.journal.Base()
	return done, nil
}

func (l Runner) resumeRecord(ctx context.Context, own recorded.Stored, at *v1alpha1.AgentTask, task harness.Task, opts transcript.Options) (*recorded.Journal, error) {
	said := ""
	j, err := recorded.Resume(ctx, own.Recorder(record.Writer{Attempt: 1, PodUID: rand.Text()}), recorded.Listener{
		Resumed: func(harness.Progress) {},
		Kept: func(_ record.Checkpoint, message string) {
			if message != said && message != "" && l.Notice != nil {
				l.Notice("Checkpoint: " + message)
			}
			said = message
		},
	}, opts)
	if err != nil {
		return nil, fmt.Errorf("the record in %s: %w", l.RecordDir, err)
	}
	if j.Past.Events() > 0 {
		if err := sameTask(j.Writer, j.Past, task); err != nil {
			return nil, &runner.UsageError{Err: fmt.Errorf("the record in %s has a task of that name: %w; give this one another metadata.name, or another folder", l.RecordDir, err)}
		}
	}
	from := at.Spec.From
	if from.TaskRef.Name == "" {
		if from = begunFrom(j.Past); from.TaskRef.Name == "" {
			return j, nil
		}
	}
	turn := record.Last
	if from.Turn != nil {
		turn = int(*from.Turn)
	}
	origin := recorded.Stored{Store: own.Store, Task: record.Task{Namespace: recordNamespace, UID: from.TaskRef.Name}}
	if err := j.From(ctx, origin, from.TaskRef.Name, "", turn); err != nil {
		return nil, &runner.UsageError{Err: fmt.Errorf("the record in %s: %w", l.RecordDir, err)}
	}
	return j, nil
}

// begunFrom is what a run has begun with the state of, whether that is said again or not.
func begunFrom(past *harness.Past) (from v1alpha1.TaskOrigin) {
	if began, err := past.Began(); err == nil && began.From != nil {
		from.TaskRef.Name = began.From.Task
	}
	return from
}

// lockRecord makes sure that one process at a time runs a task of a folder's, which it makes.
func lockRecord(dir, task string) (unlock func() error, err error) {
	locks := filepath.Join(dir, "locks")
	if err := os.MkdirAll(locks, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the record: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(locks, task), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := transcript.Lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("the task %s of the record in %s: %w", task, dir, err), f.Close())
	}
	return f.Close, nil
}
