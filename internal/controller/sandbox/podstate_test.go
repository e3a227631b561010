package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/expect"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// notFound is what containerd says when the command is not in the image.
const notFound = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: ` +
	`unable to start container process: error during container init: exec: "agent-runner": executable file not found in $PATH`

func TestStateOf(t *testing.T) {
	pod := func() *objects.Pod { return objects.MakePod("x") }
	running := func() *objects.Pod {
		return pod().Phase(corev1.PodRunning).Running("runner").Running("sandbox").Condition(corev1.PodReady, corev1.ConditionTrue, "", "")
	}
	tests := map[string]struct {
		pod    *objects.Pod
		phase  podPhase
		reason string
	}{
		"new":                                   {pod(), podWaiting, "PodPending"},
		"creating":                              {pod().Waiting("runner", "ContainerCreating", ""), podWaiting, "PodPending"},
		"running":                               {running(), podReady, "Ready"},
		"half running":                          {pod().Phase(corev1.PodRunning).Running("runner").Waiting("sandbox", "ContainerCreating", ""), podWaiting, "PodPending"},
		"unschedulable":                         {pod().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/3 nodes are available"), podWaiting, "Unschedulable"},
		"gated":                                 {pod().Condition(corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated", ""), podWaiting, "Queued"},
		"image missing":                         {pod().Running("runner").Waiting("sandbox", "ErrImagePull", "not found"), podBlocked, "ImagePullFailed"},
		"image back-off":                        {pod().Waiting("runner", "ImagePullBackOff", "Back-off"), podBlocked, "ImagePullFailed"},
		"image name":                            {pod().Waiting("sandbox", "InvalidImageName", ""), podBlocked, "ImagePullFailed"},
		"Secret missing":                        {pod().Waiting("runner", "CreateContainerConfigError", `secret "model-keys" not found`), podBlocked, "SecretNotFound"},
		"key missing":                           {pod().Waiting("runner", "CreateContainerConfigError", `couldn't find key gateway in Secret a/model-keys`), podBlocked, "SecretNotFound"},
		"ConfigMap missing":                     {pod().Waiting("runner", "CreateContainerConfigError", `configmap "words" not found`), podBlocked, "ConfigMapNotFound"},
		"root image":                            {pod().Waiting("sandbox", "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"), podBlocked, "ContainerConfigError"},
		"another processor":                     {pod().Running("runner").Terminated("sandbox", 128, "StartError", "exec format error"), podDead, "SandboxImageUnusable"},
		"another processor, by another runtime": {pod().Running("runner").Waiting("sandbox", "CreateContainerError", "exec format error"), podDead, "SandboxImageUnusable"},
		"no shell":                              {pod().Running("runner").Terminated("sandbox", 72, "Error", ""), podDead, "SandboxImageUnusable"},
		"the code of no shell, by the runner":   {pod().Running("sandbox").Terminated("runner", 72, "Error", ""), podDead, "RunnerCrashed"},
		"another start error":                   {pod().Running("runner").Terminated("sandbox", 128, "StartError", notFound), podDead, "SandboxLost"},
		"a start error of old runtimes":         {pod().Running("runner").Terminated("sandbox", 128, "ContainerCannotRun", "no such device"), podDead, "SandboxLost"},
		"no agent-runner in the runner":         {pod().Terminated("runner", 128, "StartError", notFound).Running("sandbox"), podDead, "RunnerCrashed"},
		"sandbox out of memory":                 {running().Terminated("sandbox", 137, "OOMKilled", ""), podDead, "OOMKilled"},
		"runner out of memory":                  {running().Terminated("runner", 137, "OOMKilled", ""), podDead, "OOMKilled"},
		"a command out of memory":               {running().Terminated("runner", 0, "Completed", "").Terminated("sandbox", 0, "OOMKilled", ""), podDead, "PodFinished"},
		"sandbox ended":                         {running().Terminated("sandbox", 1, "Error", ""), podDead, "SandboxLost"},
		"a tool's words about a server":         {running().Terminated("sandbox", 1, "Error", notFound), podDead, "SandboxLost"},
		"a tool's words about memory":           {running().Terminated("sandbox", 1, "Error", "OOMKilled"), podDead, "SandboxLost"},
		"a key named after a kind":              {pod().Waiting("runner", "CreateContainerConfigError", `couldn't find key configmap in Secret a/configmap`), podBlocked, "SecretNotFound"},
		"a ConfigMap named secret":              {pod().Waiting("runner", "CreateContainerConfigError", `configmap "secret" not found`), podBlocked, "ConfigMapNotFound"},
		"a Secret, as an older kubelet says it": {pod().Waiting("runner", "CreateContainerConfigError", `secrets "model-keys" not found`), podBlocked, "SecretNotFound"},
		"an image's words about a Secret":       {pod().Waiting("sandbox", "CreateContainerConfigError", `image has non-numeric user (secret "x"), cannot verify user is non-root`), podBlocked, "ContainerConfigError"},
		"runner crashed":                        {running().Terminated("runner", 2, "Error", ""), podDead, "RunnerCrashed"},
		"finished":                              {pod().Phase(corev1.PodSucceeded).Terminated("runner", 0, "Completed", "").Terminated("sandbox", 0, "Completed", ""), podDead, "PodFinished"},
		"finished, task failed":                 {pod().Phase(corev1.PodFailed).Terminated("runner", 3, "Error", "").Terminated("sandbox", 0, "Completed", ""), podDead, "PodFinished"},
		"both killed, sandbox first":            {pod().Phase(corev1.PodFailed).Terminated("runner", 1, "Error", "").Terminated("sandbox", 137, "OOMKilled", ""), podDead, "OOMKilled"},
		"evicted":                               {pod().Failed("Evicted", "The node was low on resource: ephemeral-storage."), podDead, "Evicted"},
		"evicted, containers ended too":         {pod().Failed("Evicted", "The node was low on resource: memory.").Terminated("sandbox", 137, "Error", ""), podDead, "Evicted"},
		"node shut down":                        {pod().Failed("NodeShutdown", ""), podDead, "NodeLost"},
		"refused by its node":                   {pod().Failed("OutOfcpu", "Node didn't have enough resource: cpu"), podDead, "NodeRejected"},
		"over the limit of its workspace":       {pod().Failed("Evicted", `Usage of EmptyDir volume "workspace" exceeds the limit "1Mi". `), podDead, "StorageExceeded"},
		"over the limit of its pod":             {pod().Failed("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. "), podDead, "StorageExceeded"},
		"over the limit of a container":         {pod().Failed("Evicted", `Container sandbox exceeded its local ephemeral storage limit "1Gi". `), podDead, "StorageExceeded"},
		"failed before its containers ran":      {pod().Phase(corev1.PodFailed), podDead, "PodFailed"},
		"failed otherwise":                      {pod().Failed("Unknown", "").Waiting("runner", "ContainerCreating", ""), podDead, "PodLost"},
		"deleted":                               {running().Leaving(metav1.Unix(900, 0)), podDead, "PodLost"},
		"deleted by the taint manager":          {running().Leaving(metav1.Unix(900, 0)).Condition(corev1.DisruptionTarget, corev1.ConditionTrue, "DeletionByTaintManager", ""), podDead, "NodeLost"},
		"deleted by a drain":                    {running().Leaving(metav1.Unix(900, 0)).Condition(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", ""), podDead, "Evicted"},
		"preempted":                             {running().Leaving(metav1.Unix(900, 0)).Condition(corev1.DisruptionTarget, corev1.ConditionTrue, "PreemptionByScheduler", ""), podDead, "Evicted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOf(tt.pod.Obj())
			if s.phase != tt.phase || s.reason != tt.reason {
				t.Errorf("stateOf = %d %s (%q), want %d %s", s.phase, s.reason, s.message, tt.phase, tt.reason)
			}
			if strings.HasPrefix(name, "a tool's words") && s.message != "Container sandbox ended with exit code 1" {
				t.Errorf("the tool has its say: %q", s.message)
			}
			sb := objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) { sb.Generation = 1 }).Obj()
			facts{now: time.Unix(1000, 0), podState: s}.apply(sb)
			if wrong := expect.Consistent(sb); len(wrong) > 0 {
				t.Errorf("conditions: %v", wrong)
			}
		})
	}
}

func TestFactsToConditions(t *testing.T) {
	ready := podState{phase: podReady, reason: v1alpha1.ReasonReady, message: "runs"}
	tests := map[string]struct {
		facts facts
		want  map[string]string
	}{
		"nothing seen": {facts{}, map[string]string{"Ready": "PodPending", "Reconciling": "PodPending"}},
		"ready":        {facts{podState: ready}, map[string]string{"Ready": "Ready"}},
		"suspended":    {facts{suspended: true, podState: ready}, map[string]string{"Ready": "Suspended"}},
		"idle":         {facts{idle: true, podState: ready}, map[string]string{"Ready": "Idle"}},
		"lost":         {facts{lost: true}, map[string]string{"Ready": "PodLost", "Stalled": "PodLost"}},
		"finished":     {facts{podState: podState{phase: podDead, reason: "PodFinished", message: "ended"}}, map[string]string{"Ready": "PodFinished"}},
		"dead":         {facts{podState: podState{phase: podDead, reason: "OOMKilled", message: "ended"}}, map[string]string{"Ready": "OOMKilled", "Stalled": "OOMKilled"}},
		"conflict":     {facts{conflict: "Pod x"}, map[string]string{"Ready": "NameConflict", "Stalled": "NameConflict"}},
		"remains":      {facts{remains: "Waiting for Pod x"}, map[string]string{"Ready": "PodPending", "Reconciling": "PodPending"}},
		"passing":      {facts{problem: &problem{reason: "QuotaExceeded", message: "quota", passing: true}}, map[string]string{"Ready": "QuotaExceeded", "Reconciling": "QuotaExceeded"}},
		"no attempt":   {facts{noAttempt: true}, map[string]string{"Ready": "Idle"}},
		"over":         {facts{over: true}, map[string]string{"Ready": "PodFinished"}},
		"problem":      {facts{problem: &problem{reason: "PodRefused", message: "no"}}, map[string]string{"Ready": "PodRefused", "Stalled": "PodRefused"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) { sb.Generation = 1 }).Obj()
			facts{now: time.Unix(1, 0), podState: podState{phase: podBlocked, reason: "Before", message: "before"}}.apply(sb)
			tt.facts.now = time.Unix(2, 0)
			tt.facts.apply(sb)
			got := map[string]string{}
			for _, c := range sb.Status.Conditions {
				got[c.Type] = c.Reason
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if wrong := expect.Consistent(sb); len(wrong) > 0 {
				t.Errorf("conditions: %v", wrong)
			}
		})
	}
}

func TestUnboundCause(t *testing.T) {
	event := func(kind, reason, message string) corev1.Event {
		return corev1.Event{Type: kind, Reason: reason, Message: message}
	}
	waits := event("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
	noClass := event("Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
	failed := event("Warning", "ProvisioningFailed", "quota")
	tests := map[string]struct {
		events []corev1.Event
		want   string
	}{
		"nothing":                   {nil, ""},
		"a claim that waits":        {[]corev1.Event{waits}, ""},
		"being made":                {[]corev1.Event{event("Normal", "ExternalProvisioning", "Waiting for a volume to be created")}, ""},
		"no StorageClass":           {[]corev1.Event{noClass}, noClass.Message},
		"a StorageClass came":       {[]corev1.Event{noClass, waits}, ""},
		"failed when its pod came":  {[]corev1.Event{waits, failed}, "quota"},
		"failed, and is tried anew": {[]corev1.Event{failed, event("Normal", "Provisioning", "External provisioner is provisioning")}, "quota"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := unboundCause(tt.events); got != tt.want {
				t.Errorf("cause is %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLastError: the error that a runner leaves is shown, and nothing that a tool writes.
func TestLastError(t *testing.T) {
	const left = `{"error":"models.yaml: \u001b[2Jempty"}`
	for name, c := range map[string]struct {
		pod  *objects.Pod
		want string
	}{
		"of a runner":      {objects.MakePod("x").Terminated("runner", 1, "Error", left), `Container runner ended with exit code 1: models.yaml: \x1b[2Jempty`},
		"that is a result": {objects.MakePod("x").Terminated("runner", 1, "Error", `{"taskUID":"u"}`), "Container runner ended with exit code 1"},
		"that is no JSON":  {objects.MakePod("x").Terminated("runner", 1, "Error", "panic"), "Container runner ended with exit code 1"},
		"of a tool":        {objects.MakePod("x").Terminated("sandbox", 1, "Error", left), "Container sandbox ended with exit code 1"},
	} {
		if s := stateOf(c.pod.Obj()); s.message != c.want {
			t.Errorf("%s: %q", name, s.message)
		}
	}
}
