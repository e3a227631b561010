package inpod

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
)

// secretsOf are what the transcript blanks out: keys, and a prompt that was
// given as a Secret.
func (p *Runner) secretsOf(at *v1alpha1.AgentTask, task harness.Task) []string {
	if at.Spec.PromptFrom.SecretKeyRef.Name == "" {
		return p.env.Values()
	}
	return append(p.env.Values(), task.Prompt)
}

// taskFor makes the harness's task: the prompt is read, and the time is what is
// left of the task's active time.
func (p *Runner) taskFor(at *v1alpha1.AgentTask) (harness.Task, error) {
	prompt, err := podPrompt(at, filepath.Join(podapi.InputDir, podapi.PromptFile))
	if err != nil {
		return harness.Task{}, err
	}
	task, err := runner.TaskOf(at, prompt)
	if err == nil {
		err = addFiles(&task, at.Spec.Verify, verifying(at), podapi.InputDir)
	}
	if err == nil {
		used := time.Duration(at.Status.ActiveSeconds) * time.Second // by earlier attempts
		task.Limits.Active = max(runner.ActiveTime(at)-used, time.Millisecond)
	}
	return task, err
}

// addFiles reads the files of the verifications that this pod runs, the Separate ones or the
// others, which the operator mounts into this container alone. What they are now, they are
// for the whole attempt.
func addFiles(task *harness.Task, verify []v1alpha1.Verification, separate bool, dir string) error {
	for i, v := range verify {
		if task.Verify[i].Separate != separate {
			continue
		}
		for _, key := range v.Files.Keys {
			data, err := runner.ReadBounded(filepath.Join(dir, podapi.VerifyFile(i, key)))
			if err != nil {
				return fmt.Errorf("spec.verify[%d].files: reading key %s of ConfigMap %s: %w", i, key, v.Files.ConfigMapName, err)
			}
			if task.Verify[i].Files == nil {
				task.Verify[i].Files = map[string][]byte{}
			}
			task.Verify[i].Files[key] = data
		}
	}
	return nil
}

// podPrompt is the prompt of a task in a pod, where the operator mounts that of
// promptFrom as a file.
func podPrompt(at *v1alpha1.AgentTask, file string) (string, error) {
	switch {
	case at.Spec.Prompt != "":
		return runner.NotBlank(at.Spec.Prompt, "spec.prompt")
	case at.Spec.PromptFrom == (v1alpha1.PromptSource{}):
		return "", nil // the task goes on from another, and is told nothing new
	}
	data, err := runner.ReadBounded(file)
	if err != nil {
		return "", fmt.Errorf("reading the prompt: %w", err)
	}
	kind, ref := "ConfigMap", at.Spec.PromptFrom.ConfigMapKeyRef
	if secret := at.Spec.PromptFrom.SecretKeyRef; secret.Name != "" {
		kind, ref = "Secret", secret
	}
	return runner.NotBlank(string(data), fmt.Sprintf("spec.promptFrom: key %s of %s %s", ref.Key, kind, ref.Name))
}
