package podspec

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// volumePrefix keeps the names of a template's volumes from those of ours.
const volumePrefix = "extra-"

// untouchable are folders in and below which no volume is mounted: what the kernel
// shows, the programs and settings of the image, the workspace, which the runner
// fills, and our own. Nor is one mounted on a folder that has one of them below it.
var untouchable = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
	"/var/run", podapi.WorkspaceDir, podapi.StateDir, podapi.RecordDir,
}

// whole are folders of ours on which no volume is mounted, though below them one may be.
var whole = []string{podapi.HomeDir, "/tmp"}

// Mountable reports whether a template may mount a volume at a path.
func Mountable(path string) bool {
	if !strings.HasPrefix(path, "/") || slices.ContainsFunc(strings.Split(path[1:], "/"), func(part string) bool { return part == "" || part == "." || part == ".." }) {
		return false
	}
	within := func(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	return !slices.ContainsFunc(untouchable, func(dir string) bool { return within(path, dir) || within(dir, path) }) &&
		!slices.ContainsFunc(whole, func(dir string) bool { return within(dir, path) })
}

// addVolumes mounts a template's volumes into the sandbox container alone.
func addVolumes(sb *v1alpha1.Sandbox, spec *corev1.PodSpec) {
	for _, v := range sb.Spec.Template.Volumes {
		v = *v.DeepCopy()
		source := corev1.VolumeSource{
			EmptyDir: v.EmptyDir, ConfigMap: v.ConfigMap, Secret: v.Secret,
			PersistentVolumeClaim: v.PersistentVolumeClaim, Ephemeral: v.Ephemeral, CSI: v.CSI,
		}
		// The API server fills these in, and a pod that is met is compared with this one.
		switch {
		case v.EmptyDir != nil:
			v.EmptyDir.SizeLimit = new(emptyDirSize(sb, v.EmptyDir))
		case v.ConfigMap != nil && v.ConfigMap.DefaultMode == nil:
			v.ConfigMap.DefaultMode = new(corev1.ConfigMapVolumeSourceDefaultMode)
		case v.Secret != nil && v.Secret.DefaultMode == nil:
			v.Secret.DefaultMode = new(corev1.SecretVolumeSourceDefaultMode)
		case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil && v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode == nil:
			v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode = new(corev1.PersistentVolumeFilesystem)
		}
		readOnly := readOnly(v)
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumePrefix + v.Name, VolumeSource: source})
		for i := range spec.Containers {
			if c := &spec.Containers[i]; c.Name == podapi.SandboxContainer {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumePrefix + v.Name, MountPath: v.MountPath, ReadOnly: readOnly})
			}
		}
	}
}

func readOnly(v v1alpha1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly ||
		v.CSI != nil && v.CSI.ReadOnly != nil && *v.CSI.ReadOnly
}

// OutlivesPod names the first volume of a template in which the next pod finds what tools
// have written in this one; empty if there is none.
func OutlivesPod(t *v1alpha1.SandboxTemplate) string {
	for _, v := range t.Volumes {
		if (v.PersistentVolumeClaim != nil || v.CSI != nil) && !readOnly(v) {
			return v.Name
		}
	}
	return ""
}

func emptyDirSize(sb *v1alpha1.Sandbox, source *corev1.EmptyDirVolumeSource) resource.Quantity {
	if source.SizeLimit != nil {
		return source.SizeLimit.DeepCopy()
	}
	return workspaceSize(sb)
}

// onDisk are the sizes of a template's volumes that are on the node's disk.
func onDisk(sb *v1alpha1.Sandbox) []resource.Quantity {
	var out []resource.Quantity
	for _, v := range sb.Spec.Template.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumDefault {
			out = append(out, emptyDirSize(sb, v.EmptyDir))
		}
	}
	return out
}
