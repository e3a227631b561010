package install

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/agenttask"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/sandbox"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// `kubectl delete -f` deletes the operator together with the CRDs, so nobody is left to
// let any object go.
func TestDeleteWithoutOperator(t *testing.T) {
	api, kubeconfig := start(t)
	kept := objects.MakeSandbox("kept").Namespace("default").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Network.Egress, sb.Spec.Template.Workspace.Persistence = v1alpha1.EgressRestricted, v1alpha1.WorkspacePersistent
	}).Obj()
	want := map[string]string{
		"starts": v1alpha1.ReasonStarting, "suspended": v1alpha1.ReasonSuspended, "cancelled": v1alpha1.ReasonCancelled,
		"holds": v1alpha1.ReasonStarting, "queued": v1alpha1.ReasonSandboxBusy, "lacks": v1alpha1.ReasonSandboxNotFound,
	}
	for _, obj := range []client.Object{
		objects.MakeRegistry("default", objects.RegistryDocument), kept,
		objects.MakeTask("starts").Namespace("default").Obj(),
		objects.MakeTask("suspended").Namespace("default").State(v1alpha1.TaskSuspended).Obj(),
		objects.MakeTask("cancelled").Namespace("default").State(v1alpha1.TaskCancelled).Obj(),
		objects.MakeTask("holds").Namespace("default").In("kept").Obj(),
		objects.MakeTask("queued").Namespace("default").In("kept").Obj(),
		objects.MakeTask("lacks").Namespace("default").In("nowhere").Obj(),
	} {
		if err := api.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	operate(t, api, func() (bool, error) {
		var tasks v1alpha1.AgentTaskList
		if err := api.Client.List(t.Context(), &tasks); err != nil {
			return false, err
		}
		for _, task := range tasks.Items {
			if c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded); c == nil || c.Reason != want[task.Name] {
				return false, nil
			}
		}
		return true, nil
	})

	script := "exec timeout 90 kubectl delete --ignore-not-found -f " + filepath.Join(cluster.Root(), "dist", "install.yaml")
	if out, err := shell(t, kubeconfig, script); err != nil {
		t.Fatalf("kubectl delete: %v\n%s", err, out)
	}
	if err := api.Client.List(t.Context(), &v1alpha1.SandboxList{}); err == nil {
		t.Error("there are Sandboxes still")
	}
}

// operate runs the controllers until something is done.
func operate(t *testing.T, api *cluster.Cluster, done func() (bool, error)) {
	t.Helper()
	mgr, err := ctrl.NewManager(api.Config, ctrl.Options{Scheme: api.Scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	recorder := events.NewFakeRecorder(1000)
	store := &modelregistry.Store{Reader: mgr.GetClient(), Live: mgr.GetAPIReader(), OperatorNamespace: "default", Recorder: recorder}
	policy, err := adminpolicy.Watch(mgr, "default", recorder)
	if err != nil {
		t.Fatal(err)
	}
	tasks := &agenttask.Reconciler{Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{}, Registry: store, Policy: policy, Workers: 1}
	if err := tasks.SetupWithManager(ctx, mgr); err != nil {
		t.Fatal(err)
	}
	sandboxes := &sandbox.Reconciler{Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{}, Registry: store, Policy: policy,
		Options: sandbox.Options{RunnerImage: "runner:test", SandboxImage: "sandbox:test", RunnerRole: podspec.RunnerName, Workers: 1}}
	if err := sandboxes.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	if err := await(ctx, done); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
