package openai

import "testing"

// TestPatternsCompile: one that does not would end a run when it is first needed.
func TestPatternsCompile(t *testing.T) {
	if len(patterns) < 40 {
		t.Errorf("there are %d patterns", len(patterns))
	}
	for _, p := range patterns {
		p.compiled()
	}
}
