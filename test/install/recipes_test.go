package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// blocks are the shell blocks under a heading of docs/operations.md.
func blocks(t *testing.T, heading string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(data), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var out []string
	for _, block := range strings.Split(section, "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		out = append(out, block)
	}
	return out
}

// shell runs a script with the kubectl of the API server's binaries.
func shell(t *testing.T, kubeconfig, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
	path := filepath.Dir(cluster.Kubectl()) + string(os.PathListSeparator) + os.Getenv("PATH")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+path)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// start starts an API server, and writes a kubeconfig for it.
func start(t *testing.T) (api *cluster.Cluster, kubeconfig string) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	api, err := cluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.AdminKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	return api, kubeconfig
}

// What docs/operations.md says of waiting holds at either end.
func TestWaitRecipes(t *testing.T) {
	api, kubeconfig := start(t)
	recipes := blocks(t, "Waiting for a task")
	if len(recipes) != 2 {
		t.Fatalf("there are %d recipes", len(recipes))
	}
	for _, c := range []struct {
		status metav1.ConditionStatus
		reason string
	}{{metav1.ConditionTrue, "Completed"}, {metav1.ConditionFalse, "MaxTurns"}} {
		task := objects.MakeTask("fix-test").Namespace("default").Obj()
		if err := api.Client.Create(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		set := func(status metav1.ConditionStatus, reason string) {
			meta.SetStatusCondition(&task.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason, Message: "m"})
			if status != metav1.ConditionUnknown {
				task.Status.CompletionTime = &metav1.Time{Time: time.Unix(1, 0)}
			}
			if err := api.Client.Status().Update(t.Context(), task); err != nil {
				t.Fatal(err)
			}
		}
		set(metav1.ConditionUnknown, "Running")
		for _, recipe := range recipes {
			if out, err := shell(t, kubeconfig, strings.ReplaceAll(recipe, "=30m", "=100ms")); err == nil {
				t.Errorf("it does not wait: %s", out)
			}
		}
		set(c.status, c.reason)
		out, err := shell(t, kubeconfig, recipes[0])
		if want := string(c.status) + " " + c.reason + "\n"; err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("the first recipe says %q, %v; want %q", out, err, want)
		}
		if out, err := shell(t, kubeconfig, recipes[1]); (err == nil) != (c.status == metav1.ConditionTrue) {
			t.Errorf("the second recipe ends with %v after %s: %s", err, c.reason, out)
		}
		if err := api.Client.Delete(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
}

func await(ctx context.Context, done func() (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return done() })
}
