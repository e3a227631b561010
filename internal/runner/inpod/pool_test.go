package inpod

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// pooled is a Sandbox that waits in a pool, or, with a task, was claimed by it.
func pooled(version, kind, owner string) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Sandbox"},
		ObjectMeta: metav1.ObjectMeta{Name: "spare-1", Namespace: "ns", ResourceVersion: version, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: owner, UID: "1", Controller: new(true)},
		}},
	}
}

// TestAPodOfAPoolServesTheTaskThatClaimsIt: the runner waits while its Sandbox is a pool's,
// and has the first attempt of the task that has made the Sandbox its own.
func TestAPodOfAPoolServesTheTaskThatClaimsIt(t *testing.T) {
	task := &v1alpha1.AgentTask{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask"},
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "ns", UID: "1", ResourceVersion: "1"},
		Status:     v1alpha1.AgentTaskStatus{Attempt: 1, SandboxName: "spare-1", PodName: "spare-1-1"},
	}
	changes := make(chan *v1alpha1.Sandbox)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := newWatcher(ctx, &Runner{name: "spare-1-1", sandbox: "spare-1", api: apiServer(t, pooled("1", "SandboxPool", "spare"), task, changes)})
	sb, err := w.first(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ref := w.pod.holder(sb); ref.Name != "" {
		t.Fatalf("before it is claimed it works for %+v", ref)
	}
	changes <- pooled("2", "AgentTask", "x")
	if sb, err = w.claimed(ctx, v1alpha1.TaskReference{}); err != nil {
		t.Fatal(err)
	}
	ref := w.pod.holder(sb)
	if want := (v1alpha1.TaskReference{Name: "x", UID: "1", Attempt: 1}); ref != want {
		t.Errorf("it works for %+v, want %+v", ref, want)
	}
	_, fence := context.WithCancelCause(ctx)
	defer fence(nil)
	if at, err := w.task(ctx, ref, fence, func(*v1alpha1.AgentTask) {}); err != nil || at.Name != "x" {
		t.Errorf("the task is %v, %v", at, err)
	}
}

// TestNobodyComesIntoAPool: what a task gets is unused.
func TestNobodyComesIntoAPool(t *testing.T) {
	p := &Runner{guests: newGuests()}
	w := &watcher{pod: p, latest: pooled("1", "SandboxPool", "spare")}
	err := p.welcome(t.Context(), w)
	if !errors.Is(err, convert.ErrNotReady) || !strings.Contains(err.Error(), "SandboxPool spare") {
		t.Errorf("a guest is told %v", err)
	}
}

// TestWhatATaskBringsIntoAPool: its variables, below those of a call, and its repository,
// which gets the credentials of the template only where it is the template's.
func TestWhatATaskBringsIntoAPool(t *testing.T) {
	for name, value := range map[string]string{podapi.EnvGitUsername: "reader", podapi.EnvGitPassword: "read"} {
		t.Setenv(name, value)
	}
	l := lodge(t)
	p := &Runner{exec: l.exec, guests: l.guests, env: runner.TakeSecrets(&models.Registry{})}
	at := recordedTask.DeepCopy()
	at.Spec.Sandbox.PoolRef = v1alpha1.PoolReference{Name: "spare", Env: []v1alpha1.EnvVar{{Name: "A", Value: new("1")}, {Name: "B", Value: new("2")}, {Name: "C"}}}
	res, err := p.proving(at).Exec(t.Context(), tool.ExecRequest{Shell: `echo "$A-$B-${C-unset}"`, Env: map[string]string{"B": "3"}})
	if err != nil || strings.TrimSpace(string(res.Stdout)) != "1-3-" {
		t.Errorf("a tool has %+v, %v", res, err)
	}

	sb := &v1alpha1.Sandbox{}
	sb.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "own"}}
	for url, want := range map[string]string{"": "a.git read", "https://git.example/a.git": "a.git read", "https://git.example/b.git": "b.git "} {
		at.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: url}
		repo := p.repository(sb, newReporter(&api{}, at, "t-1", priorUsage{}))
		if got := strings.TrimPrefix(repo.URL, "https://git.example/") + " " + repo.Password; got != want {
			t.Errorf("a task with %q checks out %s, want %s", url, got, want)
		}
	}
	at.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/b.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "other"}}
	if repo := p.repository(sb, newReporter(&api{}, at, "t-1", priorUsage{})); repo.Password != "" {
		t.Error("another Secret's name gets what the pod has")
	}
}
