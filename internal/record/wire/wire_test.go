package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

func TestErrorsCrossTheWire(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
	}{
		"not found":   {fmt.Errorf("output x: %w", record.ErrNotFound), http.StatusNotFound},
		"fenced":      {fmt.Errorf("append: %w", record.ErrFenced), http.StatusConflict},
		"unavailable": {fmt.Errorf("disk: %w", record.ErrUnavailable), http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			p := wire.ProblemOf(row.err)
			if p.Status() != row.status {
				t.Errorf("status is %d, want %d", p.Status(), row.status)
			}
			if !errors.Is(p.Err(), errors.Unwrap(row.err)) {
				t.Errorf("%v came over as %v", row.err, p.Err())
			}
		})
	}
}

func TestADamagedObjectCrossesTheWire(t *testing.T) {
	want := &record.CorruptError{Object: "tasks/a/b", Reason: "its digest is another"}
	p := wire.ProblemOf(fmt.Errorf("reading: %w", want))
	var got *record.CorruptError
	if p.Status() != http.StatusInternalServerError || !errors.As(p.Err(), &got) {
		t.Fatalf("got %d and %v", p.Status(), p.Err())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABadArgumentIsNoErrorOfTheStore(t *testing.T) {
	p := wire.ProblemOf(errors.New("first is 0, it counts from 1"))
	if p.Status() != http.StatusBadRequest {
		t.Errorf("status is %d, want 400", p.Status())
	}
	for _, e := range []error{record.ErrNotFound, record.ErrFenced, record.ErrUnavailable, context.Canceled} {
		if errors.Is(p.Err(), e) {
			t.Errorf("came over as %v", e)
		}
	}
}

func TestPathsAreEscaped(t *testing.T) {
	got := wire.TaskPath("a/b", "..", "u?d") + wire.OutputPath("x y/../z")
	if want := "/v1/namespaces/a%2Fb/agenttasks/../u%3Fd/outputs/x%20y%2F..%2Fz"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
