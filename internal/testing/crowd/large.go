// Package crowd is what many tenants, some of them hostile, do to a manager: it
// measures the manager's memory, and how long an honest task waits beside them.
package crowd

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
)

// largestTask has every field of its own at the bound of the API, annotations up to
// Kubernetes' own, and an affinity that brings it near the 1.5 MiB that etcd takes,
// with room for its status.
func largestTask(namespace, name string, state v1alpha1.TaskState) *v1alpha1.AgentTask {
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Annotations: map[string]string{"example.com/large": text(250 << 10)}}}
	task.Spec.Prompt, task.Spec.SystemPrompt = text(64<<10), text(32<<10)
	task.Spec.State = state
	for i := range 16 {
		task.Spec.Verify = append(task.Spec.Verify, v1alpha1.Verification{Name: fmt.Sprintf("%02d", i) + text(61), Command: text(4096)})
	}
	task.Spec.Sandbox.Template = largestTemplate()
	return task
}

func largestTemplate() v1alpha1.SandboxTemplate {
	t := v1alpha1.SandboxTemplate{Image: text(255)}
	for i := range 64 {
		value := text(4096)
		t.Env = append(t.Env, v1alpha1.EnvVar{Name: fmt.Sprintf("V%02d", i) + strings.ToUpper(text(250)), Value: &value})
	}
	s, m := &t.Scheduling, &t.Metadata
	s.NodeSelector, m.Labels, m.Annotations = map[string]string{}, map[string]string{}, map[string]string{}
	for i := range 32 {
		key := fmt.Sprintf("example.com/k%02d", i) + text(60)
		s.NodeSelector[key], m.Labels[key], m.Annotations[key] = text(63), text(63), text(1024)
		s.Tolerations = append(s.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpEqual, Value: text(63), Effect: corev1.TaintEffectNoSchedule})
	}
	var required corev1.NodeSelector
	for range 16 {
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, largestTerm())
	}
	s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &required}}
	return t
}

func largestTerm() corev1.NodeSelectorTerm {
	var term corev1.NodeSelectorTerm
	for i := range 16 {
		e := corev1.NodeSelectorRequirement{Key: fmt.Sprintf("example.com/k%02d", i) + text(60), Operator: corev1.NodeSelectorOpIn}
		for range 16 {
			e.Values = append(e.Values, text(63))
		}
		term.MatchExpressions = append(term.MatchExpressions, e)
	}
	return term
}

func text(n int) string { return strings.Repeat("x", n) }

// hostileRegistry gives the i-th of some documents that are costly to read, to
// refuse or to keep; a later round changes it, so that it is read again.
func hostileRegistry(i, round int) string {
	const n = models.MaxDocumentBytes - 4096
	fill := func(head, unit, tail string) string { return head + strings.Repeat(unit, n/len(unit)) + tail }
	stamp := fmt.Sprintf("# %d\n", round)
	switch i % 8 {
	case 0:
		return stamp + fill("", "[", "")
	case 1:
		return stamp + strings.Repeat("[", 1<<20-1024)
	case 2:
		return stamp + fill("version: 1\nmodels:\n", "- {id: '!'}\n", "")
	case 3:
		return stamp + fill("version: 1\nproviders: {a: {type: openai, baseURL: http://a}}\nmodels:\n- {id: x, provider: a, upstream: '", "x", "'}\n")
	case 4:
		return stamp + fill("", "? ", "")
	case 5:
		return stamp + largestRegistry("12345,", 3)
	case 6:
		return stamp + largestRegistry("", 250)
	}
	return stamp + fill("a: |\n", " x\n", "")
}

// largestRegistry is valid and near the bounds: its models have lists of numbers in
// extraBody.
func largestRegistry(number string, n int) string {
	var b strings.Builder
	b.WriteString("version: 1\nproviders: {a: {type: openai, baseURL: \"http://a.example/v1\"}}\nmodels:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {id: m%d, provider: a, roles: [a], priority: %d, upstream: %s, quirks: {extraBody: {a: [%s]}}}\n",
			i, i, text(64), strings.Repeat(number, 2500))
	}
	return b.String()
}

// honestRegistry is that of everybody else.
const honestRegistry = `version: 1
default: {role: agent}
providers: {gateway: {type: openai, baseURL: "http://gateway.example/v1"}}
models: [{id: good, provider: gateway, roles: [agent]}]
`

// everything is a policy that lets the largest template through.
const everything = `version: 1
metadata: {labels: ["**"], annotations: ["**"]}
scheduling: {tolerations: ["**"]}
`
