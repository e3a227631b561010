package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What holds where a field of an AgentTask is left out. The API server does not write
// it into objects, so that a later version may have better ones.
const (
	// DefaultTurns is limits.turns.
	DefaultTurns int32 = 100
	// DefaultActiveSeconds is limits.activeSeconds.
	DefaultActiveSeconds int32 = 3600
	// DefaultToolSeconds is limits.toolSeconds.
	DefaultToolSeconds int32 = 600
	// DefaultVerifySeconds is verify[].timeoutSeconds.
	DefaultVerifySeconds int32 = 600
	// DefaultMaxAttempts is retry.maxAttempts.
	DefaultMaxAttempts int32 = 3
)

// What holds where a field of a Sandbox's template is left out.
const (
	// DefaultWorkspaceSize is workspace.sizeLimit.
	DefaultWorkspaceSize = "10Gi"
	// DefaultCPURequest, DefaultMemoryRequest and DefaultMemoryLimit are resources of
	// the sandbox container.
	DefaultCPURequest    = "50m"
	DefaultMemoryRequest = "128Mi"
	DefaultMemoryLimit   = "2Gi"
)

// DefaultResources are those of a sandbox container whose template gives none.
func DefaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse(DefaultCPURequest),
			corev1.ResourceMemory: resource.MustParse(DefaultMemoryRequest),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(DefaultMemoryLimit)},
	}
}
