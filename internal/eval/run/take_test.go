package run

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
)

// TestTake: what says nothing of the model counts nowhere, and what it can bring about
// itself does in the end.
func TestTake(t *testing.T) {
	tests := map[string]struct {
		reason   harness.End
		category llm.Category
		want     outcome.Result
		again    bool
	}{
		"an overloaded server":        {harness.ModelUnavailable, llm.Overloaded, outcome.Errored, true},
		"a wrong key":                 {harness.ModelUnavailable, llm.CredentialConfig, outcome.Errored, false},
		"no answer in time":           {harness.ModelUnavailable, llm.Timeout, outcome.Failed, true},
		"a sandbox that has ended":    {harness.SandboxLost, "", outcome.Failed, true},
		"an end that tests decide on": {harness.MaxTurns, "", "", false},
	}
	for name, tt := range tests {
		a := &attempt{}
		a.take(harness.Result{Reason: tt.reason, Category: tt.category})
		if a.outcome.Result != tt.want || a.again != tt.again {
			t.Errorf("%s: %q, again: %v; want %q, %v", name, a.outcome.Result, a.again, tt.want, tt.again)
		}
	}
}
