package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// Bounds on what a pod writes to its node's disk, besides its volumes: logs and
// what the runtime keeps. A pod asks for little, so that it fits on a small node,
// and is evicted when it goes over the sum of its containers' limits.
var (
	storageRequest  = resource.MustParse("64Mi")
	storageOverhead = resource.MustParse("1Gi")
)

// runnerStorage bounds the runner: the checkout's first place, and the transcript.
func runnerStorage(sb *v1alpha1.Sandbox) resource.Quantity {
	return sum(workspaceSize(sb), storageOverhead)
}

// sandboxStorage bounds the sandbox container: the workspace, as much again for
// /tmp and the home together, and the template's volumes.
func sandboxStorage(sb *v1alpha1.Sandbox) resource.Quantity {
	size := workspaceSize(sb)
	parts := append(onDisk(sb), size, storageOverhead)
	if !podapi.Persistent(sb) { // else it is on a volume of its own
		parts = append(parts, size)
	}
	return sum(parts...)
}

func sum(parts ...resource.Quantity) resource.Quantity {
	total := resource.Quantity{Format: resource.BinarySI}
	for _, q := range parts {
		total.Add(q)
	}
	return total
}

// withStorage bounds the disk of a container that gives no bound itself.
func withStorage(given corev1.ResourceRequirements, limit resource.Quantity) corev1.ResourceRequirements {
	out := *given.DeepCopy()
	if _, bounded := out.Limits[corev1.ResourceEphemeralStorage]; bounded {
		return out
	}
	if out.Limits == nil {
		out.Limits = corev1.ResourceList{}
	}
	if out.Requests == nil {
		out.Requests = corev1.ResourceList{}
	}
	request, asked := out.Requests[corev1.ResourceEphemeralStorage]
	switch {
	case !asked: // else the API server would ask for as much as the limit
		out.Requests[corev1.ResourceEphemeralStorage] = storageRequest.DeepCopy()
	case request.Cmp(limit) > 0:
		limit = request.DeepCopy()
	}
	out.Limits[corev1.ResourceEphemeralStorage] = limit
	return out
}

func volumes(in Input) []corev1.Volume {
	size := workspaceSize(in.Sandbox)
	return []corev1.Volume{
		workspaceVolume(in.Sandbox),
		emptyDir("socket", corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}),
		// The repository is checked out there first, so it may need as much.
		emptyDir("state", corev1.EmptyDirVolumeSource{SizeLimit: &size}),
		emptyDir("home", corev1.EmptyDirVolumeSource{SizeLimit: &size}),
		emptyDir("tmp", corev1.EmptyDirVolumeSource{SizeLimit: &size}),
		{Name: "input", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: inputs(in), DefaultMode: new(corev1.ProjectedVolumeSourceDefaultMode),
		}}},
	}
}

func emptyDir(name string, source corev1.EmptyDirVolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &source}}
}
