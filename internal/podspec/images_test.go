package podspec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func TestPullPolicy(t *testing.T) {
	const digest = "@sha256:2d4f0f3d1b0c4a6a0c5e7d5e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c"
	for name, tc := range map[string]struct {
		image       string
		asked, want corev1.PullPolicy
	}{
		"latest":                  {"registry.example.com/team/agent:latest", "", corev1.PullAlways},
		"no tag":                  {"debian", "", corev1.PullAlways},
		"no tag, but a port":      {"registry.example.com:5000/agent", "", corev1.PullAlways},
		"a tag":                   {"ghcr.io/sampan-dev/sandbox:dev", "", corev1.PullIfNotPresent},
		"a digest":                {"debian" + digest, "", corev1.PullIfNotPresent},
		"latest, and a digest":    {"debian:latest" + digest, "", corev1.PullIfNotPresent},
		"no image":                {"UPPER", "", corev1.PullIfNotPresent},
		"latest that is loaded":   {"debian:latest", corev1.PullNever, corev1.PullNever},
		"a tag that is moved":     {"debian:12", corev1.PullAlways, corev1.PullAlways},
		"latest as it once was":   {"debian", corev1.PullIfNotPresent, corev1.PullIfNotPresent},
		"the operator's, as made": {"", "", corev1.PullAlways},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").Image(tc.image).With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.ImagePullPolicy = tc.asked }).Obj()
			pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box", RunnerImage: "runner:dev", SandboxImage: "sandbox:latest"})
			if got := container(t, pod, podapi.SandboxContainer).ImagePullPolicy; got != tc.want {
				t.Errorf("it is pulled %s, want %s", got, tc.want)
			}
			if got := container(t, pod, podapi.RunnerContainer).ImagePullPolicy; got != corev1.PullIfNotPresent {
				t.Errorf("the runner's is pulled %s", got)
			}
		})
	}
}

func TestPullSecrets(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.ImagePullSecrets = []v1alpha1.SecretReference{{Name: "team"}, {Name: "both"}}
	}).Obj()
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box", AccountPullSecrets: []corev1.LocalObjectReference{{Name: "both"}, {Name: "account"}}})
	if diff := cmp.Diff([]corev1.LocalObjectReference{{Name: "team"}, {Name: "both"}, {Name: "account"}}, pod.Spec.ImagePullSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
