package apiserver_test

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestWhoKeepsAWorkspace: the runner of the pod that a named Sandbox has now, and nobody else.
func TestWhoKeepsAWorkspace(t *testing.T) {
	s := serve(t, inMemory)
	task, podUID := s.tenant("a")
	s.tenant("b")
	sb := s.box("a", podUID)
	at := func(name, uid string) string { return s.runners + wire.SandboxPath("a", name, uid) }
	box := at("box", string(sb.UID))
	own := s.token("a", "sampan-runner", "fix-1", wire.Audience)
	checkpoint := `{"turn":1,"events":1,"logDigest":"","time":"2031-01-01T00:00:00Z"}`
	s.want(http.StatusNotFound, "GET", box+wire.LatestCheckpoint, own, "")
	s.want(http.StatusNoContent, "POST", box+"/log?first=1", own, "{}\n")
	s.want(http.StatusNoContent, "PUT", box+wire.CheckpointPath(1), own, checkpoint)
	if got := s.want(http.StatusOK, "GET", box+wire.LatestCheckpoint, own, ""); !strings.Contains(got, podUID) {
		t.Errorf("the checkpoint does not say who has written it: %s", got)
	}
	for what, token := range map[string]string{
		"another pod": s.token("a", "sampan-runner", "other-1", wire.Audience), "no pod": s.token("a", "sampan-runner", "", wire.Audience),
		"a person": s.token("a", "person", "", wire.Audience), "another namespace": s.token("b", "sampan-runner", "fix-1", wire.Audience),
		"another audience": s.token("a", "sampan-runner", "fix-1"), "nobody": "",
	} {
		for _, r := range [][2]string{{"GET", wire.LatestCheckpoint}, {"PUT", wire.CheckpointPath(2)}, {"POST", "/log?first=2"}, {"GET", wire.Chunks + "x"}} {
			if code, answer := s.ask(r[0], box+r[1], token, checkpoint); code != 401 && code != 403 && code != 409 {
				t.Errorf("%s: %s %s: got %d: %s", what, r[0], r[1], code, answer)
			}
		}
	}
	s.want(http.StatusConflict, "GET", at("box", "5f1c4e1a-0000-4000-8000-00000000000f")+wire.LatestCheckpoint, own, "")
	s.want(http.StatusConflict, "GET", at("none", string(sb.UID))+wire.LatestCheckpoint, own, "")

	// What is a task's or on a volume is not kept so, nor what waits in a pool.
	for name, edit := range map[string]func(*v1alpha1.Sandbox){
		"own": func(sb *v1alpha1.Sandbox) {
			sb.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(task, v1alpha1.GroupVersion.WithKind("AgentTask"))}
		},
		"spare": func(sb *v1alpha1.Sandbox) {
			sb.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(task, v1alpha1.GroupVersion.WithKind("SandboxPool"))}
		},
		"volume": func(sb *v1alpha1.Sandbox) {
			sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
		},
	} {
		other := objects.MakeSandbox(name).Namespace("a").With(edit).Obj()
		s.create(other)
		other.Status.PodName, other.Status.PodUID = "fix-1", podUID
		if err := s.c.Client.Status().Update(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		s.want(http.StatusForbidden, "POST", at(name, string(other.UID))+"/log?first=1", own, "{}\n")
	}

	// A Sandbox has no outputs, and what it keeps goes to its runner alone: a task of its
	// name does not make it that task's.
	if code, _ := s.ask("GET", box+wire.Outputs, own, ""); code != 400 && code != 404 {
		t.Errorf("the outputs of a Sandbox: %d", code)
	}
	s.may("a", "agenttasks/checkpoints", "get")
	person := s.token("a", "person", "")
	path := strings.Replace(s.in("a", "checkpoints?uid="+string(sb.UID)), "/agenttasks/fix/", "/agenttasks/box/", 1)
	s.want(http.StatusNotFound, "GET", path, person, "")
}
