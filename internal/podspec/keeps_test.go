package podspec_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// A runner is asked to keep the workspace of somebody's own Sandbox, where there is a
// record, and gets time for it. What waits in a pool, or is a task's, does not pay for it.
func TestWhoseWorkspaceIsKept(t *testing.T) {
	of := func(kind string) func(*v1alpha1.Sandbox) {
		return func(sb *v1alpha1.Sandbox) {
			sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: "x", Controller: new(true)}}
		}
	}
	record := &podspec.Record{URL: "https://record", CA: "CA"}
	for name, tc := range map[string]struct {
		edit   func(*v1alpha1.Sandbox)
		record *podspec.Record
		want   bool
	}{
		"somebody's own":       {func(*v1alpha1.Sandbox) {}, record, true},
		"without a record":     {func(*v1alpha1.Sandbox) {}, nil, false},
		"a task's":             {of("AgentTask"), record, false},
		"a pool's":             {of("SandboxPool"), record, false},
		"persistent workspace": {func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent }, record, false},
	} {
		pod := podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").With(tc.edit).Obj(), PodName: "box-1", Record: tc.record})
		podspec.Cached(pod) // as the operator sees it
		if got := podspec.Keeps(pod); got != tc.want {
			t.Errorf("%s: it is kept: %t, want %t", name, got, tc.want)
		}
		pod = podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").With(tc.edit).Obj(), PodName: "box-1", Record: tc.record})
		if got := *pod.Spec.TerminationGracePeriodSeconds > 10; got != tc.want {
			t.Errorf("%s: its pod has %d seconds to end", name, *pod.Spec.TerminationGracePeriodSeconds)
		}
	}
}

// A pod that waits for tasks has keys as files of its runner, which follow their Secrets; one
// that is made for a task has them in its environment.
func TestWhereKeysAre(t *testing.T) {
	for name, attempt := range map[string]int32{"waits": 0, "made for a task": 1} {
		pod := podspec.Pod(podspec.Input{
			Sandbox: objects.MakeSandbox("box").Obj(), PodName: "box-1", Task: v1alpha1.TaskReference{Attempt: attempt},
			ModelKeys: []podspec.ModelKey{{Env: "SAMPAN_KEY_GATEWAY", SecretName: "model-keys", Key: "gateway", Optional: true}},
		})
		inEnv, inFile := false, false
		for _, e := range container(t, pod, podapi.RunnerContainer).Env {
			inEnv = inEnv || e.Name == "SAMPAN_KEY_GATEWAY"
		}
		for _, v := range pod.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				if s := source.Secret; s != nil && s.Name == "model-keys" {
					inFile = *s.Optional && s.Items[0].Key == "gateway" && s.Items[0].Path == "keys/SAMPAN_KEY_GATEWAY"
				}
			}
		}
		if inEnv != (attempt > 0) || inFile != (attempt == 0) {
			t.Errorf("%s: in the environment %t, in a file %t", name, inEnv, inFile)
		}
	}
}
