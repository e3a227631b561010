package inpod

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
)

// A task that goes on from another needs no prompt, and a record: without one it ends, and
// does not begin with nothing.
func TestWithoutARecordNothingIsGoneOnFrom(t *testing.T) {
	t.Setenv(podapi.EnvRecordURL, "")
	at := recordedTask.DeepCopy()
	at.Spec.From.TaskRef.Name = "source"
	used, err := priorUsageOf(v1alpha1.TaskProgress{})
	if err != nil {
		t.Fatal(err)
	}
	res, reason := (&Runner{env: runner.TakeSecrets(&models.Registry{})}).drive(t.Context(), nil, at, newReporter(&api{}, at, "t-1", used), newAllowance(), func(error) {})
	if reason != v1alpha1.ReasonCheckpointNotFound || !strings.Contains(res.Message, "keeps no record") {
		t.Errorf("it ends with %s: %s", reason, res.Message)
	}
}
