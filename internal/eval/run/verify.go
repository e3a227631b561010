package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-dev/sampan/internal/eval/box"
	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// maxRewardBytes bounds a reward.
const maxRewardBytes = 64 << 10

// verify runs the tests in a box that no process of the agent was ever in, and reads the
// reward when no process of the tests is left either.
func (a *attempt) verify(ctx context.Context) error {
	spec := a.spec(a.task.VerifierOffline, a.task.VerifierEnv, map[string]string{
		box.ConfineEnv: box.Confiner(), box.HiddenEnv: strings.Join(slices.Sorted(maps.Keys(a.task.VerifierEnv)), ","),
	})
	spec.Mounts = append(spec.Mounts,
		box.Mount{Source: a.task.Tests(), Target: "/tests", ReadOnly: true},
		box.Mount{Source: a.logs(), Target: "/logs/verifier"})
	var got *tool.ExecResult
	err := a.in(ctx, spec, func(ctx context.Context, b *box.Box) (err error) {
		got, err = a.exec(ctx, b, script("/tests/test.sh"), a.task.VerifierTimeout)
		return err
	})
	var lost *lostError
	if errors.As(err, &lost) {
		// The agent's code, which the tests run, may have ended their box.
		a.failed(outcome.Failed, outcome.VerifierKilled, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.dir, verifierLog), got.Stdout, 0o600); err != nil {
		return err
	}
	a.decide(got)
	return nil
}

// decide is the only way to a trial that is passed.
func (a *attempt) decide(got *tool.ExecResult) {
	switch {
	case got.TimedOut:
		a.failed(outcome.Failed, outcome.VerifierTimeout, fmt.Sprintf("the tests took longer than %s", a.task.VerifierTimeout))
		return
	case got.ExitCode == nil:
		a.failed(outcome.Failed, outcome.VerifierKilled, "the tests did not exit by themselves ("+got.Signal+"): what reward there is may not be theirs")
		return
	}
	rewards, err := readRewards(a.logs())
	var none *fs.PathError
	switch {
	case errors.As(err, &none) && errors.Is(err, fs.ErrNotExist):
		a.failed(outcome.Failed, outcome.NoReward, "the tests have written no reward.txt and no reward.json: "+text(got))
		return
	case err != nil:
		a.failed(outcome.Failed, outcome.BadReward, err.Error())
		return
	}
	a.outcome.Rewards = rewards
	if a.outcome.Reward() >= 1 {
		a.outcome.Result, a.outcome.Reason, a.outcome.Message = outcome.Passed, "", ""
		return
	}
	if a.outcome.Reason == "" {
		a.failed(outcome.Failed, outcome.WrongResult, text(got))
		if a.outcome.AgentEnd != "" && a.outcome.AgentEnd != "Completed" {
			a.outcome.Reason = a.outcome.AgentEnd
		}
	}
}

// readRewards reads reward.txt, or else reward.json, of a folder that nobody writes to any
// more. What is there may be a link, or no file: it is not followed, and not opened.
func readRewards(dir string) (map[string]float64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // only read
	data, err := readReward(root, "reward.txt")
	if err == nil {
		r, err := number("reward.txt", strings.TrimSpace(string(data)))
		return map[string]float64{"reward": r}, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err = readReward(root, "reward.json")
	if err != nil {
		return nil, err
	}
	var raw map[string]*float64
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("reward.json: want an object of numbers: %w", err)
	}
	if _, ok := raw["reward"]; !ok && len(raw) != 1 {
		return nil, errors.New(`reward.json: want a number named "reward", or only one`)
	}
	rewards := map[string]float64{}
	for name, n := range raw {
		if n == nil {
			return nil, fmt.Errorf("reward.json: %q is null; want a number", name)
		}
		rewards[name] = *n
	}
	return rewards, nil
}

func readReward(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxRewardBytes:
		return nil, fmt.Errorf("%s is %s of %d bytes; want a file of at most %d", name, info.Mode().Type(), info.Size(), maxRewardBytes)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, maxRewardBytes))
}

func number(file, s string) (float64, error) {
	r, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(r) || math.IsInf(r, 0) {
		return 0, fmt.Errorf("%s: %q is not a number", file, s)
	}
	return r, nil
}
