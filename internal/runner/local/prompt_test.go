package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// A prompt that says nothing is refused wherever it is from, and by that name.
func TestBlankPrompt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prompt")
	if err := os.WriteFile(file, []byte(" \n\t\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		prompt string
		runner Runner
		want   string
	}{
		"file": {prompt: "x", runner: Runner{PromptFile: file}, want: file + ": the prompt is blank"},
		"spec": {prompt: "\n", runner: Runner{TaskFile: "task.yaml"}, want: "task.yaml: spec.prompt: the prompt is blank"},
	} {
		t.Run(name, func(t *testing.T) {
			at := &v1alpha1.AgentTask{Spec: v1alpha1.AgentTaskSpec{Prompt: tc.prompt}}
			if _, err := tc.runner.prompt(at); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
