package podspec_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func probePod() *corev1.Pod {
	return podspec.ProbePod(podspec.ProbeInput{
		Probe: objects.MakeProbe("nightly"), RunnerImage: "runner:1", Registry: "version: 1", Seconds: 300, ActiveSeconds: 960, CostUSD: "0.25",
		Template: v1alpha1.SandboxTemplate{
			CABundle: v1alpha1.KeyReference{Name: "corporate", Key: "ca.crt"}, Proxy: v1alpha1.Proxy{HTTPSProxy: "http://proxy.example:3128"},
			Volumes: []v1alpha1.Volume{{Name: "cache", MountPath: "/cache", EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
		ModelKeys:          []podspec.ModelKey{{Env: "SAMPAN_KEY_GATEWAY", SecretName: "model-keys", Key: "gateway"}},
		Scripts:            []podspec.Script{{Provider: "demo", ConfigMapName: "script", Key: "s"}},
		AccountPullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}},
	})
}

// TestProbePodHasARunnerAlone, with all that one needs to reach models, and no sandbox.
func TestProbePodHasARunnerAlone(t *testing.T) {
	pod := probePod()
	if n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers); n != 1 {
		t.Fatalf("%d containers", n)
	}
	c := pod.Spec.Containers[0]
	if got := strings.Join(c.Command, " "); got != "agent-runner probe --in-cluster" || c.Image != "runner:1" {
		t.Errorf("%s runs %q", c.Image, got)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			env[e.Name] = "secret " + e.ValueFrom.SecretKeyRef.Name
			if o := e.ValueFrom.SecretKeyRef.Optional; o == nil || !*o {
				t.Errorf("without %s no model is probed", e.Name)
			}
		}
	}
	for name, want := range map[string]string{
		"SAMPAN_KEY_GATEWAY": "secret model-keys", "SAMPAN_PROBE_NAME": "nightly", "SAMPAN_PROBE_SECONDS": "300", "SAMPAN_PROBE_COST_USD": "0.25",
		"HTTPS_PROXY": "http://proxy.example:3128", "SSL_CERT_FILE": "/run/sampan-ca/bundle.crt",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	var mounts, volumes []string
	for _, m := range c.VolumeMounts {
		mounts = append(mounts, m.Name)
	}
	for _, v := range pod.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	if got := strings.Join(mounts, " ") + "; " + strings.Join(volumes, " "); got != "state input trust; state input trust" {
		t.Errorf("mounts %s", got)
	}
	if pod.Spec.ActiveDeadlineSeconds == nil || *pod.Spec.ActiveDeadlineSeconds != 960 || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Error("it may run on, or again")
	}
	if pod.Spec.ImagePullSecrets[0].Name != "regcred" {
		t.Errorf("pull secrets %v", pod.Spec.ImagePullSecrets)
	}
}

// TestProbePodIsRestricted, as the pod of a Sandbox is.
func TestProbePodIsRestricted(t *testing.T) {
	pod := probePod()
	if s := pod.Spec.SecurityContext; s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod: %+v", s)
	}
	if s := pod.Spec.Containers[0].SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("container: %+v", s)
	}
	if *pod.Spec.AutomountServiceAccountToken || pod.Spec.ServiceAccountName != podspec.RunnerName {
		t.Error("it has another token than that of its pod")
	}
	if limit := pod.Spec.Containers[0].Resources.Limits.StorageEphemeral(); limit.IsZero() || limit.Value() > 2<<30 {
		t.Errorf("it may write %s", limit)
	}
}

// TestProbePolicySelectsItsPod, and that of no Sandbox.
func TestProbePolicySelectsItsPod(t *testing.T) {
	policy := podspec.ProbePolicy(objects.MakeProbe("nightly"))
	for key, value := range policy.Spec.PodSelector.MatchLabels {
		if probePod().Labels[key] != value {
			t.Errorf("the pod has not %s=%s", key, value)
		}
		if value == strings.ToLower(value) {
			t.Errorf("%s=%s may be a Sandbox's", key, value)
		}
	}
}
