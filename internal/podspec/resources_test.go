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

func list(cpu, memory string) corev1.ResourceList {
	out := corev1.ResourceList{}
	if cpu != "" {
		out[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		out[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return out
}

// TestResourcesAreWhole: a quota on requests or limits of CPU, memory or disk admits
// only pods all of whose containers have them.
func TestResourcesAreWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		given *corev1.ResourceRequirements
		// want is requests and limits of CPU and memory; 0 is the limit, which
		// Kubernetes takes for the request.
		want [4]string
	}{
		"nothing":                {nil, [4]string{"50m", "128Mi", "2", "2Gi"}},
		"empty":                  {&corev1.ResourceRequirements{Limits: list("", "")}, [4]string{"50m", "128Mi", "2", "2Gi"}},
		"all":                    {&corev1.ResourceRequirements{Requests: list("100m", "64Mi"), Limits: list("1", "1Gi")}, [4]string{"100m", "64Mi", "1", "1Gi"}},
		"requests":               {&corev1.ResourceRequirements{Requests: list("100m", "64Mi")}, [4]string{"100m", "64Mi", "2", "2Gi"}},
		"requests above default": {&corev1.ResourceRequirements{Requests: list("4", "8Gi")}, [4]string{"4", "8Gi", "4", "8Gi"}},
		"limits below default":   {&corev1.ResourceRequirements{Limits: list("10m", "64Mi")}, [4]string{"0", "0", "10m", "64Mi"}},
		"CPU alone":              {&corev1.ResourceRequirements{Requests: list("1", ""), Limits: list("3", "")}, [4]string{"1", "128Mi", "3", "2Gi"}},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
				sb.Spec.Template.Resources, sb.Spec.Template.Runner.Resources = tc.given.DeepCopy(), tc.given.DeepCopy()
			}).Obj()
			before := sb.DeepCopy()
			pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
			r := container(t, pod, podapi.SandboxContainer).Resources
			got := [4]string{r.Requests.Cpu().String(), r.Requests.Memory().String(), r.Limits.Cpu().String(), r.Limits.Memory().String()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(before, sb); diff != "" {
				t.Errorf("the Sandbox was changed:\n%s", diff)
			}
			for _, c := range pod.Spec.Containers {
				for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
					limit, limited := c.Resources.Limits[name]
					if request, asked := c.Resources.Requests[name]; !limited || asked && request.Cmp(limit) > 0 {
						t.Errorf("container %s asks for %s of %s, and may have %s", c.Name, request.String(), name, limit.String())
					}
				}
			}
		})
	}
}

func TestTheRunnersResources(t *testing.T) {
	for name, tc := range map[string]struct {
		given *corev1.ResourceRequirements
		want  [4]string
	}{
		"nothing":     {nil, [4]string{"10m", "48Mi", "1", "512Mi"}},
		"more memory": {&corev1.ResourceRequirements{Limits: list("", "2Gi"), Requests: list("", "1Gi")}, [4]string{"10m", "1Gi", "1", "2Gi"}},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Runner.Resources = tc.given }).Obj()
			r := container(t, podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"}), podapi.RunnerContainer).Resources
			got := [4]string{r.Requests.Cpu().String(), r.Requests.Memory().String(), r.Limits.Cpu().String(), r.Limits.Memory().String()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
