// Package warm is what tasks and pools agree on: which Sandboxes of a pool may be
// claimed, what is claimed, and what a task gets instead where there is none.
package warm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// IndexPool finds the Sandboxes that wait in a pool.
const IndexPool = "metadata.ownerReferences.sandboxPool"

// IndexOfPool gives the value of that index: the UID of the pool.
func IndexOfPool(obj client.Object) []string {
	sb, ok := obj.(*v1alpha1.Sandbox)
	if !ok {
		return nil
	}
	if owner := podapi.OwnerPool(sb); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

// Pooled reports whether a task asks a pool for its Sandbox.
func Pooled(task *v1alpha1.AgentTask) bool { return task.Spec.Sandbox.PoolRef.Name != "" }

// MadeFor reports whether a Sandbox, which belongs to a task, is the one that was warm, or
// has the template that the task asks for: anybody who may create Sandboxes can write an owner into one, and have
// the task's proof run in an image of theirs.
func MadeFor(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) bool {
	if claim := task.Status.Claim; Pooled(task) {
		if claim.Outcome == v1alpha1.ClaimHit {
			return string(sb.UID) == claim.SandboxUID
		}
		return TemplateHash(&sb.Spec.Template) == claim.TemplateHash
	}
	return equality.Semantic.DeepEqual(sb.Spec.Template, task.Spec.Sandbox.Template)
}

// TemplateHash tells templates apart.
func TemplateHash(t *v1alpha1.SandboxTemplate) string {
	data, err := json.Marshal(t)
	if err != nil {
		panic(fmt.Sprintf("encoding a template: %v", err)) // it was decoded before
	}
	return digest(string(data))
}

// From reports whether a Sandbox is made from a template. Its own cannot be changed, and
// its label can; of one that is cached as a stub there is nothing else.
func From(sb *v1alpha1.Sandbox, template *v1alpha1.SandboxTemplate) bool {
	if slim.Partial(sb) {
		return sb.Labels[podspec.LabelTemplate] == TemplateHash(template)
	}
	return equality.Semantic.DeepEqual(&sb.Spec.Template, template)
}

// digest fits into a label.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Cold is the template of the Sandbox that is made for a task which gets no warm one.
func Cold(pool *v1alpha1.SandboxPool, task *v1alpha1.AgentTask) *v1alpha1.SandboxTemplate {
	t := pool.Spec.Template.DeepCopy()
	t.Workspace.Git = podapi.Repository(t.Workspace.Git, task)
	given := task.Spec.Sandbox.PoolRef.Env
	t.Env = slices.DeleteFunc(t.Env, func(e v1alpha1.EnvVar) bool {
		return slices.ContainsFunc(given, func(g v1alpha1.EnvVar) bool { return g.Name == e.Name })
	})
	t.Env = append(t.Env, given...)
	return t
}

// NeedsOwnPod names the field of a task for which a pod has to be made, as it cannot be
// brought into one that is there, of a template; empty if there is none.
func NeedsOwnPod(t *v1alpha1.SandboxTemplate, task *v1alpha1.AgentTask) string {
	have := t.Workspace.Git
	want := podapi.Repository(have, task)
	ref := want.CredentialsSecretRef
	switch {
	case task.Spec.PromptFrom != (v1alpha1.PromptSource{}):
		return "spec.promptFrom"
	case ref.Name != "" && ref != have.CredentialsSecretRef:
		return "spec.sandbox.poolRef.git.credentialsSecretRef"
	case want.URL != have.URL && t.Network.Egress == v1alpha1.EgressRestricted:
		return "spec.sandbox.poolRef.git.url"
	}
	for i, v := range task.Spec.Verify {
		if v.Files.ConfigMapName != "" && v.Isolation != v1alpha1.VerificationSeparate {
			return fmt.Sprintf("spec.verify[%d].files", i)
		}
		if v.Isolation == v1alpha1.VerificationSeparate && podspec.OutlivesPod(t) != "" { // which is then refused
			return fmt.Sprintf("spec.verify[%d].isolation", i)
		}
	}
	for i, o := range task.Spec.Outputs {
		if o.Branch.CredentialsSecretRef.Name != "" {
			return fmt.Sprintf("spec.outputs[%d].branch.credentialsSecretRef", i)
		}
	}
	return ""
}

// Surroundings are what the pods of a pool are made from besides the template.
type Surroundings struct {
	Registry *modelregistry.Store
	// Images are those that the manager gives to pods.
	Images []string
	// Others tell what else is given to pods, each as a text that changes with it: the
	// administrator's policy, the server of the record.
	Others []func(context.Context) (string, error)
}

// Hash tells the surroundings of a namespace's pods apart. The error is that of
// modelregistry.Store.Load.
func (s *Surroundings) Hash(ctx context.Context, reader client.Reader, namespace string) (string, error) {
	entry, err := s.Registry.Load(ctx, namespace)
	if err != nil {
		return "", err
	}
	scopes, err := modelregistry.Scopes(ctx, reader, namespace)
	if err != nil {
		return "", err
	}
	parts := append([]string{entry.Source.String(), entry.Text(), strings.Join(scopes, ",")}, s.Images...)
	for _, other := range s.Others {
		part, err := other(ctx)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return digest(parts...), nil
}

// Waiting are the Sandboxes of a list that wait in a pool: nobody has claimed or deleted them.
func Waiting(list []v1alpha1.Sandbox, pool types.UID) []*v1alpha1.Sandbox {
	var out []*v1alpha1.Sandbox
	for i := range list {
		if owner := podapi.OwnerPool(&list[i]); owner != nil && owner.UID == pool && list[i].DeletionTimestamp.IsZero() {
			out = append(out, &list[i])
		}
	}
	return out
}

// Ready reports whether a Sandbox that waits can be claimed: its first pod runs. One whose
// pod was replaced is no longer of use: the pods of an attempt are numbered, and the first
// attempt has the first.
func Ready(sb *v1alpha1.Sandbox) bool {
	st := sb.Status
	return st.PodName == podapi.PodName(sb.Name, 1) && st.PodUID != "" && !Replaced(sb) && st.TaskRef.Name == "" &&
		meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionReady)
}

// Replaced reports whether the first pod of a Sandbox is gone.
func Replaced(sb *v1alpha1.Sandbox) bool { return sb.Status.Restarts != nil && *sb.Status.Restarts > 0 }

// Taken reports whether the cluster, or somebody, has taken the pod of a Sandbox that
// waits away, or is to: nobody can claim it any more, and nothing is wrong with it.
func Taken(sb *v1alpha1.Sandbox) bool {
	if Replaced(sb) || sb.Spec.State == v1alpha1.SandboxSuspended {
		return true
	}
	switch died(sb).Reason {
	case v1alpha1.ReasonPodLost, v1alpha1.ReasonNodeLost, v1alpha1.ReasonEvicted:
		return true
	}
	return false
}

// Failed is the condition that says why the pod of a Sandbox that waits has ended by
// itself, as another one of its template might as well; nil where it has not.
func Failed(sb *v1alpha1.Sandbox) *metav1.Condition {
	if c := died(sb); Failure(c.Reason) {
		return &c
	}
	return nil
}

// Failure reports whether a reason of Ready is that of a pod which has ended by itself.
func Failure(reason string) bool {
	switch reason {
	case v1alpha1.ReasonOOMKilled, v1alpha1.ReasonRunnerCrashed, v1alpha1.ReasonSandboxLost, v1alpha1.ReasonStorageExceeded,
		v1alpha1.ReasonNodeRejected, v1alpha1.ReasonPodFailed, v1alpha1.ReasonPodFinished, v1alpha1.ReasonSandboxImageUnusable:
		return true
	}
	return false
}

// died is the condition of a Sandbox that cannot go on by itself, since when it cannot;
// of one that has finished, which nobody has to mend, that of Ready.
func died(sb *v1alpha1.Sandbox) metav1.Condition {
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
		return *c
	}
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Reason == v1alpha1.ReasonPodFinished {
		return *c
	}
	return metav1.Condition{}
}

// Claim makes a Sandbox that waits the task's own. It is one write of the Sandbox, which
// is to be guarded by its resourceVersion: of two claims one fails.
func Claim(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) {
	owner := *metav1.NewControllerRef(task, v1alpha1.GroupVersion.WithKind("AgentTask"))
	sb.OwnerReferences = append(slices.DeleteFunc(sb.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Controller != nil && *o.Controller
	}), owner)
	if sb.Labels == nil {
		sb.Labels = map[string]string{}
	}
	for _, label := range podspec.PoolLabels {
		delete(sb.Labels, label)
	}
	sb.Labels[podspec.LabelTask] = task.Name
}
