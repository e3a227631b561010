package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// witness watches a namespace and notes whatever must never be.
type witness struct {
	stopped sync.WaitGroup

	mu    sync.Mutex
	found []string
	tasks map[string]*v1alpha1.AgentTask
	// live are the pods that may run, by what they run for.
	live map[string]map[string]bool
}

func watchSpace(ctx context.Context, namespace string) *witness {
	w := &witness{tasks: map[string]*v1alpha1.AgentTask{}, live: map[string]map[string]bool{}}
	follow(ctx, w, namespace, func() client.ObjectList { return &v1alpha1.AgentTaskList{} }, w.sawTask)
	follow(ctx, w, namespace, func() client.ObjectList { return &corev1.PodList{} }, w.sawPod)
	return w
}

// follow watches a kind until ctx ends; a watch that breaks is begun again.
func follow[T client.Object](ctx context.Context, w *witness, namespace string, list func() client.ObjectList, saw func(T, bool)) {
	w.stopped.Go(func() {
		for ctx.Err() == nil {
			events, err := cluster.Watch(ctx, list(), client.InNamespace(namespace))
			if err != nil {
				w.mu.Lock()
				if ctx.Err() == nil {
					w.note("the witness could not watch: %v", err)
				}
				w.mu.Unlock()
				return
			}
			for e := range events.ResultChan() {
				if obj, ok := e.Object.(T); ok {
					w.mu.Lock()
					saw(obj, e.Type == watch.Deleted)
					w.mu.Unlock()
				}
			}
		}
	})
}

func (w *witness) problems() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.found)
}

func (w *witness) note(format string, args ...any) {
	if problem := fmt.Sprintf(format, args...); !slices.Contains(w.found, problem) {
		w.found = append(w.found, problem)
	}
}

func (w *witness) sawTask(at *v1alpha1.AgentTask, deleted bool) {
	before := w.tasks[at.Name]
	if deleted {
		delete(w.tasks, at.Name)
		return
	}
	w.tasks[at.Name] = at
	if at.Status.ObservedGeneration == 0 {
		return // the operator has not seen it yet
	}
	for _, problem := range inconsistent(at) {
		w.note("AgentTask %s: %s (conditions: %s)", at.Name, problem, summary(at))
	}
	if before == nil || before.UID != at.UID {
		return
	}
	if s := succeeded(before).Status; s != "" && s != metav1.ConditionUnknown && s != succeeded(at).Status {
		w.note("AgentTask %s had ended as %s and then became %s", at.Name, outcome(before), outcome(at))
	}
	if at.Status.Attempt < before.Status.Attempt || len(at.Status.Attempts) < len(before.Status.Attempts) {
		w.note("AgentTask %s lost an attempt", at.Name)
	}
}

// inconsistent says what is wrong with a task's status taken by itself.
func inconsistent(at *v1alpha1.AgentTask) (problems []string) {
	st := at.Status
	is := func(kind string) bool { return meta.IsStatusConditionTrue(st.Conditions, kind) }
	check := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, problem)
		}
	}
	end := succeeded(at)
	check(meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReady) != nil, "Ready is missing")
	check(end.Status != "", "Succeeded is missing")
	check(!is(v1alpha1.ConditionReconciling) || !is(v1alpha1.ConditionStalled), "Reconciling and Stalled at once")
	check(st.ObservedGeneration <= at.Generation, "observedGeneration is ahead of generation")
	check(is(v1alpha1.ConditionReady) == (end.Status == metav1.ConditionTrue), "Ready and Succeeded disagree")
	check((end.Status == metav1.ConditionTrue) == (end.Reason == v1alpha1.ReasonCompleted), "only Completed is success")
	check((end.Status != metav1.ConditionUnknown) == (st.CompletionTime != nil), "completionTime and Succeeded disagree")
	for _, c := range st.Conditions {
		check(c.ObservedGeneration <= at.Generation, c.Type+" is ahead of generation")
		check(c.Message != "", c.Type+" has no message")
	}
	if end.Status == metav1.ConditionTrue {
		check(st.Result.Reason == v1alpha1.ReasonCompleted, "success without the runner's word")
		check(len(st.Result.Verifications) == len(at.Spec.Verify), "success without all verifications")
		for _, v := range st.Result.Verifications {
			check(v.Outcome == v1alpha1.VerificationPassed, "success though verification "+v.Name+" did not pass")
		}
		check(st.Transcript.Digest != "", "success without a transcript")
	}
	return problems
}

func summary(at *v1alpha1.AgentTask) string {
	text := ""
	for _, c := range at.Status.Conditions {
		text += fmt.Sprintf("%s=%s/%s ", c.Type, c.Status, c.Reason)
	}
	return text
}

func (w *witness) sawPod(pod *corev1.Pod, deleted bool) {
	if pod.Labels[podspec.LabelManagedBy] != podspec.ManagedBy {
		return
	}
	for _, problem := range unrestricted(pod) {
		w.note("Pod %s: %s", pod.Name, problem)
	}
	owner := pod.Labels[podspec.LabelSandbox]
	if w.live[owner] == nil {
		w.live[owner] = map[string]bool{}
	}
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if deleted || ended {
		delete(w.live[owner], pod.Name)
	} else {
		w.live[owner][pod.Name] = true
	}
	if len(w.live[owner]) > 1 {
		w.note("%s has more than one pod at a time: %v", owner, w.live[owner])
	}
}

// unrestricted says where a pod of the operator is not what the trust model
// promises. That Pod Security admitted it is seen by its being there.
func unrestricted(pod *corev1.Pod) (problems []string) {
	yes := func(b *bool) bool { return b != nil && *b }
	no := func(b *bool) bool { return b != nil && !*b }
	check := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, problem)
		}
	}
	spec := pod.Spec
	check(no(spec.AutomountServiceAccountToken), "a token is mounted by default")
	check(spec.SecurityContext != nil && yes(spec.SecurityContext.RunAsNonRoot), "may run as root")
	check(spec.SecurityContext != nil && spec.SecurityContext.SeccompProfile != nil &&
		spec.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "no seccomp profile")
	check(!spec.HostNetwork && !spec.HostPID && !spec.HostIPC, "shares a namespace of the node")
	want := 2
	if pod.Labels[podspec.LabelProbe] != "" {
		want = 1 // the runner, without a sandbox beside it
	}
	check(len(spec.Containers) == want, fmt.Sprintf("does not have %d containers", want))
	for _, c := range spec.InitContainers {
		check(c.Name == podapi.InstallContainer && len(c.Env)+len(c.EnvFrom) == 0 && len(c.VolumeMounts) == 1, "has the container "+c.Name+" before them")
	}
	secret := map[string]bool{}
	for _, v := range spec.Volumes {
		claim := v.Name == "workspace" && v.PersistentVolumeClaim != nil
		check(v.EmptyDir != nil || v.Projected != nil || claim, "volume "+v.Name+" is neither emptyDir nor projected, nor the workspace's claim")
		secret[v.Name] = v.EmptyDir == nil && !claim || v.Name == "state"
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		sc := c.SecurityContext
		check(sc != nil && no(sc.AllowPrivilegeEscalation) && yes(sc.ReadOnlyRootFilesystem) && sc.Capabilities != nil &&
			slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(sc.Capabilities.Add) == 0,
			"container "+c.Name+" is not restricted")
		if c.Name != podapi.SandboxContainer {
			continue
		}
		for _, m := range c.VolumeMounts {
			check(!secret[m.Name] && (m.SubPath == "" || m.SubPath == "workspace"), "the sandbox container mounts "+m.Name+" "+m.SubPath)
		}
		for _, e := range c.Env {
			check(e.ValueFrom == nil, "the sandbox container's environment has "+e.Name+" from elsewhere")
		}
		check(len(c.EnvFrom) == 0, "the sandbox container has envFrom")
	}
	return problems
}
