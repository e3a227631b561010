package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AgentTaskSpec says what the agent has to do, with which model, within which
// limits, and what proves that it is done. Apart from state and
// ttlSecondsAfterFinished it cannot be changed after creation.
//
// +kubebuilder:validation:XValidation:rule="has(self.prompt) ? !(has(self.promptFrom) && (has(self.promptFrom.configMapKeyRef) || has(self.promptFrom.secretKeyRef))) : (has(self.promptFrom) && (has(self.promptFrom.configMapKeyRef) || has(self.promptFrom.secretKeyRef))) || has(self.from)",message="set exactly one of prompt and promptFrom; with from, at most one"
// +kubebuilder:validation:XValidation:rule="has(self.prompt) || !has(self.promptFrom) || !has(self.sandbox) || !has(self.sandbox.sandboxRef)",message="promptFrom needs a Sandbox of the task's own: the pod of a named one exists before the task; use prompt"
// +kubebuilder:validation:XValidation:rule="has(self.prompt) == has(oldSelf.prompt) && (!has(self.prompt) || self.prompt == oldSelf.prompt)",message="prompt is immutable; create a new AgentTask instead",fieldPath=".prompt"
// +kubebuilder:validation:XValidation:rule="has(self.promptFrom) == has(oldSelf.promptFrom) && (!has(self.promptFrom) || self.promptFrom == oldSelf.promptFrom)",message="promptFrom is immutable; create a new AgentTask instead",fieldPath=".promptFrom"
// +kubebuilder:validation:XValidation:rule="has(self.from) == has(oldSelf.from) && (!has(self.from) || self.from == oldSelf.from)",message="from is immutable; create a new AgentTask instead",fieldPath=".from"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.systemPrompt)",message="a task that goes on from another has that one's system prompt; leave systemPrompt out",fieldPath=".systemPrompt"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.sandbox) || !has(self.sandbox.sandboxRef)",message="a task that goes on from another needs a Sandbox of its own, whose workspace is made from the checkpoint; leave sandboxRef out",fieldPath=".sandbox"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.sandbox) || !has(self.sandbox.template) || !has(self.sandbox.template.workspace) || !has(self.sandbox.template.workspace.persistence) || self.sandbox.template.workspace.persistence != 'Persistent'",message="a task that goes on from another needs an ephemeral workspace, which its record keeps; leave workspace.persistence out",fieldPath=".sandbox"
// +kubebuilder:validation:XValidation:rule="has(self.systemPrompt) == has(oldSelf.systemPrompt) && (!has(self.systemPrompt) || self.systemPrompt == oldSelf.systemPrompt)",message="systemPrompt is immutable; create a new AgentTask instead",fieldPath=".systemPrompt"
// +kubebuilder:validation:XValidation:rule="has(self.model) == has(oldSelf.model) && (!has(self.model) || self.model == oldSelf.model)",message="model is immutable; create a new AgentTask instead",fieldPath=".model"
// +kubebuilder:validation:XValidation:rule="has(self.sandbox) == has(oldSelf.sandbox) && (!has(self.sandbox) || self.sandbox == oldSelf.sandbox)",message="sandbox is immutable; create a new AgentTask instead",fieldPath=".sandbox"
// +kubebuilder:validation:XValidation:rule="has(self.tools) == has(oldSelf.tools) && (!has(self.tools) || self.tools == oldSelf.tools)",message="tools is immutable; create a new AgentTask instead",fieldPath=".tools"
// +kubebuilder:validation:XValidation:rule="has(self.limits) == has(oldSelf.limits) && (!has(self.limits) || self.limits == oldSelf.limits)",message="limits is immutable; create a new AgentTask instead",fieldPath=".limits"
// +kubebuilder:validation:XValidation:rule="has(self.verify) == has(oldSelf.verify) && (!has(self.verify) || self.verify == oldSelf.verify)",message="verify is immutable; create a new AgentTask instead",fieldPath=".verify"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || !has(self.sandbox) || !has(self.sandbox.sandboxRef) || !self.verify.exists(v, has(v.files))",message="files of verify need a Sandbox of the task's own: the pod of a named one exists before the task",fieldPath=".verify"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || !self.verify.exists(v, has(v.isolation) && v.isolation == 'Separate') || !has(self.sandbox) || !has(self.sandbox.sandboxRef) && (!has(self.sandbox.template) || !has(self.sandbox.template.workspace) || !has(self.sandbox.template.workspace.persistence) || self.sandbox.template.workspace.persistence != 'Persistent')",message="isolation Separate needs a checkpoint of the workspace: use a Sandbox of the task's own, and leave workspace.persistence out",fieldPath=".verify"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || !self.verify.exists(v, has(v.isolation) && v.isolation == 'Separate') || !has(self.sandbox) || !has(self.sandbox.template) || !has(self.sandbox.template.volumes) || self.sandbox.template.volumes.all(v, (!has(v.persistentVolumeClaim) || has(v.persistentVolumeClaim.readOnly) && v.persistentVolumeClaim.readOnly) && (!has(v.csi) || has(v.csi.readOnly) && v.csi.readOnly))",message="isolation Separate needs a Sandbox without volumes that tools can write to and that outlive its pod: make claims and csi volumes readOnly",fieldPath=".verify"
// +kubebuilder:validation:XValidation:rule="has(self.outputs) == has(oldSelf.outputs) && (!has(self.outputs) || self.outputs == oldSelf.outputs)",message="outputs is immutable; create a new AgentTask instead",fieldPath=".outputs"
// +kubebuilder:validation:XValidation:rule="!has(self.outputs) || self.outputs.all(o, has(o.path)) || has(self.sandbox) && (has(self.sandbox.sandboxRef) || has(self.sandbox.poolRef) || has(self.sandbox.template) && has(self.sandbox.template.workspace) && has(self.sandbox.template.workspace.git))",message="a patch and a branch need a repository: set sandbox.template.workspace.git",fieldPath=".outputs"
// +kubebuilder:validation:XValidation:rule="!has(self.outputs) || !has(self.sandbox) || !has(self.sandbox.sandboxRef) || !self.outputs.exists(o, has(o.branch) && has(o.branch.credentialsSecretRef))",message="branch.credentialsSecretRef needs a Sandbox of the task's own: the pod of a named one exists before the task; its workspace.git.credentialsSecretRef is used there",fieldPath=".outputs"
// +kubebuilder:validation:XValidation:rule="has(self.retry) == has(oldSelf.retry) && (!has(self.retry) || self.retry == oldSelf.retry)",message="retry is immutable; create a new AgentTask instead",fieldPath=".retry"
// +kubebuilder:validation:XValidation:rule="self.state == oldSelf.state || oldSelf.state != 'Cancelled'",message="a cancelled AgentTask stays cancelled; create a new AgentTask instead",fieldPath=".state"
// +kubebuilder:validation:MinProperties=1
type AgentTaskSpec struct {
	// prompt is what the agent is asked to do. A longer prompt goes into a
	// ConfigMap or Secret, see promptFrom.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Prompt string `json:"prompt,omitempty"`

	// promptFrom takes the prompt from a key of a ConfigMap or a Secret in the
	// task's namespace.
	// +optional
	PromptFrom PromptSource `json:"promptFrom,omitzero"`

	// from has the task go on from another one: with its conversation up to a turn,
	// and with the workspace as it was then. prompt, if there is one, is what the
	// agent is told next. Everything else is the task's own: model, tools, limits,
	// verify, outputs. Both have to be recorded.
	// +optional
	From TaskOrigin `json:"from,omitzero"`

	// systemPrompt is added to the built-in system prompt.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	SystemPrompt string `json:"systemPrompt,omitempty"`

	// model says what to route to. Unset, the registry's default is used.
	// +optional
	Model ModelSelector `json:"model,omitzero"`

	// sandbox says where to run. Unset, the task gets a Sandbox of its own.
	// +optional
	Sandbox TaskSandbox `json:"sandbox,omitzero"`

	// tools says which tools the model may call. Unset, all built-in tools.
	// +optional
	Tools ToolSelection `json:"tools,omitzero"`

	// limits are hard stops. The model is told once, before it reaches one.
	// +optional
	Limits Limits `json:"limits,omitzero"`

	// verify lists commands that prove the work. They run in the sandbox, in
	// order, when the model says that it is done. A failing one goes back to
	// the model as an observation.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Verify []Verification `json:"verify,omitempty"`

	// outputs are what the task leaves, taken from the workspace once the run has ended.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Outputs []Output `json:"outputs,omitempty"`

	// retry says what happens when the pod or its node is lost. A failure of the
	// model or of a verify command is not retried.
	// +optional
	Retry RetryPolicy `json:"retry,omitzero"`

	// state is what the user wants of the task now. Suspended stops the pod and
	// keeps the task; Active goes on; Cancelled ends it and keeps the record.
	// +optional
	// +default="Active"
	State TaskState `json:"state,omitempty"`

	// record says how long the record of the task is kept: its transcript, its
	// checkpoints and its outputs.
	// +optional
	Record RecordPolicy `json:"record,omitzero"`

	// ttlSecondsAfterFinished deletes the task that many seconds after it
	// finished. Unset keeps it: a GitOps tool would create and run it again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// TaskOrigin is a state of another task.
type TaskOrigin struct {
	// taskRef is that task.
	// +required
	TaskRef OriginTaskReference `json:"taskRef,omitzero"`

	// turn whose checkpoint is gone on from; 0 is the state before the first. Unset,
	// the last one that there is when this task begins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Turn *int32 `json:"turn,omitempty"`
}

// OriginTaskReference names an AgentTask of the same namespace.
type OriginTaskReference struct {
	// name of the AgentTask.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// uid tells tasks that have had the name apart. One that was deleted is found by
	// it, as long as its record is kept. Unset, it is the task that has the name when
	// this one begins.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:Pattern=`^[0-9a-zA-Z](-?[0-9a-zA-Z])*$`
	UID string `json:"uid,omitempty"`
}

// RecordPolicy is how long a record is kept.
// +kubebuilder:validation:MinProperties=1
type RecordPolicy struct {
	// retainSeconds keeps the record for that many seconds after the task was
	// deleted. Without it the record goes with the task.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=315360000
	RetainSeconds int64 `json:"retainSeconds,omitempty"`
}

// TaskState is what the user wants of a task.
// +kubebuilder:validation:Enum=Active;Suspended;Cancelled
type TaskState string

// The task states.
const (
	TaskActive    TaskState = "Active"
	TaskSuspended TaskState = "Suspended"
	TaskCancelled TaskState = "Cancelled"
)

// PromptSource is where a prompt comes from.
// +kubebuilder:validation:XValidation:rule="!has(self.configMapKeyRef) || !has(self.secretKeyRef)",message="set only one of configMapKeyRef and secretKeyRef"
// +kubebuilder:validation:MinProperties=1
type PromptSource struct {
	// configMapKeyRef is a key of a ConfigMap in the task's namespace.
	// +optional
	ConfigMapKeyRef KeyReference `json:"configMapKeyRef,omitzero"`

	// secretKeyRef is a key of a Secret in the task's namespace. Only the
	// task's own runner reads it.
	// +optional
	SecretKeyRef KeyReference `json:"secretKeyRef,omitzero"`
}

// KeyReference is a key of a ConfigMap or Secret of the same namespace.
type KeyReference struct {
	// name of the ConfigMap or Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key within its data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// ModelSelector picks models of the registry; the candidates are tried in order.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type ModelSelector struct {
	// name is the id of one model; its fallback group is tried after it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// group is a fallback group.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Group string `json:"group,omitempty"`

	// role is what the model is meant for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Role string `json:"role,omitempty"`
}

// TaskSandbox says where a task runs.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type TaskSandbox struct {
	// template makes a Sandbox for this task alone. It has the task's name, is
	// deleted with the task, and gets a new pod for each attempt.
	// +optional
	Template SandboxTemplate `json:"template,omitzero"`

	// sandboxRef runs the task in an existing Sandbox of the same namespace, one
	// task at a time; others wait in creation order with reason SandboxBusy. It
	// cannot be one that another task has made for itself.
	// +optional
	SandboxRef SandboxReference `json:"sandboxRef,omitzero"`

	// poolRef claims a warm Sandbox of a SandboxPool of the same namespace, which is
	// the task's own from then on and is deleted with it. Where the pool has none, one
	// is made from its template: the task never waits for the pool.
	// +optional
	PoolRef PoolReference `json:"poolRef,omitzero"`
}

// SandboxReference names a Sandbox of the same namespace.
type SandboxReference struct {
	// name of the Sandbox.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
}

// ToolSelection says which tools the model is offered.
type ToolSelection struct {
	// allowed lists the names of the tools, for example read_file.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Allowed []ToolName `json:"allowed,omitempty"`
}

// ToolName is the name of a built-in tool, as the model sees it.
// +kubebuilder:validation:Enum=read_file;write_file;edit_file;bash;grep;glob
type ToolName string

// Limits are hard stops of a task.
// +kubebuilder:validation:MinProperties=1
type Limits struct {
	// turns is how many model calls one attempt may make. Default 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Turns int32 `json:"turns,omitempty"`

	// activeSeconds is how long the task may be active, over all attempts since its
	// start or its last resume. Waiting for quota, for a node or for a Sandbox does
	// not count; waiting for what only a user can fix may take as long. Default 3600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	ActiveSeconds int32 `json:"activeSeconds,omitempty"`

	// inputTokens is how many tokens may be sent, over all attempts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000000
	InputTokens int64 `json:"inputTokens,omitempty"`

	// outputTokens is how many tokens may be received, over all attempts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000000
	OutputTokens int64 `json:"outputTokens,omitempty"`

	// costUSD is how much may be spent, over all attempts, in US dollars as a
	// decimal string of more than 0, for example "2.50". It needs models with a
	// price.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="costUSD must be more than 0; leave it out for no limit"
	CostUSD string `json:"costUSD,omitempty"`

	// toolSeconds is how long one tool call may take. Default 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	ToolSeconds int32 `json:"toolSeconds,omitempty"`
}

// Verification is a command that must exit with status 0 in the sandbox.
type Verification struct {
	// name tells verifications apart. It is one line.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\p{Cc}\p{Zl}\p{Zp}]')`,message="name must be one line without control characters"
	Name string `json:"name,omitempty"`

	// command is a shell command, run at the workspace's root.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Command string `json:"command,omitempty"`

	// timeoutSeconds kills the command, which then has failed. Default 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`

	// files are there while the command runs, read-only, in the folder that its
	// environment variable VERIFY_FILES names. No tool of the agent ever sees them.
	// +optional
	Files VerificationFiles `json:"files,omitzero"`

	// isolation says on which machine the command runs: Shared, the agent's own, or
	// Separate, a new one. There the workspace is that of the last checkpoint, and nothing
	// else is as the agent has left it; it runs after the Shared ones have passed, and what
	// it changes is not seen by the agent. Default Shared.
	// +optional
	Isolation VerificationIsolation `json:"isolation,omitempty"`
}

// VerificationIsolation says on which machine a verify command runs.
// +kubebuilder:validation:Enum=Shared;Separate
type VerificationIsolation string

// The isolations.
const (
	// VerificationShared runs in the agent's sandbox, once nothing else runs there.
	VerificationShared VerificationIsolation = "Shared"
	// VerificationSeparate runs in another pod, with the files of the workspace.
	VerificationSeparate VerificationIsolation = "Separate"
)

// VerificationFiles are keys of a ConfigMap in the task's namespace, as they are when
// an attempt starts.
type VerificationFiles struct {
	// configMapName is the name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ConfigMapName string `json:"configMapName,omitempty"`

	// keys are the keys of its data that are files, by the same names.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:items:XValidation:rule="self != '.' && self != '..'",message="must be the name of a file"
	Keys []string `json:"keys,omitempty"`
}

// RetryPolicy says how often a task is started again after it lost its pod.
// +kubebuilder:validation:MinProperties=1
type RetryPolicy struct {
	// maxAttempts counts the first attempt too, and not those that were lost to
	// the cluster: to an eviction, a drain, a preemption or a node. Default 3.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	MaxAttempts int32 `json:"maxAttempts,omitempty"`
}

// AgentTask is one piece of work for an AI agent.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=atask,categories=sampan
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Turns",type=integer,JSONPath=`.status.progress.turns`
// +kubebuilder:printcolumn:name="Cost",type=string,JSONPath=`.status.progress.usage.costUSD`,description="US dollars"
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.progress.model`
// +kubebuilder:printcolumn:name="Sandbox",type=string,priority=1,JSONPath=`.status.sandboxName`
// +kubebuilder:printcolumn:name="Attempt",type=integer,priority=1,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Started",type=date,priority=1,JSONPath=`.status.startTime`
// +kubebuilder:printcolumn:name="Finished",type=date,priority=1,JSONPath=`.status.completionTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="name must be at most 52 characters: names of sandboxes and pods are made from it"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.from) || has(self.spec.from.taskRef.uid) || self.spec.from.taskRef.name != self.metadata.name",message="a task cannot go on from itself; give uid if an earlier task of the name is meant",fieldPath=".spec.from"
type AgentTask struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	// +required
	Spec AgentTaskSpec `json:"spec,omitzero"`

	// status is what is known.
	// +optional
	Status AgentTaskStatus `json:"status,omitzero"`
}

// AgentTaskList is a list of AgentTasks.
// +kubebuilder:object:root=true
type AgentTaskList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []AgentTask `json:"items"`
}
