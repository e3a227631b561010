package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

// stateOf reads a pod's status. The first cause that is found, from the most
// telling to the least, names the state.
func stateOf(pod *corev1.Pod) podState {
	for _, look := range []func(*corev1.Pod) *podState{terminating, evicted, ended, failed, blocked, unscheduled} {
		if s := look(pod); s != nil {
			return *s
		}
	}
	if running(pod, podapi.RunnerContainer) && running(pod, podapi.SandboxContainer) {
		return podState{phase: podReady, reason: v1alpha1.ReasonReady, message: "Pod " + pod.Name + " runs"}
	}
	return podState{phase: podWaiting, reason: v1alpha1.ReasonPodPending, message: "Pod " + pod.Name + " is starting"}
}

// terminating: somebody deleted the pod, or its node is gone.
func terminating(pod *corev1.Pod) *podState {
	if pod.DeletionTimestamp == nil {
		return nil
	}
	reason, message := v1alpha1.ReasonPodLost, "Pod "+pod.Name+" is being deleted"
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			reason, message = disruption(pod, c)
		}
	}
	return &podState{phase: podDead, reason: reason, message: message, diedAt: pod.DeletionTimestamp.Time}
}

func disruption(pod *corev1.Pod, c corev1.PodCondition) (reason, message string) {
	switch c.Reason {
	case "DeletionByTaintManager", "DeletionByPodGC":
		return v1alpha1.ReasonNodeLost, fmt.Sprintf("Pod %s is being deleted because of its node %s (%s: %s)", pod.Name, pod.Spec.NodeName, c.Reason, c.Message)
	case corev1.PodReasonTerminationByKubelet, "EvictionByEvictionAPI", corev1.PodReasonPreemptionByScheduler:
		return v1alpha1.ReasonEvicted, c.Message
	}
	return v1alpha1.ReasonPodLost, c.Message
}

// evicted: kubelet ended the pod as a whole.
func evicted(pod *corev1.Pod) *podState {
	if pod.Status.Phase != corev1.PodFailed || pod.Status.Reason == "" {
		return nil
	}
	return &podState{phase: podDead, reason: causeOfEviction(pod), message: pod.Status.Message, diedAt: transition(pod)}
}

func causeOfEviction(pod *corev1.Pod) string {
	switch pod.Status.Reason {
	case "Evicted":
		// kubelet has one reason for a node that runs low and for a pod that went
		// over its own limits; only the message tells them apart.
		if overLimit.MatchString(pod.Status.Message) {
			return v1alpha1.ReasonStorageExceeded
		}
		return v1alpha1.ReasonEvicted
	case "Preempting":
		return v1alpha1.ReasonEvicted
	case "NodeLost", "NodeShutdown", "Terminated":
		return v1alpha1.ReasonNodeLost
	}
	if len(pod.Status.ContainerStatuses) == 0 { // such as OutOfcpu and NodeAffinity: it was never admitted
		return v1alpha1.ReasonNodeRejected
	}
	return v1alpha1.ReasonPodLost
}

// overLimit is how kubelet says that a pod used more storage than it may.
var overLimit = regexp.MustCompile(`exceeds the (total )?limit|exceeded its local ephemeral storage limit`)

// failed: the pod failed, and none of our containers has: an init container has,
// which somebody else has added.
func failed(pod *corev1.Pod) *podState {
	if pod.Status.Phase != corev1.PodFailed {
		return nil
	}
	message := "Pod " + pod.Name + " failed before its containers ran"
	for _, c := range pod.Status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			message = fmt.Sprintf("Init container %s, which is not Sampan's, ended with exit code %d", c.Name, t.ExitCode)
			if c.Name == podapi.InstallContainer {
				message = fmt.Sprintf("Container %s, which gives the sandbox image its server, ended with exit code %d", c.Name, t.ExitCode)
			}
		}
	}
	return &podState{phase: podDead, reason: v1alpha1.ReasonPodFailed, message: message, diedAt: transition(pod)}
}

func running(pod *corev1.Pod, container string) bool {
	c := status(pod, container)
	return c != nil && c.State.Running != nil
}

// ended: a container ended. The sandbox container is looked at first: when it
// goes, the runner soon does too, and only the first says why.
func ended(pod *corev1.Pod) *podState {
	for _, name := range []string{podapi.SandboxContainer, podapi.RunnerContainer} {
		c := status(pod, name)
		if c == nil || c.State.Terminated == nil {
			continue
		}
		t := c.State.Terminated
		reason, message := causeOfEnd(name, t)
		return &podState{phase: podDead, reason: reason, message: message, diedAt: t.FinishedAt.Time}
	}
	return nil
}

func causeOfEnd(container string, t *corev1.ContainerStateTerminated) (reason, message string) {
	lost := v1alpha1.ReasonRunnerCrashed
	if container == podapi.SandboxContainer {
		lost = v1alpha1.ReasonSandboxLost
	}
	switch {
	case t.Reason == "OOMKilled" && t.ExitCode != 0: // with 0 it was a command that was killed, and the container went on
		return v1alpha1.ReasonOOMKilled, fmt.Sprintf("Container %s went over its memory limit and was killed", container)
	case container == podapi.SandboxContainer && t.ExitCode == podapi.ExitNoShell && !neverStarted(t):
		return v1alpha1.ReasonSandboxImageUnusable, "The sandbox image has neither bash nor sh on its PATH, so no command can run in it: use another image"
	case container == podapi.SandboxContainer && neverStarted(t) && foreign(t.Message):
		return v1alpha1.ReasonSandboxImageUnusable, foreignMessage
	case neverStarted(t): // kubelet does not try again, so it is an end like any other
		return lost, fmt.Sprintf("Container %s could not start: %s", container, t.Message)
	case t.ExitCode == 0:
		return v1alpha1.ReasonPodFinished, fmt.Sprintf("Container %s ended", container)
	}
	message = fmt.Sprintf("Container %s ended with exit code %d", container, t.ExitCode)
	if container == podapi.RunnerContainer {
		message += lastError(t)
	}
	return lost, message
}

// lastError is the error that a runner has left, after a colon. Tools cannot write there.
func lastError(t *corev1.ContainerStateTerminated) string {
	var words podapi.TerminationMessage
	if err := json.Unmarshal([]byte(t.Message), &words); err != nil || words.Error == "" {
		return ""
	}
	return ": " + text.Clip(text.OneLine(words.Error), podapi.MaxTerminationErrorBytes)
}

// neverStarted reports whether a container's message is the runtime's. That of one
// that has run holds what it wrote to its termination log, and in the sandbox that
// is any tool: its words name no reason, and are not repeated.
func neverStarted(t *corev1.ContainerStateTerminated) bool {
	return t.Reason == "StartError" || t.Reason == "ContainerCannotRun"
}

const foreignMessage = "The sandbox image is for another kind of processor than the node's: use another image, or choose nodes by scheduling.nodeSelector"

// foreign reads the runtime's message; the words are the kernel's.
func foreign(message string) bool { return strings.Contains(message, "exec format error") }

// blocked: a container waits for something that somebody has to fix. Containers
// that others have added count only where ours wait for them.
func blocked(pod *corev1.Pod) *podState {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Waiting == nil || !slices.ContainsFunc(pod.Status.InitContainerStatuses, func(i corev1.ContainerStatus) bool { return i.Name == c.Name }) && !ours(c.Name) {
			continue
		}
		if reason := causeOfWait(c.Name, c.State.Waiting); reason != "" {
			message := fmt.Sprintf("Container %s: %s", c.Name, c.State.Waiting.Message)
			phase := podBlocked
			if reason == v1alpha1.ReasonSandboxImageUnusable {
				message, phase = foreignMessage, podDead
			}
			return &podState{phase: phase, reason: reason, message: message, diedAt: transition(pod)}
		}
	}
	return nil
}

// How kubelet says that a Secret or ConfigMap, or a key of it, is missing. They look
// at its own words alone: a name that a user has chosen may be "secret", too.
var (
	missingSecret    = regexp.MustCompile(`^secrets? "|^couldn't find key [-._a-zA-Z0-9]+ in Secret `)
	missingConfigMap = regexp.MustCompile(`^configmaps? "|^couldn't find key [-._a-zA-Z0-9]+ in ConfigMap `)
)

func causeOfWait(container string, w *corev1.ContainerStateWaiting) string {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed":
		return v1alpha1.ReasonImagePullFailed
	case "CreateContainerConfigError":
		switch {
		case missingSecret.MatchString(w.Message):
			return v1alpha1.ReasonSecretNotFound
		case missingConfigMap.MatchString(w.Message):
			return v1alpha1.ReasonConfigMapNotFound
		}
		return v1alpha1.ReasonContainerConfigError
	case "CrashLoopBackOff": // only an init container that is restarted can
		return v1alpha1.ReasonPodFailed
	case "CreateContainerError", "RunContainerError":
		if container == podapi.SandboxContainer && foreign(w.Message) {
			return v1alpha1.ReasonSandboxImageUnusable
		}
		return v1alpha1.ReasonContainerConfigError
	}
	return ""
}

func ours(container string) bool {
	return container == podapi.RunnerContainer || container == podapi.SandboxContainer
}

// unscheduled: no node has room, or a queue holds the pod back. Both may pass: an
// autoscaler brings a node, a queue admits the pod.
func unscheduled(pod *corev1.Pod) *podState {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse {
			continue
		}
		switch c.Reason {
		case corev1.PodReasonUnschedulable:
			return &podState{phase: podWaiting, reason: v1alpha1.ReasonUnschedulable, message: c.Message}
		case corev1.PodReasonSchedulingGated:
			return &podState{phase: podWaiting, reason: v1alpha1.ReasonQueued, message: c.Message}
		}
	}
	return nil
}

func status(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == container {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// transition is when a pod's conditions last changed.
func transition(pod *corev1.Pod) time.Time {
	last := pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		if c.LastTransitionTime.After(last) {
			last = c.LastTransitionTime.Time
		}
	}
	return last
}
