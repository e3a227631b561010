// Package v1alpha1 holds the sampan.dev/v1alpha1 API: AgentTask, Sandbox, SandboxPool, Budget and ModelProbe.
// +kubebuilder:object:generate=true
// +groupName=sampan.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type of this package.
var GroupVersion = schema.GroupVersion{Group: "sampan.dev", Version: "v1alpha1"}

// AddToScheme adds the types of this group and version to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&AgentTask{}, &AgentTaskList{},
		&Sandbox{}, &SandboxList{},
		&SandboxPool{}, &SandboxPoolList{},
		&ModelProbe{}, &ModelProbeList{},
		&Budget{}, &BudgetList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
