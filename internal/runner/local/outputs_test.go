package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/testing/gitserver"
)

// TestPatchOfACheckout: a run that has checked the repository out makes a patch, and
// leaves nothing else of the repository behind.
func TestPatchOfACheckout(t *testing.T) {
	server := gitserver.New(t, map[string]string{"file": "one\n"})
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(podapi.EnvGitUsername, gitserver.User)
	t.Setenv(podapi.EnvGitPassword, gitserver.Password)
	var told []v1alpha1.OutputStatus
	l := Runner{Workspace: filepath.Join(t.TempDir(), "ws"), OutputDir: filepath.Join(t.TempDir(), "out"), Outputs: func(o []v1alpha1.OutputStatus) { told = o }}
	at := &v1alpha1.AgentTask{}
	at.Name = "fix"
	at.Spec.Sandbox.Template.Workspace.Git.URL = server.Repo()
	at.Spec.Outputs = []v1alpha1.Output{{Name: "change", Patch: &v1alpha1.PatchOutput{}}}
	var p place
	if err := l.prepare(t.Context(), at, runner.TakeSecrets(&models.Registry{}), harness.NewReporter(nil, nil), &p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.Workspace, "file"), []byte("two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.takeOutputs(t.Context(), at, &p, harness.Result{Reason: harness.MaxTurns})
	data, err := os.ReadFile(filepath.Join(l.OutputDir, "change.patch"))
	if err != nil || !strings.Contains(string(data), "-one\n+two\n") {
		t.Errorf("the patch is %q: %v", data, err)
	}
	if len(told) != 1 || told[0].Proof != v1alpha1.OutputUnproven || told[0].Message != "" {
		t.Errorf("told is %+v", told)
	}
	if err := removeKept(p.repo); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
