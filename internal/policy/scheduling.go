package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

func (c *checker) scheduling(s *v1alpha1.Scheduling, path string) {
	for _, key := range slices.Sorted(maps.Keys(s.NodeSelector)) {
		c.nodeLabel(key, path+".nodeSelector")
	}
	for i, t := range s.Tolerations {
		// One without a key tolerates every taint.
		if !matches(c.Scheduling.Tolerations, t.Key) && (t.Key != "" || !slices.Contains(c.Scheduling.Tolerations, "**")) {
			c.refuse(fmt.Sprintf("%s.tolerations[%d].key", path, i), quoted(t.Key), "scheduling.tolerations", "")
		}
	}
	if name := s.PriorityClassName; name != "" && !matches(c.Scheduling.PriorityClassNames, name) {
		c.refuse(path+".priorityClassName", quoted(name), "scheduling.priorityClassNames", "")
	}
	if s.Affinity != nil {
		c.nodeAffinity(s.Affinity.NodeAffinity, path+".affinity.nodeAffinity")
		c.podAffinity(s.Affinity, path+".affinity")
	}
}

func (c *checker) metadata(m *v1alpha1.PodMetadata, path string) {
	c.keys(m.Labels, c.Metadata.Labels, path+".labels", "metadata.labels")
	c.keys(m.Annotations, c.Metadata.Annotations, path+".annotations", "metadata.annotations")
}

// keys are those of labels or annotations.
func (c *checker) keys(given map[string]string, globs []string, path, key string) {
	for _, k := range slices.Sorted(maps.Keys(given)) {
		switch {
		case podspec.Reserved(k):
			c.refuse(path, quoted(k), key, "cannot allow it: it is Sampan's own")
		case !keyAllowed(globs, k):
			c.refuse(path, quoted(k), key, "")
		}
	}
}

// keyAllowed holds the key of a label or an annotation against globs. What the parts
// of Kubernetes trust is meant only by a glob that spells out the prefix.
func keyAllowed(globs []string, key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	spelled := found && (podspec.Under(prefix, "kubernetes.io") || podspec.Under(prefix, "k8s.io"))
	return slices.ContainsFunc(globs, func(glob string) bool {
		return doublestar.MatchUnvalidated(glob, key) && (!spelled || strings.HasPrefix(glob, prefix+"/"))
	})
}

func (c *checker) nodeLabel(key, path string) {
	if globs := c.Scheduling.NodeSelector; globs != nil && !matches(globs, key) {
		c.refuse(path, quoted(key), "scheduling.nodeSelector", "")
	}
}

func (c *checker) nodeAffinity(a *corev1.NodeAffinity, path string) {
	if a == nil {
		return
	}
	var terms []corev1.NodeSelectorTerm
	if required := a.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
		terms = append(terms, required.NodeSelectorTerms...)
	}
	for _, p := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		terms = append(terms, p.Preference)
	}
	for _, t := range terms {
		for _, e := range slices.Concat(t.MatchExpressions, t.MatchFields) {
			c.nodeLabel(e.Key, path)
		}
	}
}

// podAffinity refuses terms that look at pods of other namespaces. A required
// anti-affinity holds in both directions: it would keep those pods off its node.
func (c *checker) podAffinity(a *corev1.Affinity, path string) {
	if c.Scheduling.CrossNamespaceAffinity {
		return
	}
	check := func(kind string, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for _, p := range preferred {
			required = append(slices.Clip(required), p.PodAffinityTerm)
		}
		for _, t := range required {
			value := strings.Join(t.Namespaces, ", ")
			if t.NamespaceSelector != nil {
				value = metav1.FormatLabelSelector(t.NamespaceSelector)
			} else if !slices.ContainsFunc(t.Namespaces, func(ns string) bool { return ns != c.namespace }) {
				continue
			}
			c.refuse(path+"."+kind, "namespaces "+quoted(value), "scheduling.crossNamespaceAffinity", "is false")
		}
	}
	if pod := a.PodAffinity; pod != nil {
		check("podAffinity", pod.RequiredDuringSchedulingIgnoredDuringExecution, pod.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if anti := a.PodAntiAffinity; anti != nil {
		check("podAntiAffinity", anti.RequiredDuringSchedulingIgnoredDuringExecution, anti.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}
