package harness

import (
	"bytes"
	"context"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sampan-dev/sampan/internal/transcript"
)

// everything compares states with all that is in them.
var everything = cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()}

// checkReplay: a process that reads the record stands where this one does.
func (f *fixture) checkReplay(t *testing.T, live state) {
	t.Helper()
	events := readEvents(t, f)
	past := PastOf(events)
	if _, err := past.Standing(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(live, past.state, everything); diff != "" {
		t.Errorf("the state of the run and what is read from its record differ (-live +replayed):\n%s", diff)
	}
}

func readEvents(t *testing.T, f *fixture) []transcript.Event {
	t.Helper()
	events, _, err := transcript.ReadAll(bytes.NewReader(f.out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// A state stays as it is, whatever is applied to it.
func TestApplyLeavesTheStateAlone(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			f := randomFixture(rand.New(rand.NewPCG(seed, 2)))
			Run(context.Background(), f.Config)
			events := readEvents(t, f)
			var states []state
			var s state
			for _, e := range events {
				data, err := e.Decode()
				if err != nil {
					t.Fatal(err)
				}
				s = apply(s, event{turn: e.Turn, time: e.Time, data: data.(transcript.Data)})
				states = append(states, s)
			}
			for i, was := range states {
				again := PastOf(events[:i+1])
				if _, err := again.Standing(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(again.state, was, everything); diff != "" {
					t.Fatalf("seed %d: the state after event %d was changed by later ones (-want +got):\n%s", seed, i+1, diff)
				}
			}
		})
	}
}
