package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// asManager writes a kubeconfig of the manager's own service account.
func asManager(t *testing.T, api *cluster.Cluster) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := api.Kubeconfig(t.Context(), path, "sampan-system", "sampan-controller-manager")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// What the tests of the controllers leave out: the rights of config/rbac, the
// manager's caches, which select, its watches and its timers.
func TestTheManagerRunsWithItsRights(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	api, err := cluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"sampan-system", "work"} {
		create(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, file := range []string{"service_account", "role", "role_binding", "runner_role"} {
		if err := api.Apply(t.Context(), "config/rbac/"+file+".yaml"); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBECONFIG", asManager(t, api))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	o := &options{metricsAddr: freeAddress(t), leaderElect: true, probeAddr: "0", operatorNamespace: "sampan-system", workers: 2, qps: 100, userNamespaces: "auto"}
	o.sandbox.RunnerImage = "runner:test"
	go func() { ended <- run(ctx, o) }()
	live(t, api)
	checkMetrics(t, api, o.metricsAddr)
	checkPolicyWatch(t, api)
	holder := checkLeader(t, api)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the manager ended with %v", err)
	}
	if name := holder(); name != "" {
		t.Errorf("the lease is still that of %s: the next manager waits for nothing", name)
	}
}

func TestDNSFlag(t *testing.T) {
	var o options
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.bind(fs)
	if err := fs.Parse([]string{"--dns-cidrs=192.0.2.7/24, fd00::53/128", "--dns-cidrs", "198.51.100.1/32"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(o.sandbox.DNS); got != "[192.0.2.0/24 fd00::53/128 198.51.100.1/32]" {
		t.Errorf("the resolvers are %s", got)
	}
	if err := fs.Parse([]string{"--dns-cidrs=192.0.2.7"}); err == nil {
		t.Error("an address that is no CIDR is taken")
	}
}

func TestUserNamespacesFlag(t *testing.T) {
	for value, ok := range map[string]bool{"off": true, "on": true, "auto": true, "true": false, "": false} {
		o := options{operatorNamespace: "a", userNamespaces: value}
		o.sandbox.RunnerImage = "runner:test"
		if err := o.complete(); (err == nil) != ok {
			t.Errorf("--user-namespaces=%s: %v", value, err)
		}
	}
}

func create(t *testing.T, api *cluster.Cluster, objs ...client.Object) {
	t.Helper()
	for _, obj := range objs {
		if err := api.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// live is the life of a Sandbox that needs all that a Sandbox can need.
func live(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	there := func(obj client.Object, name string) bool {
		return api.Client.Get(t.Context(), types.NamespacedName{Namespace: "work", Name: name}, obj) == nil
	}
	sb := objects.MakeSandbox("box").Namespace("work").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Network.Egress = v1alpha1.EgressRestricted
		sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	}).Obj()
	create(t, api, objects.MakeRegistry("work", objects.RegistryDocument), sb)
	await(t, "making the pod", func() bool { return there(&corev1.Pod{}, "box") })

	// Of a pod that runs no timer asks, so that what follows is the watches' work.
	var pod corev1.Pod
	if !there(&pod, "box") {
		t.Fatal("the pod is gone")
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := api.Client.Status().Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	await(t, "seeing the pod run", func() bool {
		return there(sb, "box") && meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionReady)
	})

	const name = "sampan-sandbox-box"
	var policy, again networkingv1.NetworkPolicy
	if !there(&policy, name) || !there(&corev1.PersistentVolumeClaim{}, "box") || !there(&again, "sampan-sandboxes") {
		t.Fatal("the pod is there before what it needs")
	}
	if err := api.Client.Delete(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	await(t, "putting the policy back", func() bool { return there(&again, name) && again.UID != policy.UID })
	if !there(&policy, "sampan-sandboxes") {
		t.Fatal("the namespace's policy is gone")
	}
	if err := api.Client.Delete(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	await(t, "putting the namespace's policy back", func() bool { return there(&again, "sampan-sandboxes") && again.UID != policy.UID })

	var slice discoveryv1.EndpointSlice
	if err := api.Client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "kubernetes"}, &slice); err != nil {
		t.Fatal(err)
	}
	before := slice.DeepCopy()
	slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"192.0.2.77"}})
	if err := api.Client.Patch(t.Context(), &slice, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	await(t, "following the API server", func() bool {
		return there(&again, name) && strings.Contains(again.Spec.String(), "192.0.2.77/32")
	})

	if err := api.Client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); err != nil {
		t.Fatal(err)
	}
	old := sb.DeepCopy()
	sb.Spec.TTLSeconds = 2
	if err := api.Client.Patch(t.Context(), sb, client.MergeFrom(old)); err != nil {
		t.Fatal(err)
	}
	await(t, "deleting the Sandbox after its TTL", func() bool {
		return !there(&v1alpha1.Sandbox{}, "box") && !there(&corev1.Pod{}, "box")
	})
}
