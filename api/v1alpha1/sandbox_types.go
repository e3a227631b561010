package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SandboxSpec says what a Sandbox is made of. Its template cannot be changed
// after creation.
// +kubebuilder:validation:XValidation:rule="has(self.template) == has(oldSelf.template) && (!has(self.template) || self.template == oldSelf.template)",message="template is immutable; create a new Sandbox instead",fieldPath=".template"
// +kubebuilder:validation:MinProperties=1
type SandboxSpec struct {
	// template is what the pod is made from. Unset, the operator's defaults.
	// +optional
	Template SandboxTemplate `json:"template,omitzero"`

	// state is what is wanted of the pod. Suspended deletes the pod, once the record
	// has an ephemeral workspace; the next pod restores it. Without a record an
	// ephemeral workspace goes with the pod.
	// +optional
	// +default="Running"
	State SandboxState `json:"state,omitempty"`

	// idleSeconds is how long the Sandbox may be unused before its pod is
	// deleted, as by state Suspended; the next task gets a new pod.
	// Unset keeps the pod.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	IdleSeconds int32 `json:"idleSeconds,omitempty"`

	// ttlSeconds is how long the Sandbox may be unused before it is
	// deleted, with its workspace. Unset keeps it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	TTLSeconds int32 `json:"ttlSeconds,omitempty"`
}

// SandboxState is what is wanted of a Sandbox's pod.
// +kubebuilder:validation:Enum=Running;Suspended
type SandboxState string

// The sandbox states.
const (
	SandboxRunning   SandboxState = "Running"
	SandboxSuspended SandboxState = "Suspended"
)

// TaskReference names an AgentTask of the same namespace.
type TaskReference struct {
	// name of the AgentTask.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// uid of the AgentTask, so that a later one of the same name is not taken for it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`

	// attempt of the task that runs here.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
}

// SandboxStatus is what is known of a Sandbox.
// +kubebuilder:validation:MinProperties=1
type SandboxStatus struct {
	// conditions are Ready and, while they hold, Reconciling, Stalled and Suspending.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// taskRef is the task that holds the Sandbox, or, of a task's own Sandbox, the
	// attempt that its pod was made for. It is in the status so that whoever
	// replaces the spec cannot take the Sandbox from a running task.
	// +optional
	TaskRef TaskReference `json:"taskRef,omitzero"`

	// podName is the pod that runs, or last ran, for this Sandbox.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podName,omitempty"`

	// podUID is the UID of that pod.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	PodUID string `json:"podUID,omitempty"`

	// podIP is the address of that pod.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PodIP string `json:"podIP,omitempty"`

	// nodeName is the node of that pod.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName,omitempty"`

	// restarts counts how often the pod was replaced. Pods are named after the
	// Sandbox, with a number that is one more.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Restarts *int32 `json:"restarts,omitempty"`

	// lastActivityTime is when the Sandbox was created, a task claimed or released
	// it, it was used by way of the API server, or its spec was last changed.
	// idleSeconds and ttlSeconds count from it.
	// +optional
	LastActivityTime *metav1.Time `json:"lastActivityTime,omitempty"`

	// checkpoint is what the record has of an ephemeral workspace and the home beside
	// it. The runner writes it. It is unset where nothing is kept: the workspace is
	// Persistent, or a task's own, or the cluster has no record.
	// +optional
	Checkpoint SandboxCheckpoint `json:"checkpoint,omitzero"`
}

// SandboxCheckpoint is the last checkpoint of a workspace, and how far its runner is
// with the one before the pod goes.
// +kubebuilder:validation:MinProperties=1
type SandboxCheckpoint struct {
	// podUID is the pod whose runner says this.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	PodUID string `json:"podUID,omitempty"`

	// state is set while the Sandbox is suspended: Taking, Complete, or Failed, which
	// is tried again. NotRestored says that the pod could not restore the last
	// checkpoint, and serves nobody.
	// +optional
	State CheckpointState `json:"state,omitempty"`

	// time is when the last checkpoint was taken; unset without one.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`

	// files in the workspace of the last checkpoint.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Files *int64 `json:"files,omitempty"`

	// bytes of those files.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Bytes *int64 `json:"bytes,omitempty"`

	// message says what it does not have, or why there is no newer one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// CheckpointState is how far a runner is with the last checkpoint of its pod.
// +kubebuilder:validation:Enum=Taking;Complete;Failed;NotRestored
type CheckpointState string

// The states of a last checkpoint. Complete says that the record has all of the
// workspace, and that nothing changes it any more.
const (
	CheckpointTaking   CheckpointState = "Taking"
	CheckpointComplete CheckpointState = "Complete"
	CheckpointFailed   CheckpointState = "Failed"
	// CheckpointNotRestored: the last checkpoint is there, and its workspace is not in
	// the pod.
	CheckpointNotRestored CheckpointState = "NotRestored"
)

// Sandbox is a pod in which agents work: a trusted runner and an untrusted
// container for tools.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=sandboxes,shortName=box,categories=sampan
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.status.taskRef.name`
// +kubebuilder:printcolumn:name="Pod",type=string,priority=1,JSONPath=`.status.podName`
// +kubebuilder:printcolumn:name="Node",type=string,priority=1,JSONPath=`.status.nodeName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 56",message="name must be at most 56 characters: names of pods are made from it"
type Sandbox struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	// +required
	Spec SandboxSpec `json:"spec,omitzero"`

	// status is what is known.
	// +optional
	Status SandboxStatus `json:"status,omitzero"`
}

// SandboxList is a list of Sandboxes.
// +kubebuilder:object:root=true
type SandboxList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Sandbox `json:"items"`
}
