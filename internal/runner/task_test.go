package runner

import (
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
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

// What a task leaves out is the API's default, which the harness by itself has too.
func TestTaskOfDefaults(t *testing.T) {
	at := &v1alpha1.AgentTask{Spec: v1alpha1.AgentTaskSpec{Verify: []v1alpha1.Verification{{Name: "v", Command: "true"}}}}
	task, err := TaskOf(at, "prompt")
	if err != nil {
		t.Fatal(err)
	}
	l, inSeconds := task.Limits, func(n int32) time.Duration { return time.Duration(n) * time.Second }
	for name, c := range map[string]struct{ got, api, harness any }{
		"turns":          {l.Turns, int(v1alpha1.DefaultTurns), harness.DefaultTurns},
		"activeSeconds":  {l.Active, inSeconds(v1alpha1.DefaultActiveSeconds), time.Hour}, // the harness has no limit on time
		"toolSeconds":    {l.Tool, inSeconds(v1alpha1.DefaultToolSeconds), harness.DefaultToolTimeout},
		"timeoutSeconds": {task.Verify[0].Timeout, inSeconds(v1alpha1.DefaultVerifySeconds), harness.DefaultVerifyTimeout},
	} {
		if c.got != c.api {
			t.Errorf("%s is %v, the API's default %v", name, c.got, c.api)
		}
		if c.got != c.harness {
			t.Errorf("%s is %v, the harness's default %v", name, c.got, c.harness)
		}
	}
}
