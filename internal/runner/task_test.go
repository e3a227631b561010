package runner

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// 0 is no limit to the harness, and the opposite to who writes it.
func TestTaskOfRefusesNoMoney(t *testing.T) {
	at := &v1alpha1.AgentTask{}
	at.Spec.Limits.CostUSD = "0.0"
	if _, err := TaskOf(at, "x"); err == nil || !strings.Contains(err.Error(), `spec.limits.costUSD: "0.0" must be more than 0`) {
		t.Errorf("error is %v", err)
	}
	at.Spec.Limits.CostUSD = ""
	if task, err := TaskOf(at, "x"); err != nil || !task.Limits.CostUSD.IsZero() {
		t.Errorf("left out it is %s, %v; want no limit", task.Limits.CostUSD, err)
	}
}
