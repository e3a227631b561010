package modelprobe

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/sandbox"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// follow looks how far the pod is. Results come before all else: what was measured stays
// measured, even if the pod died the moment after.
func (r *Reconciler) follow(ctx context.Context, s *scope) error {
	if st := s.probe.Status; len(st.Models) >= int(st.Planned) {
		s.end(metav1.ConditionTrue, v1alpha1.ReasonProbed, summary(st.Models))
		return nil
	}
	pod, err := r.pod(ctx, s)
	if err != nil {
		return err
	}
	if pod == nil {
		s.broken(v1alpha1.ReasonPodLost, "Pod "+s.probe.Status.PodName+" is gone")
		return nil
	}
	reason, message, over := sandbox.Trouble(pod)
	switch deadline, running := s.deadline(), runs(pod); {
	case !s.now.Before(deadline), pod.Status.Reason == "DeadlineExceeded":
		if err := r.remove(ctx, pod); err != nil {
			return err
		}
		s.broken(v1alpha1.ReasonDeadlineExceeded, "Pod "+pod.Name+" has not ended in time")
	case over:
		s.broken(reason, message+lastWords(pod))
	case running:
		s.wait(v1alpha1.ReasonProbing, fmt.Sprintf("%d of %d models have a result", len(s.probe.Status.Models), s.probe.Status.Planned), deadline.Sub(s.now))
	case s.now.Sub(s.probe.Status.StartTime.Time) >= startLimit:
		if err := r.remove(ctx, pod); err != nil {
			return err
		}
		s.giveUp("Pod " + pod.Name + " did not run within " + startLimit.String())
	case reason != "":
		s.wait(reason, message, s.untilGivenUp())
	default:
		s.wait(v1alpha1.ReasonProbing, "Pod "+pod.Name+" is starting", s.untilGivenUp())
	}
	return nil
}

func (s *scope) untilGivenUp() time.Duration {
	return max(s.probe.Status.StartTime.Add(startLimit).Sub(s.now), time.Second)
}

// deadline is when the pod has to have ended.
func (s *scope) deadline() time.Time {
	seconds := int64(s.probe.Spec.Limits.ActiveSeconds)
	if seconds == 0 {
		seconds = v1alpha1.DefaultProbeSeconds
	}
	return s.probe.Status.StartTime.Add(startLimit + time.Duration(probing(int(s.probe.Status.Planned), seconds))*time.Second)
}

// giveUp ends a probe whose pod never ran, with what it was waiting for.
func (s *scope) giveUp(message string) {
	reason := v1alpha1.ReasonPodPending
	if c := meta.FindStatusCondition(s.probe.Status.Conditions, v1alpha1.ConditionComplete); c != nil && c.Reason != v1alpha1.ReasonProbing {
		reason, message = c.Reason, message+": "+c.Message
	}
	s.end(metav1.ConditionFalse, reason, message)
}

// broken ends a probe whose pod cannot go on. The write of that fails where the runner has
// written something that is not here yet.
func (s *scope) broken(reason, message string) {
	if n := len(s.probe.Status.Models); n > 0 {
		message += fmt.Sprintf("; %d of %d models have a result", n, s.probe.Status.Planned)
	}
	s.end(metav1.ConditionFalse, reason, message)
}

// pod reads the probe's pod; nil if it is gone. One of that name and another UID is
// somebody else's.
func (r *Reconciler) pod(ctx context.Context, s *scope) (*corev1.Pod, error) {
	key := types.NamespacedName{Namespace: s.probe.Namespace, Name: s.probe.Status.PodName}
	for _, from := range []client.Reader{r.Client, r.APIReader} { // the cache may be behind
		var pod corev1.Pod
		err := from.Get(ctx, key, &pod)
		switch {
		case err == nil && string(pod.UID) == s.probe.Status.PodUID:
			return &pod, nil
		case err != nil && !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("reading Pod %s: %w", key.Name, err)
		}
	}
	return nil, nil
}

func (r *Reconciler) remove(ctx context.Context, pod *corev1.Pod) error {
	if err := r.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Pod %s: %w", pod.Name, err)
	}
	logf.FromContext(ctx).Info("Deleted Pod", "pod", pod.Name)
	return nil
}

func runs(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == podapi.RunnerContainer && c.State.Running != nil {
			return true
		}
	}
	return false
}

// lastWords is what the runner said in the end, which nothing but it writes.
func lastWords(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; c.Name == podapi.RunnerContainer && t != nil && t.Message != "" {
			return ": " + t.Message
		}
	}
	return ""
}

// summary says in a few words what came out.
func summary(results []v1alpha1.ProbedModel) string {
	by := map[v1alpha1.ProbeOutcome][]string{}
	for _, m := range results {
		by[m.Outcome] = append(by[m.Outcome], m.ID)
	}
	var parts []string
	for _, o := range []struct {
		outcome v1alpha1.ProbeOutcome
		words   string
	}{
		{v1alpha1.ProbeBelowLevel, "below the level"}, {v1alpha1.ProbeFixSetup, "setup to be fixed"},
		{v1alpha1.ProbeServerTrouble, "server trouble"}, {v1alpha1.ProbeNotFinished, "not finished"},
	} {
		if ids := by[o.outcome]; len(ids) > 0 {
			parts = append(parts, o.words+": "+strings.Join(ids, ", "))
		}
	}
	out := fmt.Sprintf("%d of %d models fit", len(by[v1alpha1.ProbeFits]), len(results))
	if len(parts) > 0 {
		out += "; " + strings.Join(parts, "; ")
	}
	return out
}
