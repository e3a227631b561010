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

// TestDiskIsBounded: a pod writes no more to its node than it was given, and asks
// for no more than a small node has.
func TestDiskIsBounded(t *testing.T) {
	storage := func(list corev1.ResourceList) string { return list.StorageEphemeral().String() }
	resources := func(limit, request string) *corev1.ResourceRequirements {
		r := &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
		if limit != "" {
			r.Limits[corev1.ResourceEphemeralStorage] = resource.MustParse(limit)
		}
		if request != "" {
			r.Requests = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(request)}
		}
		return r
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.SandboxTemplate)
		// want is the limit and the request of the runner and of the sandbox.
		want [4]string
	}{
		"default":           {func(*v1alpha1.SandboxTemplate) {}, [4]string{"11Gi", "64Mi", "21Gi", "64Mi"}},
		"a size":            {func(t *v1alpha1.SandboxTemplate) { t.Workspace.SizeLimit = new(resource.MustParse("1Gi")) }, [4]string{"2Gi", "64Mi", "3Gi", "64Mi"}},
		"a volume":          {func(t *v1alpha1.SandboxTemplate) { t.Workspace.Persistence = v1alpha1.WorkspacePersistent }, [4]string{"11Gi", "64Mi", "11Gi", "64Mi"}},
		"memory is given":   {func(t *v1alpha1.SandboxTemplate) { t.Resources = resources("", "") }, [4]string{"11Gi", "64Mi", "21Gi", "64Mi"}},
		"disk is given":     {func(t *v1alpha1.SandboxTemplate) { t.Resources = resources("2Gi", "") }, [4]string{"11Gi", "64Mi", "2Gi", "0"}},
		"much is asked for": {func(t *v1alpha1.SandboxTemplate) { t.Resources = resources("", "50Gi") }, [4]string{"11Gi", "64Mi", "50Gi", "50Gi"}},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { tc.change(&sb.Spec.Template) }).Obj()
			given := sb.DeepCopy()
			pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
			run, box := container(t, pod, podapi.RunnerContainer).Resources, container(t, pod, podapi.SandboxContainer).Resources
			got := [4]string{storage(run.Limits), storage(run.Requests), storage(box.Limits), storage(box.Requests)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(given, sb); diff != "" {
				t.Errorf("the Sandbox was changed:\n%s", diff)
			}
			for _, v := range pod.Spec.Volumes {
				if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.Medium != corev1.StorageMediumDefault) {
					t.Errorf("volume %s has no bound, or takes memory: %+v", v.Name, v.EmptyDir)
				}
			}
		})
	}
}
