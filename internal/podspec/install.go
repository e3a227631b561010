package podspec

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/internal/podapi"
)

// programVolume holds agent-runner for an image that may have none.
const programVolume = "program"

// programSize is more than agent-runner will ever be.
var programSize = resource.MustParse("256Mi")

// sandboxImage is the image of the sandbox container.
func sandboxImage(in Input) string {
	if image := in.Sandbox.Spec.Template.Image; image != "" {
		return image
	}
	return in.SandboxImage
}

// installProgram puts the runner's agent-runner into the sandbox, unless its image is
// the runner's: so any image does, and both speak the same protocol.
func installProgram(in Input, spec *corev1.PodSpec) {
	if sandboxImage(in) == in.RunnerImage {
		return
	}
	resources, _ := resourcesOf(in.Sandbox)
	spec.InitContainers = append(spec.InitContainers, corev1.Container{
		Name:                     podapi.InstallContainer,
		Image:                    in.RunnerImage,
		ImagePullPolicy:          pullPolicy(in.RunnerImage, ""),
		Command:                  []string{"agent-runner", "install", podapi.ProgramDir},
		Resources:                resources,
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		SecurityContext:          restricted(),
		VolumeMounts:             []corev1.VolumeMount{{Name: programVolume, MountPath: podapi.ProgramDir}},
	})
	size := programSize.DeepCopy()
	spec.Volumes = append(spec.Volumes, emptyDir(programVolume, corev1.EmptyDirVolumeSource{SizeLimit: &size}))
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.Name == podapi.SandboxContainer {
			c.Command[0] = path.Join(podapi.ProgramDir, c.Command[0])
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: programVolume, MountPath: podapi.ProgramDir, ReadOnly: true})
		}
	}
}
