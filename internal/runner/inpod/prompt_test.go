package inpod

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
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

// The files of a verification are those that are mounted for it.
func TestVerificationFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, podapi.VerifyFile(1, "test.sh"))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("exit 0"), 0o644); err != nil {
		t.Fatal(err)
	}
	verify := []v1alpha1.Verification{{Name: "a"}, {Name: "b", Files: v1alpha1.VerificationFiles{ConfigMapName: "tests", Keys: []string{"test.sh"}}}}
	task := harness.Task{Verify: make([]harness.Verification, 2)}
	if err := addFiles(&task, verify, false, dir); err != nil {
		t.Fatal(err)
	}
	if task.Verify[0].Files != nil || len(task.Verify[1].Files) != 1 || string(task.Verify[1].Files["test.sh"]) != "exit 0" {
		t.Errorf("%+v", task.Verify)
	}
	separate := harness.Task{Verify: []harness.Verification{{}, {Separate: true}}}
	if err := addFiles(&separate, verify, false, dir); err != nil || separate.Verify[1].Files != nil {
		t.Errorf("the agent's pod has the files of a Separate verification: %+v, %v", separate.Verify, err)
	}
	if err := addFiles(&separate, verify, true, dir); err != nil || len(separate.Verify[1].Files) != 1 {
		t.Errorf("the pod of a Separate verification: %+v, %v", separate.Verify, err)
	}
	verify[1].Files.Keys = []string{"gone"}
	if err := addFiles(&task, verify, false, dir); err == nil || !strings.Contains(err.Error(), "spec.verify[1].files: reading key gone of ConfigMap tests") {
		t.Error(err)
	}
}
