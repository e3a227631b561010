package sandbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// slowStart is how long a pod may be starting before its events are asked why: what
// kubelet cannot mount, for example, is told nowhere else.
const slowStart = 8 * time.Second

// noticeTime is how long a pod may wait for a scheduler to look at it, and for its node to
// begin, before that is told: both have more to do at times.
const noticeTime = time.Minute

// slowState is the state of a pod that has been waiting to start for a while, and whose
// status does not say for what.
func (r *Reconciler) slowState(ctx context.Context, pod *corev1.Pod, waiting podState) podState {
	if p := r.unnoticed(ctx, pod); p != nil {
		waiting.reason, waiting.message = p.reason, p.message
		return waiting
	}
	events := r.eventsOf(ctx, pod, nil)
	if p := mountProblem(events); p != nil {
		return podState{phase: podBlocked, reason: p.reason, message: p.message}
	}
	for _, e := range slices.Backward(events) {
		switch e.Reason {
		case "FailedCreatePodSandBox", "FailedCreatePodContainer", "FailedPrepareDynamicResources", "NetworkNotReady":
			waiting.reason, waiting.message = v1alpha1.ReasonPodNotStarted, e.Message
			return waiting
		case "Pulling":
			waiting.message += ": " + e.Message
			return waiting
		case "Pulled", "Created", "Started":
			return waiting
		}
	}
	return waiting
}

// unnoticed tells that no scheduler, or no kubelet, has begun with a pod for so long that
// one may be missing. A cache may be older than that, so it is read past.
func (r *Reconciler) unnoticed(ctx context.Context, pod *corev1.Pod) *problem {
	if pod.Status.StartTime != nil || r.Clock.Since(pod.CreationTimestamp.Time) < noticeTime {
		return nil
	}
	var live corev1.Pod
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(pod), &live); err != nil || live.UID != pod.UID {
		if client.IgnoreNotFound(err) != nil {
			logf.FromContext(ctx).Error(err, "Could not read the Pod", "pod", pod.Name)
		}
		return nil // the next look asks again
	}
	switch {
	case live.Spec.NodeName == "":
		return &problem{reason: v1alpha1.ReasonUnschedulable,
			message: fmt.Sprintf("The scheduler %q has not looked at Pod %s yet; see whether it runs", live.Spec.SchedulerName, pod.Name)}
	case live.Status.StartTime == nil: // kubelet sets it when it first sees the pod
		return &problem{reason: v1alpha1.ReasonPodNotStarted,
			message: fmt.Sprintf("Node %s has not begun to start Pod %s; see whether its kubelet runs", live.Spec.NodeName, pod.Name)}
	}
	return nil
}

// mountProblem finds in a pod's events what the node cannot attach or mount.
func mountProblem(events []corev1.Event) *problem {
	var last *problem
	for _, e := range events {
		if e.Reason != "FailedMount" && e.Reason != "FailedAttachVolume" && e.Reason != "FailedMapVolume" {
			continue
		}
		switch message := e.Message; {
		case strings.Contains(message, `secret "`), strings.Contains(message, "references non-existent secret key"):
			last = &problem{reason: v1alpha1.ReasonSecretNotFound, message: message}
		case strings.Contains(message, `configmap "`), strings.Contains(message, "references non-existent config key"):
			last = &problem{reason: v1alpha1.ReasonConfigMapNotFound, message: message}
		case last == nil || last.reason == v1alpha1.ReasonVolumeFailed: // what is missing says more
			last = &problem{reason: v1alpha1.ReasonVolumeFailed, message: message}
		}
	}
	return last
}

// eventsOf are the events of an object that match, in the order in which they came
// last. Without them no cause is named; the next look asks again.
func (r *Reconciler) eventsOf(ctx context.Context, obj client.Object, match client.MatchingFields) []corev1.Event {
	var list corev1.EventList
	of := client.MatchingFields{"involvedObject.uid": string(obj.GetUID())}
	maps.Copy(of, match)
	err := r.APIReader.List(ctx, &list, client.InNamespace(obj.GetNamespace()), client.Limit(100), of)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not read events", "kind", r.kind(obj), "name", obj.GetName())
		return nil
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return lastSeen(a).Compare(lastSeen(b)) })
	return list.Items
}

// lastSeen is when an event came last. Who reports by the newer API fills other fields.
func lastSeen(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
