package podspec

import (
	"slices"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
)

// pullPolicy is what is asked for, or what Kubernetes takes for the image: a tag
// that moves is looked up each time, another and a digest once.
func pullPolicy(image string, asked corev1.PullPolicy) corev1.PullPolicy {
	if asked != "" {
		return asked
	}
	ref, err := reference.ParseDockerRef(image) // adds the tag latest where there is none
	if err != nil {
		return corev1.PullIfNotPresent
	}
	if tagged, ok := ref.(reference.Tagged); ok && tagged.Tag() == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// pullSecrets are those of the template and of the runners' ServiceAccount, each
// once. Kubernetes itself adds those of the account only to a pod that has none.
func pullSecrets(in Input) []corev1.LocalObjectReference {
	var out []corev1.LocalObjectReference
	for _, ref := range in.Sandbox.Spec.Template.ImagePullSecrets {
		out = append(out, corev1.LocalObjectReference{Name: ref.Name})
	}
	for _, ref := range in.AccountPullSecrets {
		if !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out
}
