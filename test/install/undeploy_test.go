package install

import (
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// Where no operator is left to take off the finalizers of earlier versions, `make
// undeploy` does, and a `kubectl delete` that waits for the CRDs comes to its end.
// Finalizers of others stay theirs.
func TestUndeployWithoutOperator(t *testing.T) {
	api, kubeconfig := start(t)
	const foreign = "example.com/hold"
	held := objects.MakeTask("held").Namespace("work").Obj()
	task, sb := objects.MakeTask("mine").Namespace("default").Obj(), objects.MakeSandbox("box").Namespace("work").Obj()
	held.Finalizers = []string{"sampan.dev/agenttask", foreign}
	task.Finalizers, sb.Finalizers = []string{"sampan.dev/agenttask"}, []string{"sampan.dev/sandbox"}
	for _, obj := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "work"}}, held, task, sb} {
		if err := api.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}

	waiting := make(chan error, 1)
	go func() {
		_, err := shell(t, kubeconfig, "exec kubectl delete --ignore-not-found -f "+filepath.Join(cluster.Root(), "dist", "install.yaml"))
		waiting <- err
	}()
	undeploy := "UNDEPLOY_TIMEOUT=1s CLUSTER=current timeout 90 " + filepath.Join(cluster.Root(), "hack", "cluster.sh") + " undeploy"
	freed := make(chan error, 1)
	go func() { freed <- letGo(t, api, held, foreign) }()
	if out, err := shell(t, kubeconfig, undeploy); err != nil {
		t.Errorf("undeploy: %v\n%s", err, out)
	}
	if err := <-freed; err != nil {
		t.Error(err)
	}
	select {
	case err := <-waiting:
		if err != nil {
			t.Errorf("kubectl delete: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("kubectl delete still waits")
	}
}

// letGo waits until a task has none but the foreign finalizer, and plays whose it is.
func letGo(t *testing.T, api *cluster.Cluster, task *v1alpha1.AgentTask, foreign string) error {
	return await(t.Context(), func() (bool, error) {
		if err := api.Client.Get(t.Context(), client.ObjectKeyFromObject(task), task); err != nil {
			return apierrors.IsNotFound(err), err
		}
		if len(task.Finalizers) != 1 || task.Finalizers[0] != foreign {
			return false, nil
		}
		before := task.DeepCopy()
		task.Finalizers = nil
		return true, api.Client.Patch(t.Context(), task, client.MergeFrom(before))
	})
}
