package sandbox

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func nodeOf(name, kernel string, userNamespaces *bool) client.Object {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.NodeInfo.KernelVersion = kernel
	n.Status.RuntimeHandlers = []corev1.NodeRuntimeHandler{
		{Name: "runsc"}, {Features: &corev1.NodeRuntimeHandlerFeatures{UserNamespaces: userNamespaces}},
	}
	return n
}

func TestUserNamespaces(t *testing.T) {
	good := nodeOf("good", "6.18.44-generic", new(true))
	silent := nodeOf("silent", "6.8.0", new(true))
	silent.(*corev1.Node).Status.RuntimeHandlers = nil
	for name, tc := range map[string]struct {
		mode  UserNamespaceMode
		class string
		nodes []client.Object
		want  bool
	}{
		"off":                              {UserNamespacesOff, "", []client.Object{good}, false},
		"on":                               {UserNamespacesOn, "", nil, true},
		"every node can":                   {UserNamespacesAuto, "", []client.Object{good, nodeOf("too", "6.3", new(true))}, true},
		"no node":                          {UserNamespacesAuto, "", nil, false},
		"a runtime that cannot":            {UserNamespacesAuto, "", []client.Object{good, nodeOf("old", "6.8.0", new(false))}, false},
		"a runtime that does not say":      {UserNamespacesAuto, "", []client.Object{good, nodeOf("old", "6.8.0", nil)}, false},
		"a kubelet that does not say":      {UserNamespacesAuto, "", []client.Object{good, silent}, false},
		"an old kernel":                    {UserNamespacesAuto, "", []client.Object{good, nodeOf("old", "6.2.16-3-pve", new(true))}, false},
		"a kernel that cannot be read":     {UserNamespacesAuto, "", []client.Object{good, nodeOf("odd", "unknown", new(true))}, false},
		"a runtime class, as it may be":    {UserNamespacesAuto, "gvisor", []client.Object{good}, false},
		"a runtime class, as it was asked": {UserNamespacesOn, "gvisor", []client.Object{good}, true},
	} {
		t.Run(name, func(t *testing.T) {
			u := &UserNamespaces{Mode: tc.mode, Nodes: fake.NewClientBuilder().WithObjects(tc.nodes...).Build(), Clock: clocktesting.NewFakePassiveClock(time.Unix(1, 0))}
			got, err := u.For(t.Context(), tc.class, false)
			if err != nil || got != tc.want {
				t.Errorf("got %t (%v), want %t", got, err, tc.want)
			}
			got, err = u.For(t.Context(), tc.class, true)
			if want := tc.mode == UserNamespacesOn; err != nil || got != want {
				t.Errorf("with a claim got %t (%v), want %t", got, err, want)
			}
		})
	}
}

// TestNodesAreAskedNowAndThen: not for each pod, and a node that comes counts.
func TestNodesAreAskedNowAndThen(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1, 0))
	c := fake.NewClientBuilder().WithObjects(nodeOf("good", "6.8.0", new(true))).Build()
	u := &UserNamespaces{Mode: UserNamespacesAuto, Nodes: c, Clock: clock}
	ask := func(want bool) {
		t.Helper()
		if got, err := u.For(t.Context(), "", false); err != nil || got != want {
			t.Errorf("got %t (%v), want %t", got, err, want)
		}
	}
	ask(true)
	if err := c.Create(t.Context(), nodeOf("old", "5.15", new(true))); err != nil {
		t.Fatal(err)
	}
	ask(true)
	clock.SetTime(time.Unix(1, 0).Add(nodesInterval))
	ask(false)
}
