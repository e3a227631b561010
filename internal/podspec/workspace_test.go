package podspec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func persistent(sb *v1alpha1.Sandbox) {
	sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
}

func TestAPersistentWorkspaceIsOnItsClaim(t *testing.T) {
	pod := podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").With(persistent).Obj(), PodName: "box-r1"})
	for _, v := range pod.Spec.Volumes {
		if v.Name == "workspace" && (v.PersistentVolumeClaim == nil || v.PersistentVolumeClaim.ClaimName != "box") {
			t.Errorf("the workspace is %+v", v.VolumeSource)
		}
	}
	parts := map[string][]string{}
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if m.Name == "workspace" {
				parts[c.Name] = append(parts[c.Name], m.MountPath+" from "+m.SubPath)
			}
		}
	}
	// Where the sandbox container could write the runner's record, a tool could
	// have git run again on what it has laid out.
	want := map[string][]string{
		podapi.RunnerContainer:  {"/workspace from workspace", "/var/lib/sampan-workspace from runner"},
		podapi.SandboxContainer: {"/workspace from workspace"},
	}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	sc := pod.Spec.SecurityContext
	if sc.FSGroup == nil || *sc.FSGroup != *sc.RunAsGroup || *sc.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
		t.Errorf("the containers could not write to the volume: %+v", sc)
	}
}

// What a default pod costs must not grow.
func TestAnEphemeralWorkspaceNeedsNothing(t *testing.T) {
	pod := podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").Obj(), PodName: "box"})
	if pod.Spec.SecurityContext.FSGroup != nil {
		t.Error("kubelet would look through its volumes")
	}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			t.Errorf("volume %s is a claim", v.Name)
		}
	}
}

func TestWorkspaceClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.Workspace)
		size   string
		class  *string
	}{
		"default":        {func(*v1alpha1.Workspace) {}, "10Gi", nil},
		"size and class": {func(w *v1alpha1.Workspace) { w.SizeLimit, w.StorageClassName = new(resource.MustParse("1Gi")), "fast" }, "1Gi", new("fast")},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").With(persistent).With(func(sb *v1alpha1.Sandbox) { tc.change(&sb.Spec.Template.Workspace) }).Obj()
			claim := podspec.WorkspaceClaim(sb)
			if got := claim.Spec.Resources.Requests.Storage().String(); got != tc.size {
				t.Errorf("it asks for %s, want %s", got, tc.size)
			}
			if diff := cmp.Diff(tc.class, claim.Spec.StorageClassName); diff != "" {
				t.Errorf("class, -want +got:\n%s", diff)
			}
			if diff := cmp.Diff([]corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, claim.Spec.AccessModes); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if claim.Name != "box" || claim.Labels[podspec.LabelSandbox] != "box" {
				t.Errorf("it is %s with labels %v", claim.Name, claim.Labels)
			}
		})
	}
}
