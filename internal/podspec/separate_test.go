package podspec_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// verifyPod is a pod of a task with a Shared and a Separate verification.
func verifyPod(verifying bool, outputs ...v1alpha1.Output) *corev1.Pod {
	sb := objects.MakeSandbox("x").Git("https://git.example/r.git").With(func(sb *v1alpha1.Sandbox) {
		sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "x", Controller: new(true)}}
		sb.Spec.Template.Workspace.Git.CredentialsSecretRef.Name = "git-creds"
	}).Obj()
	tests := v1alpha1.VerificationFiles{ConfigMapName: "tests", Keys: []string{"test.sh"}}
	return podspec.Pod(podspec.Input{
		Sandbox: sb, PodName: "x-1", Verifying: verifying, Outputs: outputs, Record: &podspec.Record{URL: "https://record", CA: "CA"},
		Verify: []v1alpha1.Verification{{Name: "a", Files: tests}, {Name: "b", Files: tests, Isolation: v1alpha1.VerificationSeparate}},
	})
}

func TestPodOfSeparateVerifications(t *testing.T) {
	path, patch := v1alpha1.Output{Name: "a", Path: "a"}, v1alpha1.Output{Name: "b", Patch: &v1alpha1.PatchOutput{}}
	for name, c := range map[string]struct {
		pod               *corev1.Pod
		credentials, home bool
		files, other      string
	}{
		"the agent's":             {verifyPod(false), true, true, podapi.VerifyFile(0, "test.sh"), podapi.VerifyFile(1, "test.sh")},
		"the other":               {verifyPod(true, path), false, false, podapi.VerifyFile(1, "test.sh"), podapi.VerifyFile(0, "test.sh")},
		"the other, with a patch": {verifyPod(true, path, patch), true, false, podapi.VerifyFile(1, "test.sh"), podapi.VerifyFile(0, "test.sh")},
	} {
		t.Run(name, func(t *testing.T) {
			runner := container(t, c.pod, podapi.RunnerContainer)
			var credentials, home bool
			for _, e := range runner.Env {
				credentials = credentials || e.Name == podapi.EnvGitPassword
			}
			for _, m := range runner.VolumeMounts {
				home = home || m.MountPath == podapi.HomeDir
			}
			if credentials != c.credentials || home != c.home {
				t.Errorf("the runner has credentials: %t, and the home: %t", credentials, home)
			}
			var files []string
			for _, v := range c.pod.Spec.Volumes {
				if v.Projected == nil {
					continue
				}
				for _, s := range v.Projected.Sources {
					if s.ConfigMap != nil {
						files = append(files, s.ConfigMap.Items[0].Path)
					}
				}
			}
			if all := strings.Join(files, " "); !strings.Contains(all, c.files) || strings.Contains(all, c.other) {
				t.Errorf("it has the files %s", all)
			}
		})
	}
}

func TestVolumesThatOutliveAPod(t *testing.T) {
	claim := func(readOnly bool) v1alpha1.Volume {
		return v1alpha1.Volume{Name: "claim", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c", ReadOnly: readOnly}}
	}
	csi := func(readOnly *bool) v1alpha1.Volume {
		return v1alpha1.Volume{Name: "csi", CSI: &corev1.CSIVolumeSource{Driver: "d", ReadOnly: readOnly}}
	}
	for want, volumes := range map[string][]v1alpha1.Volume{
		"":      {{Name: "dir", EmptyDir: &corev1.EmptyDirVolumeSource{}}, {Name: "made", Ephemeral: &corev1.EphemeralVolumeSource{}}, claim(true), csi(new(true))},
		"claim": {claim(false)},
		"csi":   {claim(true), csi(nil)},
	} {
		if got := podspec.OutlivesPod(&v1alpha1.SandboxTemplate{Volumes: volumes}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
