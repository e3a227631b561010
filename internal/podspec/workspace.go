package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// Folders of a persistent workspace's volume.
const (
	workspacePath = "workspace"
	recordPath    = "runner"
)

func workspaceSize(sb *v1alpha1.Sandbox) resource.Quantity {
	if size := sb.Spec.Template.Workspace.SizeLimit; size != nil {
		return *size
	}
	return resource.MustParse(v1alpha1.DefaultWorkspaceSize)
}

// WorkspaceClaim is the claim of a persistent workspace.
func WorkspaceClaim(sb *v1alpha1.Sandbox) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: sb.Name, Namespace: sb.Namespace, Labels: Labels(sb)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: workspaceSize(sb)}},
		},
	}
	if class := sb.Spec.Template.Workspace.StorageClassName; class != "" {
		claim.Spec.StorageClassName = &class
	}
	return claim
}

// workspaceVolume is where the workspace is.
func workspaceVolume(sb *v1alpha1.Sandbox) corev1.Volume {
	if podapi.Persistent(sb) {
		return corev1.Volume{Name: "workspace", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: sb.Name},
		}}
	}
	size := workspaceSize(sb)
	return emptyDir("workspace", corev1.EmptyDirVolumeSource{SizeLimit: &size})
}

// workspaceMount shows the workspace to a container. Of a persistent one's
// volume that is a part: the rest is the runner's.
func workspaceMount(sb *v1alpha1.Sandbox) corev1.VolumeMount {
	m := corev1.VolumeMount{Name: "workspace", MountPath: podapi.WorkspaceDir}
	if podapi.Persistent(sb) {
		m.SubPath = workspacePath
	}
	return m
}

// showHome gives the runner the home that checkpoints have, and no other.
func showHome(in Input, spec *corev1.PodSpec) {
	if in.Record == nil || podapi.Persistent(in.Sandbox) || in.Verifying {
		return
	}
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.Name == podapi.RunnerContainer {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "home", MountPath: podapi.HomeDir})
		}
	}
}

// annotationKeeps marks a pod whose runner keeps the workspace in the record.
const annotationKeeps = "sampan.dev/keeps-workspace"

// Keeps reports whether the runner of a pod keeps the workspace in the record, so that it
// can be asked to do so before the pod goes.
func Keeps(pod *corev1.Pod) bool { return pod.Annotations[annotationKeeps] != "" }

// keepWorkspace gives the pod of a persistent workspace what it needs besides:
// the runner its record, and both containers the right to write to the volume.
func keepWorkspace(in Input, spec *corev1.PodSpec) {
	if !podapi.Persistent(in.Sandbox) {
		return
	}
	if !in.PlatformUser { // else the platform gives the group, too
		spec.SecurityContext.FSGroup = new(int64(userID))
	}
	spec.SecurityContext.FSGroupChangePolicy = new(corev1.FSGroupChangeOnRootMismatch)
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.Name == podapi.RunnerContainer {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "workspace", MountPath: podapi.RecordDir, SubPath: recordPath})
		}
	}
}
