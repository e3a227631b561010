package inpod

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
	key := v1alpha1.KeyReference{Name: "words", Key: "prompt"}
	for name, tc := range map[string]struct {
		spec v1alpha1.AgentTaskSpec
		want string
	}{
		"Secret":    {spec: v1alpha1.AgentTaskSpec{PromptFrom: v1alpha1.PromptSource{SecretKeyRef: key}}, want: "spec.promptFrom: key prompt of Secret words: the prompt is blank"},
		"ConfigMap": {spec: v1alpha1.AgentTaskSpec{PromptFrom: v1alpha1.PromptSource{ConfigMapKeyRef: key}}, want: "spec.promptFrom: key prompt of ConfigMap words: the prompt is blank"},
		"spec":      {spec: v1alpha1.AgentTaskSpec{Prompt: " "}, want: "spec.prompt: the prompt is blank"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := podPrompt(&v1alpha1.AgentTask{Spec: tc.spec}, file); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
