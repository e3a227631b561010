// Package recorders gives tests a record.
package recorders

import (
	"context"
	"fmt"
	"testing"

	"github.com/sampan-dev/sampan/internal/record"
)

// Memory is a record of one task in memory, and what its writer of an attempt sees.
func Memory(t *testing.T) func(attempt int32) record.Recorder {
	t.Helper()
	store, err := record.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(attempt int32) record.Recorder {
		w := record.Writer{Attempt: attempt, PodUID: fmt.Sprintf("pod-%d", attempt)}
		return served{store.Recorder(record.Task{Namespace: "ns", UID: "u"}, w), w}
	}
}

// served says who writes, as the server of the record does.
type served struct {
	record.Recorder
	w record.Writer
}

func (s served) Commit(ctx context.Context, c record.Checkpoint) error {
	c.Writer = s.w
	return s.Recorder.Commit(ctx, c)
}
