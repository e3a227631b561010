package podspec

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// admissionAnnotations are what admission notes where it has filled something in: the
// LimitRanger resources, OpenShift a user.
var admissionAnnotations = []string{"kubernetes.io/limit-ranger", "openshift.io/scc", "security.openshift.io/validated-scc-subject-type"}

// Unlike names the first thing in which a pod that is there differs from the pod
// that is wanted; empty if in nothing that matters. An owner's name and UID can be
// written by whoever makes a pod: only what it consists of shows that it is what we
// would have made. What the API server, its own admission and the scheduler fill in
// does not count, see filledIn; everything else does, what a webhook has put into
// it among that, since nobody can tell it from what an attacker has.
func Unlike(want, got *corev1.Pod) string {
	if !maps.Equal(want.Labels, got.Labels) {
		return "metadata.labels"
	}
	annotations := maps.Clone(got.Annotations)
	for _, key := range admissionAnnotations {
		delete(annotations, key)
	}
	if !maps.Equal(want.Annotations, annotations) {
		return "metadata.annotations"
	}
	w, g := want.Spec.DeepCopy(), got.Spec.DeepCopy()
	filledIn(w, g)
	for _, name := range []string{
		unlikeContainer("spec.initContainers", w.InitContainers, g.InitContainers), unlikeContainer("spec.containers", w.Containers, g.Containers),
	} {
		if name != "" {
			return name
		}
	}
	return unlikeField("spec", *w, *g)
}

// platformUser makes equal what a platform chooses where we leave it out: OpenShift
// gives the user, the groups and the SELinux context of the namespace. That nobody is
// root is in what we ask for, and kubelet looks after it.
func platformUser(want, got *corev1.PodSpec) {
	w, g := want.SecurityContext, got.SecurityContext
	w.RunAsUser, w.RunAsGroup, w.SELinuxOptions = g.RunAsUser, g.RunAsGroup, g.SELinuxOptions
	w.FSGroup = g.FSGroup
	for _, pair := range containerPairs(want, got) {
		w, g := pair[0].SecurityContext, pair[1].SecurityContext
		if g != nil {
			w.RunAsUser, w.RunAsGroup, w.SELinuxOptions = g.RunAsUser, g.RunAsGroup, g.SELinuxOptions
			if g.RunAsNonRoot != nil && *g.RunAsNonRoot {
				w.RunAsNonRoot = g.RunAsNonRoot
			}
		}
	}
}

// containerPairs are the containers of each kind, wanted and got, in their order.
func containerPairs(want, got *corev1.PodSpec) (pairs [][2]*corev1.Container) {
	for _, lists := range [][2][]corev1.Container{{want.InitContainers, got.InitContainers}, {want.Containers, got.Containers}} {
		for i := range min(len(lists[0]), len(lists[1])) {
			pairs = append(pairs, [2]*corev1.Container{&lists[0][i], &lists[1][i]})
		}
	}
	return pairs
}

// filledIn makes equal what others may fill in where we have left it out: what
// Kubernetes defaults, where the scheduler placed the pod, and what its admission
// plugins add (Priority, DefaultTolerationSeconds, RuntimeClass, PodNodeSelector,
// ServiceAccount, LimitRanger, AlwaysPullImages).
func filledIn(want, got *corev1.PodSpec) {
	if want.SecurityContext.RunAsUser == nil && got.SecurityContext != nil {
		platformUser(want, got)
	}
	want.DNSPolicy = corev1.DNSClusterFirst
	want.SchedulerName = corev1.DefaultSchedulerName
	want.DeprecatedServiceAccount = want.ServiceAccountName
	want.NodeName = got.NodeName
	want.Priority, want.PreemptionPolicy, want.Overhead = got.Priority, got.PreemptionPolicy, got.Overhead
	if includes(got.ImagePullSecrets, want.ImagePullSecrets) {
		want.ImagePullSecrets = got.ImagePullSecrets
	}
	if want.PriorityClassName == "" {
		want.PriorityClassName = got.PriorityClassName
	}
	if includes(got.Tolerations, want.Tolerations) {
		want.Tolerations = got.Tolerations
	}
	if contains(got.NodeSelector, want.NodeSelector) {
		want.NodeSelector = got.NodeSelector
	}
	for _, pair := range containerPairs(want, got) {
		if pair[1].ImagePullPolicy == corev1.PullAlways { // of admission, for every pod of the cluster
			pair[0].ImagePullPolicy = corev1.PullAlways
		}
		w, g := &pair[0].Resources, &pair[1].Resources
		if covers(g.Limits, w.Limits) && covers(g.Requests, w.Requests) {
			w.Limits, w.Requests = g.Limits, g.Requests
		}
	}
}

func includes[T any](all, some []T) bool {
	for _, s := range some {
		if !slices.ContainsFunc(all, func(a T) bool { return equality.Semantic.DeepEqual(a, s) }) {
			return false
		}
	}
	return true
}

func contains(all, some map[string]string) bool {
	for k, v := range some {
		if got, ok := all[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func covers(all, some corev1.ResourceList) bool {
	for k, v := range some {
		if got, ok := all[k]; !ok || got.Cmp(v) != 0 {
			return false
		}
	}
	return true
}

// unlikeContainer names the field of a container that differs.
func unlikeContainer(path string, want, got []corev1.Container) string {
	for i := range min(len(want), len(got)) {
		if want[i].Name != got[i].Name {
			break
		}
		if name := unlikeField(fmt.Sprintf("%s[%s]", path, want[i].Name), want[i], got[i]); name != "" {
			return name
		}
	}
	return ""
}

// unlikeField names the first field of two structs of a type that differs. A field
// that a later Kubernetes adds is among them.
func unlikeField(path string, want, got any) string {
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	for i := range w.NumField() {
		if !equality.Semantic.DeepEqual(w.Field(i).Interface(), g.Field(i).Interface()) {
			name, _, _ := strings.Cut(w.Type().Field(i).Tag.Get("json"), ",")
			return path + "." + name
		}
	}
	return ""
}
