package inpod

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
	"github.com/sampan-dev/sampan/internal/transcript"
)

var recordedTask = &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "t", Namespace: "ns", UID: "u"}}

// What is mounted in the home is no part of it, with the folders that lead there, which
// the runtime makes.
func TestFoldersOfASandbox(t *testing.T) {
	sb := &v1alpha1.Sandbox{}
	sb.Spec.Template.Workspace.SizeLimit = new(resource.MustParse("20Gi"))
	for _, path := range []string{"/home/agent/.ssh", "/data", "/home/agent/.m2/repository/x", "/home/agentx/y"} {
		sb.Spec.Template.Volumes = append(sb.Spec.Template.Volumes, v1alpha1.Volume{MountPath: path})
	}
	want := recorded.Folders{Workspace: "/workspace", Limit: 20 << 30, Home: "/home/agent", HomeExcept: []string{".ssh", ".m2"}}
	if diff := cmp.Diff(want, foldersOf(sb)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestASecondPodGoesOnWithTheRecord(t *testing.T) {
	writers := recorders.Memory(t)
	used, err := priorUsageOf(v1alpha1.TaskProgress{})
	if err != nil {
		t.Fatal(err)
	}
	rep := newReporter(&api{}, recordedTask, "t-1", used)
	first, err := recorded.Resume(t.Context(), writers(1), rep.listener(), transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Past.Events() > 0 {
		t.Fatalf("a new record has %+v", first)
	}
	cost := decimal.RequireFromString("0.5")
	for i, d := range []transcript.Data{
		&transcript.RunStarted{Task: "t", SystemPrompt: "s", Prompt: "p"},
		&transcript.Response{Model: "m", Message: llm.Message{Role: llm.RoleAssistant, Content: "x"}, Kept: true, Usage: llm.Usage{InputTokens: 7}, CostUSD: cost},
	} {
		if _, err := first.Writer.Append(i, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Writer.Sync(); err != nil {
		t.Fatal(err)
	}
	// The status has what the record has, and what an attempt before that used.
	used.turns, used.input, used.cost = 3, 10, cost.Add(cost)
	rep = newReporter(&api{}, recordedTask, "t-2", used)
	second, err := recorded.Resume(t.Context(), writers(2), rep.listener(), transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Past.Events() != 2 || second.Standing.Progress.Turns != 1 {
		t.Errorf("the second pod finds %d events and %d turns", second.Past.Events(), second.Standing.Progress.Turns)
	}
	status := rep.current()
	if *status.Progress.Turns != 3 || *status.Progress.Usage.InputTokens != 10 || status.Progress.Usage.CostUSD != "1" {
		t.Errorf("what was used is counted as %d turns, %d tokens, %s USD", *status.Progress.Turns, *status.Progress.Usage.InputTokens, status.Progress.Usage.CostUSD)
	}
	want := "/apis/subresources.sampan.dev/v1alpha1/namespaces/ns/agenttasks/t/transcript"
	if status.Transcript.URI != want || *status.Transcript.Events != 2 {
		t.Errorf("status.transcript is %+v", status.Transcript)
	}
	// The first pod is still there, somewhere.
	if _, err := first.Writer.Append(1, &transcript.Notice{Text: "late"}); err != nil {
		t.Fatal(err)
	}
	if err := first.Writer.Sync(); err == nil {
		if _, err := second.Writer.Append(1, &transcript.RunResumed{}); err != nil {
			t.Fatal(err)
		}
		if err := second.Writer.Sync(); !errors.Is(err, record.ErrFenced) {
			t.Error("both pods write to the record")
		}
	}
}
