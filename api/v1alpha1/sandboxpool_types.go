package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SandboxPoolSpec says how many warm Sandboxes are kept, and what they are made of.
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !has(self.template.workspace) || !has(self.template.workspace.persistence) || self.template.workspace.persistence != 'Persistent'",message="the Sandboxes of a pool have ephemeral workspaces: each serves one task; leave workspace.persistence out",fieldPath=".template"
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !has(self.template.env) || size(self.template.env) <= 64",message="env of a pool has at most 64 variables, as its tasks may bring 64 more",fieldPath=".template.env"
// +kubebuilder:validation:MinProperties=1
type SandboxPoolSpec struct {
	// replicas is how many Sandboxes wait for tasks. One that a task claims does not
	// count any more, and another takes its place. Default 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +default=1
	Replicas *int32 `json:"replicas,omitempty"`

	// template is what the Sandboxes are made from. When it is changed, those that
	// wait are replaced one by one; those that tasks have claimed stay as they are.
	// +optional
	Template SandboxTemplate `json:"template,omitzero"`

	// maxStarting is how many of the Sandboxes may be starting at once, so that a pool
	// that fills up leaves room for the tasks that run. Default 4.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxStarting int32 `json:"maxStarting,omitempty"`
}

// SandboxPoolStatus is what is known of a pool.
// +kubebuilder:validation:MinProperties=1
type SandboxPoolStatus struct {
	// conditions are Ready and, while they hold, Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// replicas is how many Sandboxes there are that no task has claimed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Replicas *int32 `json:"replicas,omitempty"`

	// readyReplicas of them can be claimed now.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ReadyReplicas *int32 `json:"readyReplicas,omitempty"`

	// updatedReplicas of them are made from the template, the registry and the images
	// of now.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UpdatedReplicas *int32 `json:"updatedReplicas,omitempty"`

	// selector matches the pods that were made for the pool, also those that tasks
	// have claimed since, as the scale subresource wants it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Selector string `json:"selector,omitempty"`
}

// SandboxPool keeps Sandboxes warm, each for one task, which claims it in
// milliseconds where a Sandbox of its own would have to start first.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:path=sandboxpools,shortName=boxpool,categories=sampan
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.spec.replicas`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Updated",type=integer,JSONPath=`.status.updatedReplicas`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50",message="name must be at most 50 characters: names of sandboxes and pods are made from it"
type SandboxPool struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	// +required
	Spec SandboxPoolSpec `json:"spec,omitzero"`

	// status is what is known.
	// +optional
	Status SandboxPoolStatus `json:"status,omitzero"`
}

// SandboxPoolList is a list of SandboxPools.
// +kubebuilder:object:root=true
type SandboxPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []SandboxPool `json:"items"`
}
