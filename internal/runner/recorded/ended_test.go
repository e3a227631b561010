package recorded

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

func TestEndedElsewhere(t *testing.T) {
	const last = 9
	at := func(turn int) *record.Checkpoint { return &record.Checkpoint{Turn: turn} }
	for name, c := range map[string]struct {
		events    int64
		turns     int
		latest    *record.Checkpoint
		restored  *harness.Restored
		elsewhere bool
	}{
		"ended here":                       {last + 1, 7, at(3), &harness.Restored{Turn: 3}, false},
		"the end's checkpoint":             {last, 7, at(7), &harness.Restored{Turn: 7}, false},
		"an earlier checkpoint":            {last, 7, at(6), &harness.Restored{Turn: 6}, true},
		"a new workspace":                  {last, 7, nil, &harness.Restored{Events: 1}, true},
		"the same workspace":               {last, 7, at(6), nil, false},
		"in turn 0, with a checkpoint":     {last, 0, at(0), &harness.Restored{Events: 1}, false},
		"in turn 0, and a new workspace":   {last, 0, nil, &harness.Restored{Events: 1}, true},
		"in turn 0, in the same workspace": {last, 0, nil, nil, false},
	} {
		j := &Journal{Past: harness.PastOf([]transcript.Event{{Seq: last}}), latest: c.latest}
		res := harness.Result{Progress: harness.Progress{Turns: c.turns}, Transcript: harness.TranscriptSummary{Events: c.events}}
		if got := j.EndedElsewhere(res, c.restored); got != c.elsewhere {
			t.Errorf("%s: %v", name, got)
		}
	}
}
