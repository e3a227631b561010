package podspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func TestMountable(t *testing.T) {
	for path, want := range map[string]bool{
		"/data": true, "/mnt/cache": true, "/opt/models": true, "/var/cache/pip": true, "/srv": true, "/tmp/shared": true, "/home/agent/.m2": true, "/workspaces": true,
		"/": false, "": false, "data": false, "/data/": false, "//data": false, "/data/../etc": false, "/data/.": false,
		"/workspace": false, "/workspace/src": false, "/run": false, "/run/sampan": false, "/run/sampan-ca": false, "/var/run/secrets/kubernetes.io/serviceaccount": false,
		"/etc/sampan": false, "/etc/ssl": false, "/proc/1": false, "/sys": false, "/dev/shm": false, "/usr/local/bin": false, "/bin": false, "/lib64": false, "/root": false,
		"/var": false, "/var/lib": false, "/var/lib/sampan": false, "/var/lib/sampan-workspace/x": false, "/home": false, "/home/agent": false, "/tmp": false,
	} {
		if got := podspec.Mountable(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

// The runner sees the home of the pods that it takes checkpoints of, and no volume of the
// template that is mounted in there.
func TestTheHomeIsShownToWhoTakesCheckpoints(t *testing.T) {
	owned := func(sb *v1alpha1.Sandbox) {
		sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "box", Controller: new(true)}}
		sb.Spec.Template.Volumes = []v1alpha1.Volume{{Name: "keys", MountPath: "/home/agent/.ssh", Secret: &corev1.SecretVolumeSource{SecretName: "keys"}}}
	}
	record := &podspec.Record{URL: "https://record"}
	for name, tc := range map[string]struct {
		change []func(*v1alpha1.Sandbox)
		record *podspec.Record
		want   []string
	}{
		"a task's own":         {[]func(*v1alpha1.Sandbox){owned}, record, []string{"/home/agent"}},
		"without a record":     {[]func(*v1alpha1.Sandbox){owned}, nil, nil},
		"a named Sandbox":      {nil, record, []string{"/home/agent"}},
		"persistent workspace": {[]func(*v1alpha1.Sandbox){owned, persistent}, record, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box")
			for _, change := range tc.change {
				sb.With(change)
			}
			pod := podspec.Pod(podspec.Input{Sandbox: sb.Obj(), PodName: "box", Record: tc.record})
			var got []string
			for _, m := range container(t, pod, podapi.RunnerContainer).VolumeMounts {
				if strings.HasPrefix(m.MountPath, "/home") {
					got = append(got, m.MountPath)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("the runner sees (-want +got):\n%s", diff)
			}
			for _, e := range container(t, pod, podapi.RunnerContainer).Env {
				if e.Name == "HOME" && e.Value != podapi.StateDir {
					t.Errorf("the runner's own home is %s", e.Value)
				}
			}
		})
	}
}

// TestVolumes: what a template mounts is for tools alone.
func TestVolumes(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Volumes = []v1alpha1.Volume{
			{Name: "scratch", MountPath: "/mnt/scratch", EmptyDir: &corev1.EmptyDirVolumeSource{}},
			{Name: "fast", MountPath: "/mnt/fast", EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("64Mi"))}},
			{Name: "socket", MountPath: "/data/settings", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{Name: "license", MountPath: "/data/license", Secret: &corev1.SecretVolumeSource{SecretName: "license"}},
			{Name: "models", MountPath: "/opt/models", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "models", ReadOnly: true}},
			{Name: "cache", MountPath: "/data/cache", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "cache"}},
			{Name: "disk", MountPath: "/data/disk", Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{}}},
			{Name: "vault", MountPath: "/data/vault", CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", ReadOnly: new(true)}},
		}
	}).Obj()
	before := sb.DeepCopy()
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
	if diff := cmp.Diff(before, sb); diff != "" {
		t.Errorf("the Sandbox was changed:\n%s", diff)
	}
	plain := podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").Obj(), PodName: "box"})
	if diff := cmp.Diff(container(t, plain, podapi.RunnerContainer), container(t, pod, podapi.RunnerContainer)); diff != "" {
		t.Errorf("the runner is another one, -want +got:\n%s", diff)
	}
	got := container(t, pod, podapi.SandboxContainer).VolumeMounts[len(container(t, plain, podapi.SandboxContainer).VolumeMounts):]
	want := []corev1.VolumeMount{
		{Name: "extra-scratch", MountPath: "/mnt/scratch"}, {Name: "extra-fast", MountPath: "/mnt/fast"},
		{Name: "extra-socket", MountPath: "/data/settings", ReadOnly: true}, {Name: "extra-license", MountPath: "/data/license", ReadOnly: true},
		{Name: "extra-models", MountPath: "/opt/models", ReadOnly: true}, {Name: "extra-cache", MountPath: "/data/cache"},
		{Name: "extra-disk", MountPath: "/data/disk"}, {Name: "extra-vault", MountPath: "/data/vault", ReadOnly: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	names := map[string]corev1.Volume{}
	for _, v := range pod.Spec.Volumes {
		if _, twice := names[v.Name]; twice {
			t.Errorf("there are two volumes %s", v.Name)
		}
		names[v.Name] = v
	}
	if size := names["extra-scratch"].EmptyDir.SizeLimit; size == nil || size.String() != "10Gi" {
		t.Errorf("an emptyDir without a bound gets %v", size)
	}
	limits := container(t, pod, podapi.SandboxContainer).Resources.Limits
	if got := limits.StorageEphemeral().String(); got != "31Gi" {
		t.Errorf("the container may write %s, want the 21Gi of a plain one and the 10Gi of the folder on disk", got)
	}
}
