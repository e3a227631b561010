package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// 0 is no limit to the harness, and the opposite to who writes it.
func TestTaskOfRefusesNoMoney(t *testing.T) {
	at := &v1alpha1.AgentTask{}
	at.Spec.Limits.CostUSD = "0.0"
	if _, err := taskOf(at, "x"); err == nil || !strings.Contains(err.Error(), `spec.limits.costUSD: "0.0" must be more than 0`) {
		t.Errorf("error is %v", err)
	}
	at.Spec.Limits.CostUSD = ""
	if task, err := taskOf(at, "x"); err != nil || !task.Limits.CostUSD.IsZero() {
		t.Errorf("left out it is %s, %v; want no limit", task.Limits.CostUSD, err)
	}
}

// A prompt that says nothing is refused wherever it is from, and by that name.
func TestBlankPrompt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prompt")
	if err := os.WriteFile(file, []byte(" \n\t\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	key := v1alpha1.KeyReference{Name: "words", Key: "prompt"}
	for name, tc := range map[string]struct {
		spec  v1alpha1.AgentTaskSpec
		local *Local
		want  string
	}{
		"Secret":        {spec: v1alpha1.AgentTaskSpec{PromptFrom: v1alpha1.PromptSource{SecretKeyRef: key}}, want: "spec.promptFrom: key prompt of Secret words: the prompt is blank"},
		"ConfigMap":     {spec: v1alpha1.AgentTaskSpec{PromptFrom: v1alpha1.PromptSource{ConfigMapKeyRef: key}}, want: "spec.promptFrom: key prompt of ConfigMap words: the prompt is blank"},
		"spec":          {spec: v1alpha1.AgentTaskSpec{Prompt: " "}, want: "spec.prompt: the prompt is blank"},
		"local file":    {spec: v1alpha1.AgentTaskSpec{Prompt: "x"}, local: &Local{PromptFile: file}, want: file + ": the prompt is blank"},
		"local in spec": {spec: v1alpha1.AgentTaskSpec{Prompt: "\n"}, local: &Local{TaskFile: "task.yaml"}, want: "task.yaml: spec.prompt: the prompt is blank"},
	} {
		t.Run(name, func(t *testing.T) {
			at := &v1alpha1.AgentTask{Spec: tc.spec}
			var err error
			if tc.local != nil {
				_, err = tc.local.prompt(at)
			} else {
				_, err = podPrompt(at, file)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
