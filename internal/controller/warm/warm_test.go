package warm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// waiting is a Sandbox that waits in pool spare and is ready.
func waiting() *v1alpha1.Sandbox {
	sb := objects.MakeSandbox("spare-1").Obj()
	sb.UID = "s"
	sb.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: "example.com/v1", Kind: "Team", Name: "a", UID: "t"},
		{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SandboxPool", Name: "spare", UID: "p", Controller: new(true)},
	}
	sb.Labels = map[string]string{podspec.LabelManagedBy: "sampan", podspec.LabelPool: "spare", podspec.LabelTemplate: "a", podspec.LabelSurroundings: "b"}
	sb.Status.PodName, sb.Status.PodUID = "spare-1-1", "u"
	sb.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	return sb
}

// TestClaim: what was claimed is the task's and no more the pool's; other owners stay.
func TestClaim(t *testing.T) {
	sb, task := waiting(), objects.MakeTask("x").From("spare").Obj()
	task.UID = "x"
	if got := IndexOfPool(sb); !cmp.Equal(got, []string{"p"}) {
		t.Errorf("it waits in %v", got)
	}
	Claim(sb, task)
	want := []metav1.OwnerReference{
		{APIVersion: "example.com/v1", Kind: "Team", Name: "a", UID: "t"},
		{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "x", UID: "x", Controller: new(true), BlockOwnerDeletion: new(true)},
	}
	if diff := cmp.Diff(want, sb.OwnerReferences); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{podspec.LabelManagedBy: "sampan", podspec.LabelTask: "x"}, sb.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if IndexOfPool(sb) != nil || len(Waiting([]v1alpha1.Sandbox{*sb}, "p")) > 0 {
		t.Error("it waits still")
	}
}

func TestReady(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.Sandbox)
		want   bool
	}{
		"as it is":             {func(*v1alpha1.Sandbox) {}, true},
		"not ready":            {func(sb *v1alpha1.Sandbox) { sb.Status.Conditions[0].Status = metav1.ConditionFalse }, false},
		"with its second pod":  {func(sb *v1alpha1.Sandbox) { sb.Status.PodName, sb.Status.Restarts = "spare-1-2", new(int32(1)) }, false},
		"held by a task":       {func(sb *v1alpha1.Sandbox) { sb.Status.TaskRef.Name = "x" }, false},
		"without a pod so far": {func(sb *v1alpha1.Sandbox) { sb.Status.PodUID = "" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			sb := waiting()
			tt.change(sb)
			if got := Ready(sb); got != tt.want {
				t.Errorf("Ready = %v", got)
			}
		})
	}
}

// TestMadeForAHit: what was claimed is known by its UID, also where a later version has
// another default, and so another hash, for the same template.
func TestMadeForAHit(t *testing.T) {
	sb, task := waiting(), objects.MakeTask("x").From("spare").Obj()
	task.Status.Claim = v1alpha1.ClaimStatus{Outcome: v1alpha1.ClaimHit, SandboxUID: "s", TemplateHash: "of an earlier version"}
	if !MadeFor(sb, task) {
		t.Error("what it has claimed is not its own")
	}
	sb.UID = "another"
	task.Status.Claim.TemplateHash = TemplateHash(&sb.Spec.Template)
	if MadeFor(sb, task) {
		t.Error("another Sandbox of its template is its own")
	}
}

// TestMadeFor: a Sandbox of another template is none of the task's, whoever owns it.
func TestMadeFor(t *testing.T) {
	pool, task := objects.MakePool("spare", 1), objects.MakeTask("x").From("spare").Obj()
	pool.Spec.Template.Image = "tools:1"
	task.Spec.Sandbox.PoolRef.Env = []v1alpha1.EnvVar{{Name: "A"}}
	sb := objects.MakeSandbox("x").Obj()
	sb.Spec.Template = *Cold(pool, task)
	task.Status.Claim.TemplateHash = TemplateHash(Cold(pool, task))
	if !MadeFor(sb, task) {
		t.Error("what was made for it is not its own")
	}
	sb.Spec.Template.Image = "evil:1"
	if MadeFor(sb, task) {
		t.Error("another image is its own")
	}
	if pool.Spec.Template.Env != nil {
		t.Error("the pool's template was changed")
	}
	sb.Spec.Template.Image = "tools:1"
	task.Status.Claim = v1alpha1.ClaimStatus{}
	if MadeFor(sb, task) {
		t.Error("without a claim it has one")
	}
}

// TestNeedsOwnPod: a pod that waits has no volume that a task names.
func TestNeedsOwnPod(t *testing.T) {
	tests := map[string]func(*v1alpha1.AgentTaskSpec){
		"": func(*v1alpha1.AgentTaskSpec) {},
		"spec.promptFrom": func(s *v1alpha1.AgentTaskSpec) {
			s.PromptFrom.ConfigMapKeyRef = v1alpha1.KeyReference{Name: "words", Key: "prompt"}
		},
		"spec.verify[1].files": func(s *v1alpha1.AgentTaskSpec) {
			s.Verify = []v1alpha1.Verification{{Name: "a", Command: "true"}, {Name: "b", Command: "true", Files: v1alpha1.VerificationFiles{ConfigMapName: "tests", Keys: []string{"a"}}}}
		},
		"spec.outputs[0].branch.credentialsSecretRef": func(s *v1alpha1.AgentTaskSpec) {
			s.Outputs = []v1alpha1.Output{{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: "x", CredentialsSecretRef: v1alpha1.SecretReference{Name: "push"}}}}
		},
	}
	for want, change := range tests {
		task := objects.MakeTask("x").From("spare").Obj()
		change(&task.Spec)
		if got := NeedsOwnPod(&objects.MakePool("spare", 1).Spec.Template, task); got != want {
			t.Errorf("it needs a pod of its own for %q, want %q", got, want)
		}
	}
	task := objects.MakeTask("x").From("spare").VerifySeparately("v", "true").Obj()
	task.Spec.Verify[0].Files = v1alpha1.VerificationFiles{ConfigMapName: "tests", Keys: []string{"a"}}
	if got := NeedsOwnPod(&objects.MakePool("spare", 1).Spec.Template, task); got != "" {
		t.Errorf("files that the agent's pod does not get need one of its own for %q", got)
	}
	claims := objects.MakePool("spare", 1).Spec.Template
	if got := NeedsOwnPod(&claims, task); got != "" {
		t.Errorf("a Separate verification needs a pod of its own for %q", got)
	}
	claims.Volumes = []v1alpha1.Volume{{Name: "data", MountPath: "/data", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}
	if got := NeedsOwnPod(&claims, task); got != "spec.verify[0].isolation" {
		t.Errorf("with a volume that outlives the pod it needs one of its own for %q", got)
	}
}
