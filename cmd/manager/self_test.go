package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestFromPod(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "manager-0"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "my-sampan-controller-manager-2",
			InitContainers:     []corev1.Container{{Name: "mesh", Image: "mesh:1"}, {Name: "runner", Image: "mirror.example/sandbox:1"}},
			Containers:         []corev1.Container{{Name: "manager", Image: "manager:1"}},
		},
	}
	reader := fake.NewClientBuilder().WithObjects(pod).Build()
	for name, c := range map[string]struct {
		flags       options
		image, role string
		failure     string
	}{
		"the pod's own":    {options{podName: "manager-0"}, "mirror.example/sandbox:1", "my-sampan-runner-2", ""},
		"flags win":        {withRunner(options{podName: "manager-0"}, "flag:1", "flag-role"), "flag:1", "flag-role", ""},
		"one of the flags": {withRunner(options{podName: "manager-0"}, "flag:1", ""), "flag:1", "my-sampan-runner-2", ""},
		"outside of a pod": {withRunner(options{}, "flag:1", ""), "flag:1", "", ""},
		"no such pod":      {options{podName: "other"}, "", "", `own Pod other, which POD_NAME names`},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.flags
			o.operatorNamespace = "agents"
			err := o.fromPod(t.Context(), reader)
			if (err == nil) != (c.failure == "") || err != nil && !strings.Contains(err.Error(), c.failure) {
				t.Fatalf("the error is %v, want %q", err, c.failure)
			}
			if o.sandbox.RunnerImage != c.image || o.sandbox.RunnerRole != c.role {
				t.Errorf("image %q, role %q; want %q, %q", o.sandbox.RunnerImage, o.sandbox.RunnerRole, c.image, c.role)
			}
		})
	}
}

func withRunner(o options, image, role string) options {
	o.sandbox.RunnerImage, o.sandbox.RunnerRole = image, role
	return o
}

func TestFromPodWithoutRunner(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "manager-0"}}
	o := options{podName: "manager-0", operatorNamespace: "agents"}
	err := o.fromPod(t.Context(), fake.NewClientBuilder().WithObjects(pod).Build())
	if err == nil || !strings.Contains(err.Error(), "set --runner-image") {
		t.Errorf("the error is %v", err)
	}
}
