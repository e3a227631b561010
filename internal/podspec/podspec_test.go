package podspec_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// fullPod is a pod with all that a Sandbox can ask for.
func fullPod() *corev1.Pod {
	sb := objects.MakeSandbox("box").Image("theirs:1").Git("https://git.example/r.git").With(func(sb *v1alpha1.Sandbox) {
		t := &sb.Spec.Template
		t.Workspace.Git.CredentialsSecretRef.Name = "git-creds"
		t.Env = []v1alpha1.EnvVar{{Name: "PLAIN", Value: new("a $(HOME) b")}}
		t.RuntimeClassName = "gvisor"
		t.CABundle = v1alpha1.KeyReference{Name: "corporate", Key: "ca.crt"}
		t.ImagePullSecrets = []v1alpha1.SecretReference{{Name: "team"}}
		t.Metadata.Labels = map[string]string{"team": "a", "sampan.dev/sandbox": "other", "x.sampan.dev/y": "1", "app.kubernetes.io/managed-by": "forged", "sidecar.istio.io/inject": "false"}
		t.Metadata.Annotations = map[string]string{"note": "a", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "x.sampan.dev/y": "1"}
	}).Obj()
	return podspec.Pod(podspec.Input{
		Sandbox: sb, PodName: "box", RunnerImage: "runner:1", SandboxImage: "default:1", Registry: "version: 1",
		ModelKeys: []podspec.ModelKey{{Env: "SAMPAN_KEY_GATEWAY", SecretName: "model-keys", Key: "gateway"}},
		Scripts:   []podspec.Script{{Provider: "demo", ConfigMapName: "script", Key: "s"}},
		Prompt:    v1alpha1.PromptSource{SecretKeyRef: v1alpha1.KeyReference{Name: "words", Key: "prompt"}},
		Verify:    []v1alpha1.Verification{{Name: "a"}, {Name: "b", Files: v1alpha1.VerificationFiles{ConfigMapName: "tests", Keys: []string{"test.sh"}}}},
		Outputs: []v1alpha1.Output{{Name: "change", Patch: &v1alpha1.PatchOutput{}},
			{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: "fix", CredentialsSecretRef: v1alpha1.SecretReference{Name: "push"}}}},
		Scopes: []string{"a", "b"}, UserNamespaces: true, Task: v1alpha1.TaskReference{Name: "fix", UID: "u", Attempt: 1},
	})
}

func container(t *testing.T, pod *corev1.Pod, name string) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no container %s", name)
	}
	return pod.Spec.Containers[i]
}

func TestSandboxContainerHoldsNoCredential(t *testing.T) {
	pod := fullPod()
	c := container(t, pod, podapi.SandboxContainer)
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			t.Errorf("variable %s is taken from %v", e.Name, e.ValueFrom)
		}
	}
	if len(c.EnvFrom) > 0 {
		t.Errorf("envFrom is %v", c.EnvFrom)
	}
	harmless := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		harmless[v.Name] = v.EmptyDir != nil
	}
	var mounts []string
	for _, m := range c.VolumeMounts {
		if !harmless[m.Name] {
			t.Errorf("volume %s is mounted, and it is no emptyDir", m.Name)
		}
		mounts = append(mounts, m.Name+" "+m.MountPath)
	}
	want := []string{"workspace /workspace", "socket /run/sampan", "home /home/agent", "tmp /tmp", "program /run/sampan-bin", "trust /run/sampan-ca"}
	if diff := cmp.Diff(want, mounts); diff != "" {
		t.Errorf("mounts, -want +got:\n%s", diff)
	}
	if a := pod.Spec.AutomountServiceAccountToken; a == nil || *a {
		t.Error("a token would be mounted into every container")
	}
	if s := pod.Spec.ShareProcessNamespace; s != nil && *s {
		t.Error("the sandbox would see the runner's environment in /proc")
	}
	if pod.Spec.HostNetwork || pod.Spec.HostPID || pod.Spec.HostIPC || len(pod.Spec.InitContainers) > 1 {
		t.Error("the pod reaches into its host, or has containers that were not looked at here")
	}
}

func TestSecretsAreOnlyReferredTo(t *testing.T) {
	pod := fullPod()
	got := map[string]string{}
	for _, e := range container(t, pod, podapi.RunnerContainer).Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			got[e.Name] = e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
		} else if strings.Contains(e.Name, "KEY") || strings.Contains(e.Name, "PASSWORD") {
			t.Errorf("%s has a value of its own", e.Name)
		}
	}
	want := map[string]string{"SAMPAN_KEY_GATEWAY": "model-keys/gateway", podapi.EnvGitUsername: "git-creds/username", podapi.EnvGitPassword: "git-creds/password",
		"SAMPAN_PUSH_USERNAME_1": "push/username", "SAMPAN_PUSH_PASSWORD_1": "push/password"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, c := range pod.Spec.Containers {
		for _, arg := range slices.Concat(c.Command, c.Args) {
			if strings.Contains(arg, "prompt") || strings.Contains(arg, "git.example") {
				t.Errorf("container %s has %q on its command line", c.Name, arg)
			}
		}
	}
}

func TestInputIsTheRunnersAlone(t *testing.T) {
	pod := fullPod()
	var paths []string
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			switch {
			case s.ServiceAccountToken != nil:
				paths = append(paths, s.ServiceAccountToken.Path)
			case s.DownwardAPI != nil:
				paths = append(paths, s.DownwardAPI.Items[0].Path)
			case s.ConfigMap != nil:
				paths = append(paths, s.ConfigMap.Items[0].Path)
			case s.Secret != nil:
				paths = append(paths, s.Secret.Items[0].Path)
			}
		}
	}
	if diff := cmp.Diff([]string{"token", "ca.crt", "models.yaml", "scripts/demo.yaml", "extra-ca.crt", "verify/1/test.sh", "prompt"}, paths); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, m := range container(t, pod, podapi.RunnerContainer).VolumeMounts {
		if m.Name == "input" && (!m.ReadOnly || m.MountPath != podapi.InputDir) {
			t.Errorf("the input is mounted as %+v", m)
		}
	}
}

// TestRestricted is Pod Security's restricted level, and more.
func TestRestricted(t *testing.T) {
	pod := fullPod()
	sc := pod.Spec.SecurityContext
	if !*sc.RunAsNonRoot || *sc.RunAsUser == 0 || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.Spec.HostUsers {
		t.Errorf("the pod's security context is %+v", sc)
	}
	if *pod.Spec.RuntimeClassName != "gvisor" || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("runtimeClassName %s, restartPolicy %s", *pod.Spec.RuntimeClassName, pod.Spec.RestartPolicy)
	}
	if len(pod.Spec.Containers) != 2 {
		t.Errorf("there are %d containers", len(pod.Spec.Containers))
	}
	want := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	for _, c := range pod.Spec.Containers {
		if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
			t.Errorf("container %s, -want +got:\n%s", c.Name, diff)
		}
		if c.Resources.Limits.Memory().IsZero() {
			t.Errorf("container %s has no limit on memory", c.Name)
		}
		if c.TerminationMessagePolicy != corev1.TerminationMessageReadFile {
			t.Errorf("what container %s logs would be taken for its last words", c.Name)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			t.Errorf("volume %s has no bound", v.Name)
		}
	}
}

// A platform that gives each namespace its users gives the pod one; what else
// restricts it stays.
func TestAPlatformsUser(t *testing.T) {
	for _, kind := range []v1alpha1.Persistence{v1alpha1.WorkspaceEphemeral, v1alpha1.WorkspacePersistent} {
		sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Workspace.Persistence = kind }).Obj()
		pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box", PlatformUser: true})
		sc := pod.Spec.SecurityContext
		if sc.RunAsUser != nil || sc.RunAsGroup != nil || sc.FSGroup != nil || !*sc.RunAsNonRoot || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: the pod's security context is %+v", kind, sc)
		}
	}
}

// Only the sandbox's root file system becomes writable, and nothing else changes.
func TestAWritableRoot(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.RootFilesystem = v1alpha1.RootFilesystemWritable }).Obj()
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
	for name, readOnly := range map[string]bool{podapi.RunnerContainer: true, podapi.SandboxContainer: false} {
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(readOnly),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		if diff := cmp.Diff(want, container(t, pod, name).SecurityContext); diff != "" {
			t.Errorf("container %s, -want +got:\n%s", name, diff)
		}
	}
}

func TestReservedLabelsAreDropped(t *testing.T) {
	pod := fullPod()
	labels := map[string]string{"team": "a", "sidecar.istio.io/inject": "false", podspec.LabelSandbox: "box", podspec.LabelManagedBy: podspec.ManagedBy}
	if diff := cmp.Diff(labels, pod.Labels); diff != "" {
		t.Errorf("labels, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"note": "a", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "sampan.dev/models": "version: 1", "kubectl.kubernetes.io/default-container": "sandbox"}, pod.Annotations); diff != "" {
		t.Errorf("annotations, -want +got:\n%s", diff)
	}
}

func TestEnvIsPlainText(t *testing.T) {
	for _, e := range container(t, fullPod(), podapi.SandboxContainer).Env {
		if e.Name == "PLAIN" && e.Value != "a $$(HOME) b" {
			t.Errorf("PLAIN is %q; kubelet would expand it", e.Value)
		}
	}
}

func TestRegistryIsASnapshotThatNobodyForges(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Metadata.Annotations = map[string]string{"sampan.dev/models": "forged", "kubectl.kubernetes.io/default-container": "runner"}
	}).Obj()
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box", Registry: "version: 1"})
	if diff := cmp.Diff(map[string]string{"sampan.dev/models": "version: 1", "kubectl.kubernetes.io/default-container": "sandbox"}, pod.Annotations); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestInstall: an image that is not the runner's is given agent-runner, which tools
// cannot change.
func TestInstall(t *testing.T) {
	pod := fullPod()
	if len(pod.Spec.InitContainers) != 1 {
		t.Fatalf("%d init containers, want 1", len(pod.Spec.InitContainers))
	}
	install, c := pod.Spec.InitContainers[0], container(t, pod, podapi.SandboxContainer)
	if install.Name != podapi.InstallContainer || install.Image != "runner:1" || len(install.Env) > 0 {
		t.Errorf("install container %s of image %s with env %v", install.Name, install.Image, install.Env)
	}
	if got := c.Command[0]; got != podapi.ProgramDir+"/agent-runner" {
		t.Errorf("the sandbox starts %s", got)
	}
	for _, m := range c.VolumeMounts {
		if m.MountPath == podapi.ProgramDir && !m.ReadOnly {
			t.Error("tools can write to the server's program")
		}
	}
	own := podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").Obj(), PodName: "box", RunnerImage: "ours:1", SandboxImage: "ours:1"})
	if c := container(t, own, podapi.SandboxContainer); len(own.Spec.InitContainers) > 0 || c.Command[0] != "agent-runner" {
		t.Errorf("our own image is given a program: %v, %v", own.Spec.InitContainers, c.Command)
	}
}

// TestAPodOfAPool: it says whose it was made to be, serves no attempt yet, and shows the
// runner the home that checkpoints have, as the pod of a task does.
func TestAPodOfAPool(t *testing.T) {
	sb := objects.MakeSandbox("spare-x").Obj()
	sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SandboxPool", Name: "spare", UID: "p", Controller: new(true)}}
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "spare-x-1", Record: &podspec.Record{URL: "https://record.example"}})
	want := map[string]string{podspec.LabelManagedBy: "sampan", podspec.LabelSandbox: "spare-x", podspec.LabelPool: "spare"}
	if diff := cmp.Diff(want, pod.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if mounts := container(t, pod, "runner").VolumeMounts; !slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == podapi.HomeDir }) {
		t.Errorf("the runner mounts %v", mounts)
	}
}
