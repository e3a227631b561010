package apiserver

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/podspec"
)

func TestRunnersHaveTheAccountOfTheirPods(t *testing.T) {
	if runnerAccount != podspec.RunnerName {
		t.Errorf("runners are let in as %s, and run as %s", runnerAccount, podspec.RunnerName)
	}
}
