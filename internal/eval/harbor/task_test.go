package harbor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a task of files, beside those that every task has.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "task")
	all := map[string]string{"task.toml": "version = \"1.0\"\n", "instruction.md": "Do it.\n", "tests/test.sh": "exit 0\n"}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if text == "-" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTaskIsRead(t *testing.T) {
	dir := write(t, map[string]string{
		"task.toml": `schema_version = "1.4"
artifacts = ["/app/x"]
[task]
name = "org/task"
authors = [{ name = "A", email = "a@example.com" }]
[metadata]
programs = ["sh", "cat"]
anything = { at = { all = 1 } }
[verifier]
timeout_sec = 12.5
network_mode = "public"
env = { LEVEL = "high" }
[agent]
timeout_sec = 90
[environment]
allow_internet = false
cpus = 2
colour = "red"
[environment.env]
GREETING = "hello"
`,
		"environment/Dockerfile":   "# An image.\nFROM debian:12\nWORKDIR /work\nCOPY a.txt sub ./\nCOPY a.txt b.txt\n",
		"environment/a.txt":        "a",
		"environment/sub/deep/x":   "x",
		"environment/not-copied":   "",
		"solution/solve.sh":        "",
		"tests/expected/some.json": "{}",
	})
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := func(line, words string) string { return dir + "/" + line + ": " + words }
	want := &Task{
		Name: "task", Dir: dir, Instruction: "Do it.", AgentTimeout: 90 * time.Second, VerifierTimeout: 13 * time.Second,
		Workdir: "/work", Copies: []Copy{{"environment/a.txt", "a.txt"}, {"environment/sub", "."}, {"environment/a.txt", "b.txt"}},
		Env: map[string]string{"GREETING": "hello"}, VerifierEnv: map[string]string{"LEVEL": "high"}, SolutionEnv: map[string]string{},
		AgentOffline: true, Programs: []string{"sh", "cat"}, Digest: got.Digest,
		Notes: []string{
			at("task.toml:17", "environment.cpus: the number of CPUs is not limited"),
			at("task.toml:18", "environment.colour is not known, and has no effect"),
			at("task.toml:2", "artifacts: artifacts are not collected"),
			at("environment/Dockerfile:2", "the image is not used: the task has the programs of this machine"),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	to := t.TempDir()
	if err := got.Fill(to); err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, to+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.txt", "b.txt", "deep/x"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestEnvironmentWithoutDockerfileIsCopied(t *testing.T) {
	got, err := Load(write(t, map[string]string{"environment/a/b": "x"}))
	if err != nil || got.Workdir != DefaultWorkdir || !cmp.Equal(got.Copies, []Copy{{"environment", "."}}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every refusal names its place.
func TestWhatCannotBeHonouredIsRefused(t *testing.T) {
	toml := func(text string) map[string]string { return map[string]string{"task.toml": text} }
	docker := func(text string) map[string]string {
		return map[string]string{"environment/Dockerfile": text, "environment/a": ""}
	}
	for want, files := range map[string]map[string]string{
		"task.toml:1: schema_version: it is 2.0; the versions that are known are 1.0": toml("schema_version = \"2.0\""),
		"task.toml:2: not TOML":                                                  toml("version = \"1.0\"\n= 3"),
		"task.toml:2: environment.gpus: no GPUs":                                 toml("[environment]\ngpus = 1"),
		"task.toml:1: environment.docker_image":                                  toml("environment.docker_image = \"x\""),
		"task.toml:2: environment.network_mode: it is allowlist":                 toml("[environment]\nnetwork_mode = \"allowlist\""),
		"task.toml:2: agent.allowed_hosts":                                       toml("[agent]\nallowed_hosts = [\"a\"]"),
		"task.toml:2: agent.user":                                                toml("[agent]\nuser = \"root\""),
		"task.toml:2: agent.timeout_sec: it is 0":                                toml("[agent]\ntimeout_sec = 0"),
		"task.toml:2: verifier.environment_mode: it is separate":                 toml("[verifier]\nenvironment_mode = \"separate\""),
		"task.toml:1: verifier.collect":                                          toml("[[verifier.collect]]\ncommand = \"x\""),
		"task.toml:3: steps: tasks of several steps":                             toml("version = \"1.0\"\n\n[[steps]]\nname = \"a\"\n[[steps]]\nname = \"b\""),
		"task.toml:1: environment.mcp_servers":                                   toml("[[environment.mcp_servers]]\nname = \"a\""),
		"task.toml:2: environment.healthcheck.command":                           toml("[environment.healthcheck]\ncommand = \"x\""),
		"task.toml:2: environment.env.KEY: values of this machine":               toml("[environment]\nenv = { KEY = \"${HOME}\" }"),
		"task.toml:2: environment.workdir":                                       toml("[environment]\nworkdir = \"/usr/x\""),
		"task.toml:2: metadata.programs":                                         toml("[metadata]\nprograms = [\"/bin/sh\"]"),
		"instruction.md: it is blank":                                            {"instruction.md": " \n"},
		"instruction.md: stat":                                                   {"instruction.md": "-"},
		"tests/test.sh: it is missing":                                           {"tests/test.sh": "-"},
		"tests/Dockerfile: tests with an environment":                            {"tests/Dockerfile": ""},
		"environment/docker-compose.yaml: tasks of several containers":           {"environment/docker-compose.yaml": ""},
		"environment/Dockerfile:2: RUN: nothing is built":                        docker("FROM a\nRUN apt-get update"),
		"environment/Dockerfile:2: several stages":                               docker("FROM a\nFROM b"),
		"environment/Dockerfile:2: COPY: want sources":                           docker("FROM a\nCOPY --from=b a ."),
		"environment/Dockerfile:2: COPY: /etc/a is not in the working directory": docker("FROM a\nCOPY a /etc/a"),
		"environment/Dockerfile:1: COPY: stat":                                   docker("COPY none ."),
		"environment/Dockerfile:1: WORKDIR: want one path":                       docker("WORKDIR $HOME"),
		"environment/Dockerfile:2: WORKDIR: it has to come before COPY":          docker("COPY a .\nWORKDIR /x"),
	} {
		dir := write(t, files)
		if _, err := Load(dir); err == nil || !strings.HasPrefix(err.Error(), dir+"/"+want) {
			t.Errorf("got  %v\nwant %s/%s", err, dir, want)
		}
	}
}

func TestSuiteNamesEveryBadTask(t *testing.T) {
	suite := t.TempDir()
	for _, name := range []string{"good", "bad", "worse"} {
		text := "version = \"1.0\""
		if name != "good" {
			text = "version = \"9\""
		}
		if err := os.Rename(write(t, map[string]string{"task.toml": text}), filepath.Join(suite, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadSuite(suite, nil); err == nil || !strings.Contains(err.Error(), "bad/task.toml:1") || !strings.Contains(err.Error(), "worse/task.toml:1") {
		t.Error(err)
	}
	got, err := LoadSuite(suite, []string{"good"})
	if err != nil || len(got) != 1 || got[0].Name != "good" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := LoadSuite(suite, []string{"god"}); err == nil || !strings.Contains(err.Error(), `no task "god"`) {
		t.Error(err)
	}
	if _, err := LoadSuite(t.TempDir(), nil); err == nil {
		t.Error("an empty folder is a suite")
	}
}

func TestDigestIsOfEverything(t *testing.T) {
	dir := write(t, nil)
	digest := func() string {
		t.Helper()
		d, err := Digest(dir)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	seen := map[string]bool{digest(): true}
	// In this order: the last change takes the file away that the one before it needs.
	for _, c := range []struct {
		what   string
		change func() error
	}{
		{"content", func() error { return os.WriteFile(filepath.Join(dir, "instruction.md"), []byte("Do."), 0o644) }},
		{"mode", func() error { return os.Chmod(filepath.Join(dir, "tests/test.sh"), 0o755) }},
		{"name", func() error { return os.Rename(filepath.Join(dir, "tests/test.sh"), filepath.Join(dir, "tests/t.sh")) }},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if d := digest(); seen[d] {
			t.Errorf("a change of the %s is not seen", c.what)
		} else {
			seen[d] = true
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Digest(dir); err == nil {
		t.Error("a link is taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[a]\nb = { c = 1, d = { e = [1] } }\n[[x.y]]\nz = 1\n[x.y.w]\nv = 2")
	f.Fuzz(func(_ *testing.T, data string) {
		_, _ = parse(data) // it must not panic
	})
}
