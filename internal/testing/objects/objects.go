// Package objects builds API objects for tests: MakeTask("x").Prompt("…").Obj().
package objects

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
)

// Task builds an AgentTask.
type Task struct{ task v1alpha1.AgentTask }

// MakeTask begins a task with a prompt and nothing else.
func MakeTask(name string) *Task {
	return &Task{v1alpha1.AgentTask{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       v1alpha1.AgentTaskSpec{Prompt: "Mend the failing test."},
	}}
}

// Obj gives the task.
func (b *Task) Obj() *v1alpha1.AgentTask { return b.task.DeepCopy() }

// With changes the task in a way that has no method of its own.
func (b *Task) With(change func(*v1alpha1.AgentTask)) *Task { change(&b.task); return b }

// Namespace sets where it is.
func (b *Task) Namespace(ns string) *Task { b.task.Namespace = ns; return b }

// Prompt sets spec.prompt.
func (b *Task) Prompt(text string) *Task { b.task.Spec.Prompt = text; return b }

// PromptFrom takes the prompt from a ConfigMap's key.
func (b *Task) PromptFrom(name, key string) *Task {
	b.task.Spec.Prompt = ""
	b.task.Spec.PromptFrom.ConfigMapKeyRef = v1alpha1.KeyReference{Name: name, Key: key}
	return b
}

// Model selects a model by its id.
func (b *Task) Model(name string) *Task { b.task.Spec.Model.Name = name; return b }

// In runs it in a named Sandbox.
func (b *Task) In(sandbox string) *Task {
	b.task.Spec.Sandbox.SandboxRef.Name = sandbox
	return b
}

// From asks a pool for its Sandbox.
func (b *Task) From(pool string) *Task { b.task.Spec.Sandbox.PoolRef.Name = pool; return b }

// Image sets the image of its own Sandbox.
func (b *Task) Image(image string) *Task { b.task.Spec.Sandbox.Template.Image = image; return b }

// Active sets limits.activeSeconds.
func (b *Task) Active(seconds int32) *Task { b.task.Spec.Limits.ActiveSeconds = seconds; return b }

// Attempts sets retry.maxAttempts.
func (b *Task) Attempts(n int32) *Task { b.task.Spec.Retry.MaxAttempts = n; return b }

// Verify adds a verify command.
func (b *Task) Verify(name, command string) *Task {
	b.task.Spec.Verify = append(b.task.Spec.Verify, v1alpha1.Verification{Name: name, Command: command})
	return b
}

// VerifyFiles adds a verify command with files of a ConfigMap.
func (b *Task) VerifyFiles(name, command, configMap string, keys ...string) *Task {
	b.Verify(name, command)
	b.task.Spec.Verify[len(b.task.Spec.Verify)-1].Files = v1alpha1.VerificationFiles{ConfigMapName: configMap, Keys: keys}
	return b
}

// VerifySeparately adds a verify command that runs in a pod of its own.
func (b *Task) VerifySeparately(name, command string) *Task {
	b.Verify(name, command)
	b.task.Spec.Verify[len(b.task.Spec.Verify)-1].Isolation = v1alpha1.VerificationSeparate
	return b
}

// State sets spec.state.
func (b *Task) State(s v1alpha1.TaskState) *Task { b.task.Spec.State = s; return b }

// TTL sets spec.ttlSecondsAfterFinished.
func (b *Task) TTL(seconds int32) *Task { b.task.Spec.TTLSecondsAfterFinished = &seconds; return b }

// Sandbox builds a Sandbox.
type Sandbox struct{ sandbox v1alpha1.Sandbox }

// MakeSandbox begins a Sandbox with the operator's defaults.
func MakeSandbox(name string) *Sandbox {
	return &Sandbox{v1alpha1.Sandbox{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       v1alpha1.SandboxSpec{State: v1alpha1.SandboxRunning},
	}}
}

// Obj gives the Sandbox.
func (b *Sandbox) Obj() *v1alpha1.Sandbox { return b.sandbox.DeepCopy() }

// With changes the Sandbox in a way that has no method of its own.
func (b *Sandbox) With(change func(*v1alpha1.Sandbox)) *Sandbox { change(&b.sandbox); return b }

// Namespace sets where it is.
func (b *Sandbox) Namespace(ns string) *Sandbox { b.sandbox.Namespace = ns; return b }

// Image sets the image of the sandbox container.
func (b *Sandbox) Image(image string) *Sandbox { b.sandbox.Spec.Template.Image = image; return b }

// Git checks out a repository.
func (b *Sandbox) Git(url string) *Sandbox { b.sandbox.Spec.Template.Workspace.Git.URL = url; return b }

// MakePool gives a pool that keeps so many Sandboxes warm.
func MakePool(name string, replicas int32) *v1alpha1.SandboxPool {
	return &v1alpha1.SandboxPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       v1alpha1.SandboxPoolSpec{Replicas: &replicas},
	}
}

// MakeProbe gives a probe of some models, or of all.
func MakeProbe(name string, models ...string) *v1alpha1.ModelProbe {
	return &v1alpha1.ModelProbe{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: v1alpha1.ModelProbeSpec{Models: models}}
}

// RegistryDocument is a registry with one model, called demo, of a provider whose key
// is in Secret model-keys.
const RegistryDocument = `version: 1
default: {name: demo}
providers:
  gateway: {type: openai, baseURL: https://gateway.example/v1, apiKey: {secretName: model-keys, key: gateway}}
models:
- {id: demo, provider: gateway}
`

// MakeRegistry gives a registry ConfigMap.
func MakeRegistry(namespace, document string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: modelregistry.ConfigMapName, Namespace: namespace},
		Data:       map[string]string{modelregistry.Key: document},
	}
}
