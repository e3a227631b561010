package run

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// decided is how a trial ends whose tests have left some files and ended in some way.
func decided(t *testing.T, got *tool.ExecResult, make func(dir string) error) outcome.Outcome {
	t.Helper()
	a := &attempt{work: t.TempDir(), outcome: outcome.Outcome{Result: outcome.Failed, AgentEnd: "Completed"}}
	if err := os.Mkdir(a.logs(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := make(a.logs()); err != nil {
		t.Fatal(err)
	}
	a.decide(got)
	return a.outcome
}

func exited(code int) *tool.ExecResult { return &tool.ExecResult{ExitCode: &code} }

func TestRewardDecides(t *testing.T) {
	file := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	both := func(dir string) error {
		if err := file("reward.txt", "0")(dir); err != nil {
			return err
		}
		return file("reward.json", `{"reward": 1}`)(dir)
	}
	for name, c := range map[string]struct {
		ended  *tool.ExecResult
		make   func(string) error
		reason string
		reward float64
	}{
		"text":               {exited(0), file("reward.txt", "1\n"), "", 1},
		"exit code":          {exited(1), file("reward.txt", "1"), "", 1}, // as Harbor has it: the reward alone decides
		"object":             {exited(0), file("reward.json", `{"reward": 1.0, "style": 0.2}`), "", 1},
		"only one":           {exited(0), file("reward.json", `{"score": 1}`), "", 1},
		"zero":               {exited(0), file("reward.txt", "0"), outcome.WrongResult, 0},
		"part":               {exited(0), file("reward.txt", "0.99"), outcome.WrongResult, 0.99},
		"text before object": {exited(0), both, outcome.WrongResult, 0},
		"none":               {exited(0), func(string) error { return nil }, outcome.NoReward, 0},
		"words":              {exited(0), file("reward.txt", "yes"), outcome.BadReward, 0},
		"not a number":       {exited(0), file("reward.txt", "NaN"), outcome.BadReward, 0},
		"infinite":           {exited(0), file("reward.txt", "Inf"), outcome.BadReward, 0},
		"several":            {exited(0), file("reward.json", `{"a": 1, "b": 1}`), outcome.BadReward, 0},
		"list":               {exited(0), file("reward.json", `[1]`), outcome.BadReward, 0},
		"number as text":     {exited(0), file("reward.json", `{"reward": "1"}`), outcome.BadReward, 0},
		"null":               {exited(0), file("reward.json", `{"reward": null}`), outcome.BadReward, 0},
		"text in an object":  {exited(0), file("reward.json", `{"reward": "one"}`), outcome.BadReward, 0},
		"large":              {exited(0), file("reward.txt", strings.Repeat(" ", maxRewardBytes)+"1"), outcome.BadReward, 0},
		"killed":             {&tool.ExecResult{Signal: "SIGKILL"}, file("reward.txt", "1"), outcome.VerifierKilled, 0},
		"timed out":          {&tool.ExecResult{TimedOut: true, Signal: "SIGKILL"}, file("reward.txt", "1"), outcome.VerifierTimeout, 0},
		"link": {exited(0), func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "planted"), []byte("1"), 0o600); err != nil {
				return err
			}
			return os.Symlink("planted", filepath.Join(dir, "reward.txt"))
		}, outcome.BadReward, 0},
		"pipe":   {exited(0), func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "reward.txt"), 0o600) }, outcome.BadReward, 0},
		"folder": {exited(0), func(dir string) error { return os.Mkdir(filepath.Join(dir, "reward.txt"), 0o700) }, outcome.BadReward, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := decided(t, c.ended, c.make)
			passed := c.reason == ""
			if o.Reason != c.reason || (o.Result == outcome.Passed) != passed || o.Reward() != c.reward {
				t.Errorf("%s: %s, %v", o.Result, o.Reason, o.Rewards)
			}
		})
	}
}
