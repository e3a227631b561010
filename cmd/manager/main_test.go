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
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// The operator is installed under other names than its own, by kustomize's own means.
const (
	operatorNamespace = "agents"
	prefix            = "my-"
	overlay           = `namespace: agents
namePrefix: my-
images:
- {name: ghcr.io/sampan-dev/manager, newName: registry.example.com:5000/manager, newTag: v1}
- {name: ghcr.io/sampan-dev/sandbox, newName: registry.example.com:5000/sandbox, newTag: v2}`
)

// install installs the operator but for its Deployment, which nothing runs here, and
// gives the pod that it describes.
func install(t *testing.T, api *cluster.Cluster) *corev1.Pod {
	t.Helper()
	if err := api.Install(t.Context(), overlay, append(cluster.RBAC, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")...); err != nil {
		t.Fatal(err)
	}
	objs, err := cluster.Render(t.Context(), overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		if obj.GetKind() != "Deployment" || obj.GetName() != prefix+managerAccount {
			continue
		}
		var d appsv1.Deployment
		if err := apiruntime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &d); err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: d.Spec.Template.ObjectMeta, Spec: d.Spec.Template.Spec}
		pod.Namespace, pod.Name = d.Namespace, "manager-0"
		create(t, api, pod)
		return pod
	}
	t.Fatal("there is no Deployment")
	return nil
}

// optionsOf gives the options that the manager has in a pod.
func optionsOf(t *testing.T, pod *corev1.Pod) *options {
	t.Helper()
	t.Setenv("POD_NAME", pod.Name)
	t.Setenv("POD_NAMESPACE", pod.Namespace)
	var o options
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	o.bind(fs)
	if err := fs.Parse(pod.Spec.Containers[0].Args); err != nil {
		t.Fatal(err)
	}
	o.metricsAddr, o.probeAddr = freeAddress(t), "0"
	return &o
}

// asManager writes a kubeconfig of the manager's own service account.
func asManager(t *testing.T, api *cluster.Cluster) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := api.Kubeconfig(t.Context(), path, operatorNamespace, prefix+managerAccount)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// await waits until something is done; details say what is still missing.
func await(t *testing.T, what string, done func() bool, details ...*string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		for _, d := range details {
			what += ": " + *d
		}
		t.Fatalf("%s: %v", what, err)
	}
}

// What the tests of the controllers leave out: the rights of config/rbac, under
// names that an overlay gives, the manager's caches, which select, its watches and
// its timers.
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
	create(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "work"}})
	o := optionsOf(t, install(t, api))
	create(t, api, &corev1.ConfigMap{ // as the server of the record does
		ObjectMeta: metav1.ObjectMeta{Name: recording.ConfigMapName, Namespace: operatorNamespace},
		Data:       map[string]string{recording.KeyURL: "https://sampan-record.x.svc:8444", recording.KeyCA: "CA"},
	})
	t.Setenv("KUBECONFIG", asManager(t, api))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()
	live(t, api)
	checkPools(t, api)
	checkProbes(t, api)
	checkBudgets(t, api)
	checkMetrics(t, api, o.metricsAddr)
	checkImpostor(t, api)
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

// checkNames: what is made in other namespaces is made with the names and the images
// of this install.
func checkNames(t *testing.T, api *cluster.Cluster, pod *corev1.Pod) {
	t.Helper()
	for _, c := range pod.Spec.Containers {
		if c.Image != "registry.example.com:5000/sandbox:v2" {
			t.Errorf("container %s runs %s", c.Name, c.Image)
		}
	}
	var binding rbacv1.RoleBinding
	if err := api.Client.Get(t.Context(), types.NamespacedName{Namespace: "work", Name: prefix + podspec.RunnerName}, &binding); err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := api.Client.Get(t.Context(), types.NamespacedName{Name: binding.RoleRef.Name}, &role); err != nil {
		t.Errorf("runners are bound to a role that is not there: %v", err)
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
	await(t, "making the pod", func() bool { return there(&corev1.Pod{}, "box-1") })

	// Of a pod that runs no timer asks, so that what follows is the watches' work.
	var pod corev1.Pod
	if !there(&pod, "box-1") {
		t.Fatal("the pod is gone")
	}
	checkNames(t, api, &pod)
	pod.Status.Phase = corev1.PodRunning
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
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
	await(t, "deleting the Sandbox after its TTL", func() bool { return !there(&v1alpha1.Sandbox{}, "box") })
}
