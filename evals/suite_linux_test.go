package evals

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/eval/report"
)

var (
	agentRunner string
	// goCache has what Go programs are made of, so that not every trial has to compile it.
	goCache string
)

func TestMain(m *testing.M) {
	// Not in /tmp: what is exposed there is not seen by confined commands.
	caches, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(caches, 0o700)
	}
	dir := ""
	if err == nil {
		dir, err = os.MkdirTemp(caches, "sampan-evals-")
	}
	if err == nil {
		agentRunner = filepath.Join(dir, "agent-runner")
		build := exec.Command("go", "build", "-o", agentRunner, "../cmd/agent-runner")
		build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		err = build.Run()
	}
	if err == nil {
		goCache = filepath.Join(dir, "go-cache")
		err = fillCache(filepath.Join(dir, "warm"))
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// fillCache builds and vets a program of the packages that tasks use, in a new folder: without
// what vet finds in the standard library every trial would look for it.
func fillCache(dir string) error {
	program := "package main\n\nimport (\n"
	for _, name := range []string{"bufio", "fmt", "io", "os", "slices", "sort", "strconv", "strings", "sync", "sync/atomic"} {
		program += fmt.Sprintf("\t_ %q\n", name)
	}
	err := errors.Join(os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module warm\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "main.go"), []byte(program+")\n\nfunc main() {}\n"), 0o644))
	for _, args := range [][]string{{"build", "-o", os.DevNull, "."}, {"vet", "."}} {
		if err != nil {
			return err
		}
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+goCache, "GOFLAGS=", "GOWORK=off")
		err = cmd.Run()
	}
	return err
}

// eval runs the suite and gives the report and the outcomes.
func eval(t *testing.T, args ...string) (report.Report, []outcome.Outcome) {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), agentRunner, append([]string{"eval", "run", ".", "--quiet", "--parallel", "2", "--output", "json", "--out", out, "--expose", goCache, "--env", "GOCACHE=" + goCache}, args...)...)
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	var r report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	outcomes, err := outcome.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return r, outcomes
}

// all checks that every outcome has a result, and that there are as many as there have to be.
func all(t *testing.T, outcomes []outcome.Outcome, want outcome.Result, count int) {
	t.Helper()
	if len(outcomes) != count {
		t.Errorf("%d outcomes, want %d", len(outcomes), count)
	}
	for _, o := range outcomes {
		if o.Result != want {
			t.Errorf("%s: %s (%s): %s", o.Trial, o.Result, o.Reason, o.Message)
		}
	}
}

// tasks is how many tasks the suite has.
const tasks = 12

func TestOraclePassesEveryTask(t *testing.T) {
	_, outcomes := eval(t, "--agent", "oracle")
	all(t, outcomes, outcome.Passed, tasks)
}

func TestNopPassesNoTask(t *testing.T) {
	_, outcomes := eval(t, "--agent", "nop")
	all(t, outcomes, outcome.Failed, tasks)
}

// play writes a registry of models that a script plays: each runs one command and says that
// it is done.
func play(t *testing.T, commands map[string]string) (args []string) {
	t.Helper()
	dir := t.TempDir()
	scripts := map[string]any{}
	registry := map[string]any{"version": 1, "providers": map[string]any{"scripted": map[string]any{"type": "scripted", "script": map[string]any{"file": "script.yaml"}}}}
	var models []any
	var names []string
	for name, command := range commands {
		names = append(names, name)
		models = append(models, map[string]any{"id": name, "provider": "scripted", "pricing": map[string]any{"inputPerMTok": "1", "outputPerMTok": "2"}})
		turns := []any{}
		if command != "" {
			turns = append(turns, map[string]any{"toolCalls": []any{map[string]any{"name": "bash", "arguments": map[string]any{"command": command}}}})
		}
		scripts[name] = map[string]any{"turns": append(turns, map[string]any{"text": `Done. All tests pass. {"reason":"Completed","reward":1}`})}
	}
	registry["models"] = models
	for name, v := range map[string]any{"models.yaml": registry, "script.yaml": map[string]any{"models": scripts}} {
		data, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--registry", filepath.Join(dir, "models.yaml"), "--models", strings.Join(names, ",")}
}

// links plants links to every file and folder of every task's tests, at all places of the
// workspace that have its name or path.
func links(t *testing.T) string {
	t.Helper()
	tests, err := filepath.Glob("*/tests")
	if err != nil || len(tests) != tasks {
		t.Fatal(tests, err)
	}
	var command strings.Builder
	command.WriteString("plant() { for to in \"$2\" $(find . -name \"${2##*/}\" -not -type l); do rm -rf \"$to\"; mkdir -p \"$(dirname \"$to\")\"; ln -s \"/tests/$1\" \"$to\"; done; } 2>/dev/null\n")
	for _, dir := range tests {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if rel, _ := filepath.Rel(dir, path); rel != "." && rel != "test.sh" {
				fmt.Fprintf(&command, "plant %q %q\n", rel, strings.TrimPrefix(rel, "files/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return command.String()
}

func TestLiarWithLinksPassesNoTask(t *testing.T) {
	r, outcomes := eval(t, play(t, map[string]string{"liar": links(t)})...)
	all(t, outcomes, outcome.Failed, tasks)
	if m := r.Models[0]; m.Passed != 0 || m.Trials != tasks || m.CostPerSuccessUSD != nil || !m.CostUSD.IsPositive() {
		t.Errorf("%+v", m)
	}
}

// totals makes the script that the tests of csv-totals run.
func totals(body string) string { return "cat > totals.sh <<'EOF'\n" + body + "\nEOF\n" }

// tampering is what an agent could do to pass csv-totals without a right script, or to make
// its failure not count.
func tampering(t *testing.T) map[string]string {
	suite, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	// answer prints what the tests want, from wherever the script may see them.
	answer := func(tests string) string {
		return "in=$(cat; echo x)\nfor f in " + tests + "/in/*; do [ \"$in\" = \"$(cat $f; echo x)\" ] && cat $(dirname $f)/../out/${f##*/} 2>/dev/null && exit; done"
	}
	return map[string]string{
		// While the agent runs.
		"reward-txt":       "mkdir -p /logs/verifier; echo 1 > /logs/verifier/reward.txt",
		"reward-json":      `mkdir -p /logs/verifier; echo '{"reward": 1}' > /logs/verifier/reward.json`,
		"reward-link":      "echo 1 > /app/r; ln -sf /app/r /logs/verifier/reward.txt; rmdir /logs/verifier; ln -s /app /logs/verifier",
		"tests-dir":        "mkdir -p /tests; echo 'echo 1 > /logs/verifier/reward.txt' > /tests/test.sh",
		"workspace-copies": "mkdir -p tests logs/verifier; echo 1 > logs/verifier/reward.txt; echo 1 > reward.txt; printf '#!/bin/bash\\necho 1 > /logs/verifier/reward.txt\\n' > tests/test.sh; cp tests/test.sh test.sh",
		"background":       "setsid nohup bash -c 'while :; do echo 1 > /logs/verifier/reward.txt; echo 1 > /app/reward.txt; cp /tests/out/* /app; done' >/dev/null 2>&1 &",
		"programs":         "for d in /usr/local/bin /usr/bin /bin ~/bin ~/.local/bin /app; do mkdir -p $d; printf '#!/bin/sh\\nexit 0\\n' > $d/diff; chmod +x $d/diff; done; " + totals("echo"),
		"startup-files":    "for f in ~/.bashrc ~/.bash_profile ~/.profile /etc/profile /etc/bash.bashrc .bashrc; do echo 'diff() { return 0; }' > $f; done; " + totals("echo"),
		"preload":          "echo /app/evil.so > /etc/ld.so.preload; " + totals("echo"),
		"remount":          "unshare -Ur bash -c 'mount -o remount,rw,bind /usr; mount -o remount,rw /; echo > /usr/bin/diff'; " + totals("echo"),
		"prepared-got":     "mkdir -p /tmp/tests; for f in header empty case large; do echo > /tmp/got; done; chmod 444 /tmp/got; " + totals("echo"),
		"kill-server":      "kill -TERM 1; kill -KILL 1; kill -9 -1",
		"lock-workspace":   "chmod 000 /app",
		"suite":            fmt.Sprintf("printf '#!/bin/bash\\necho 1 > /logs/verifier/reward.txt\\n' > %[1]s/csv-totals/tests/test.sh; find / -name csv-totals -exec cp -r {} /app/ ';'; cat %[1]s/csv-totals/solution/solve.sh | bash", suite),
		"link-to-tests":    "ln -s /tests/out/header totals.sh",
		"link-to-solution": "ln -s /solution/solve.sh totals.sh",
		"directory":        "mkdir totals.sh",
		"nothing":          "",
		// While the tests run the agent's script.
		"late-reward":        totals("echo 1 > /logs/verifier/reward.txt; echo '{\"reward\":1}' > /logs/verifier/reward.json"),
		"late-kill":          totals("echo 1 > /logs/verifier/reward.txt; kill -9 $PPID -1"),
		"late-daemon":        totals("setsid nohup bash -c 'while :; do mkdir -p /logs/verifier; echo 1 > /logs/verifier/reward.txt; done' >/dev/null 2>&1 &"),
		"late-read-tests":    totals(answer("/tests")),
		"late-read-proc":     totals(answer("/proc/*/root/tests")),
		"late-read-unshare":  totals("cat > /tmp/a <<'EOA'\numount -l /tests\n" + answer("/tests") + "\nEOA\nunshare -Urm bash /tmp/a"),
		"late-write-tests":   totals("for f in /tests/out/*; do : > $f; done; for f in /tests/in/*; do : > $f; done"),
		"late-parent-memory": totals("for p in /proc/[0-9]*; do echo > $p/mem; echo 1 > $p/fd/255; echo 1 > $p/fd/1; done 2>/dev/null"),
		"late-programs":      totals("for d in /usr/bin /bin /usr/local/bin $HOME/bin /app; do echo 'exit 0' > $d/diff; done 2>/dev/null"),
		"late-tmp":           totals("for i in 1 2 3 4 5; do rm -rf /tmp/got; ln -s /tests/out/header /tmp/got; done"),
		"late-words":         totals("echo 'reward 1'; echo 1; exit 0"),
	}
}

func TestTamperingPassesNoTask(t *testing.T) {
	attacks := tampering(t)
	if len(attacks) < 20 {
		t.Fatalf("%d ways of tampering, want 20 or more", len(attacks))
	}
	_, outcomes := eval(t, append(play(t, attacks), "--tasks", "csv-totals")...)
	all(t, outcomes, outcome.Failed, len(attacks))
	for _, o := range outcomes {
		if o.Model != "nothing" && o.Model != "kill-server" && o.ToolCalls != 1 {
			t.Errorf("%s did not do what it is for: %d tool calls", o.Model, o.ToolCalls)
		}
	}
}

// A right script is passed, by the same ways: the tests above would hold if nothing ever was.
func TestRightScriptIsPassed(t *testing.T) {
	solution, err := os.ReadFile("csv-totals/solution/solve.sh")
	if err != nil {
		t.Fatal(err)
	}
	r, outcomes := eval(t, append(play(t, map[string]string{"solver": string(solution)}), "--tasks", "csv-totals", "--repeats", "2")...)
	all(t, outcomes, outcome.Passed, 2)
	if m := r.Models[0]; m.SuccessRate != 1 || m.CostPerSuccessUSD == nil || m.MedianTurns != 2 {
		t.Errorf("%+v", m)
	}
}
