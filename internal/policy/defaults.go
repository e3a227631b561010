package policy

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// Defaulted gives a template what it leaves out. Of maps and lists it gets the
// entries whose key or name it does not have itself.
func (p *Policy) Defaulted(t *v1alpha1.SandboxTemplate) *v1alpha1.SandboxTemplate {
	out, d := t.DeepCopy(), p.Defaults.DeepCopy()
	out.Metadata.Labels = union(out.Metadata.Labels, d.Metadata.Labels)
	out.Metadata.Annotations = union(out.Metadata.Annotations, d.Metadata.Annotations)
	or(&out.ImagePullPolicy, d.ImagePullPolicy)
	out.ImagePullSecrets = add(out.ImagePullSecrets, d.ImagePullSecrets, func(r v1alpha1.SecretReference) string { return r.Name })
	out.Resources = filled(out.Resources, d.Resources)
	out.Runner.Resources = filled(out.Runner.Resources, d.Runner.Resources)
	out.Env = add(out.Env, d.Env, func(e v1alpha1.EnvVar) string { return e.Name })
	out.Volumes = add(out.Volumes, d.Volumes, func(v v1alpha1.Volume) string { return v.Name })
	or(&out.RootFilesystem, d.RootFilesystem)
	or(&out.CABundle, d.CABundle)
	if out.Proxy.HTTPProxy == "" && out.Proxy.HTTPSProxy == "" { // one proxy with another's exceptions is neither
		out.Proxy.HTTPProxy, out.Proxy.HTTPSProxy = d.Proxy.HTTPProxy, d.Proxy.HTTPSProxy
		out.Proxy.NoProxy = add(out.Proxy.NoProxy, d.Proxy.NoProxy, func(e v1alpha1.NoProxyEntry) v1alpha1.NoProxyEntry { return e })
	}
	or(&out.RuntimeClassName, d.RuntimeClassName)
	out.Scheduling.NodeSelector = union(out.Scheduling.NodeSelector, d.Scheduling.NodeSelector)
	for _, t := range d.Scheduling.Tolerations {
		if !slices.ContainsFunc(out.Scheduling.Tolerations, func(have corev1.Toleration) bool { return equality.Semantic.DeepEqual(have, t) }) {
			out.Scheduling.Tolerations = append(out.Scheduling.Tolerations, t)
		}
	}
	or(&out.Scheduling.Affinity, d.Scheduling.Affinity)
	or(&out.Scheduling.PriorityClassName, d.Scheduling.PriorityClassName)
	return out
}

// or sets what is not set.
func or[T comparable](value *T, otherwise T) {
	var unset T
	if *value == unset {
		*value = otherwise
	}
}

func union(given, defaults map[string]string) map[string]string {
	if len(defaults) == 0 {
		return given
	}
	out := maps.Clone(defaults)
	maps.Copy(out, given)
	return out
}

func add[T any, N comparable](given, defaults []T, name func(T) N) []T {
	for _, d := range defaults {
		if !slices.ContainsFunc(given, func(g T) bool { return name(g) == name(d) }) {
			given = append(given, d)
		}
	}
	return given
}

func filled(given, defaults *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	if defaults == nil {
		return given
	}
	return new(podspec.FillResources(given, *defaults))
}

// boundedDefaults are the defaults of a sandbox container, within the bounds that
// an administrator may have set without thinking of them.
func boundedDefaults(bounds map[corev1.ResourceName]resource.Quantity) *corev1.ResourceRequirements {
	out := podspec.DefaultResources()
	for _, list := range []corev1.ResourceList{out.Limits, out.Requests} {
		for name, amount := range list {
			if most, bounded := bounds[name]; bounded && amount.Cmp(most) > 0 {
				list[name] = most
			}
		}
	}
	return &out
}
