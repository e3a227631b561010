package podspec

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// DefaultResources are those of a sandbox container whose template gives none. They
// have requests and limits of CPU and of memory, since a quota on any of them
// admits no container without.
func DefaultResources() corev1.ResourceRequirements {
	return amounts(v1alpha1.DefaultCPURequest, v1alpha1.DefaultMemoryRequest, v1alpha1.DefaultCPULimit, v1alpha1.DefaultMemoryLimit)
}

// runnerResources are those of a runner whose template gives none. git runs there
// for the checkout, so the limits leave room for it.
func runnerResources() corev1.ResourceRequirements {
	return amounts("10m", "48Mi", "1", "512Mi")
}

func amounts(cpu, memory, mostCPU, mostMemory string) corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	return corev1.ResourceRequirements{Requests: list(cpu, memory), Limits: list(mostCPU, mostMemory)}
}

// FillResources gives for each resource what is given or else the default: a limit
// that is not below the request, and a request only where there is no limit of the
// template's own, which Kubernetes then takes for the request, too.
func FillResources(given *corev1.ResourceRequirements, defaults corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Limits: corev1.ResourceList{}, Requests: corev1.ResourceList{}}
	if given != nil {
		out.Claims = slices.Clone(given.Claims)
		maps.Copy(out.Limits, given.Limits)
		maps.Copy(out.Requests, given.Requests)
	}
	for name, amount := range defaults.Requests {
		_, asked := out.Requests[name]
		if _, limited := out.Limits[name]; !asked && !limited {
			out.Requests[name] = amount.DeepCopy()
		}
	}
	for name, amount := range defaults.Limits {
		if _, limited := out.Limits[name]; limited {
			continue
		}
		if request, asked := out.Requests[name]; asked && request.Cmp(amount) > 0 {
			amount = request
		}
		out.Limits[name] = amount.DeepCopy()
	}
	return out
}

// resourcesOf are the resources of the runner and of the sandbox container.
func resourcesOf(sb *v1alpha1.Sandbox) (runner, sandbox corev1.ResourceRequirements) {
	t := &sb.Spec.Template
	return withStorage(FillResources(t.Runner.Resources, runnerResources()), runnerStorage(sb)),
		withStorage(FillResources(t.Resources, DefaultResources()), sandboxStorage(sb))
}
