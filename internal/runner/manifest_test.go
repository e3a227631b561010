package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const manifestHead = "apiVersion: sampan.dev/v1alpha1\nkind: AgentTask\nmetadata: {name: chore}\nspec:\n"

func loadText(t *testing.T, text string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "task.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := LoadTask(path)
	return err
}

// What the API server would refuse is refused without it too, with its place.
func TestLoadTaskRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ spec, want string }{
		"negative turns":         {"  prompt: x\n  limits: {turns: -1}", "task.yaml:6: spec.limits.turns: Invalid value: -1: must be at least 1"},
		"no turns":               {"  prompt: x\n  limits: {turns: 0}", "task.yaml:6: spec.limits.turns: Invalid value: 0: must be at least 1"},
		"no tokens":              {"  prompt: x\n  limits: {inputTokens: 0}", "spec.limits.inputTokens: Invalid value: 0: must be at least 1"},
		"no money":               {"  prompt: x\n  limits: {costUSD: \"0\"}", `task.yaml:6: spec.limits.costUSD: Invalid value: "0" must be more than 0; leave it out for no limit`},
		"no money, in digits":    {"  prompt: x\n  limits: {costUSD: \"0.00\"}", "must be more than 0"},
		"negative money":         {"  prompt: x\n  limits: {costUSD: \"-1\"}", "must be more than 0"},
		"much money":             {"  prompt: x\n  limits: {costUSD: much}", `spec.limits.costUSD: Invalid value: "much" is not a decimal number`},
		"state in lower case":    {"  prompt: x\n  state: active", `task.yaml:6: spec.state: Unsupported value: "active": supported values: "Active", "Suspended", "Cancelled"`},
		"suspended":              {"  prompt: x\n  state: Suspended", "task.yaml:6: spec.state: Forbidden: a task that is Suspended does not run"},
		"cancelled":              {"  prompt: x\n  state: Cancelled", "spec.state: Forbidden: a task that is Cancelled does not run"},
		"a name twice":           {"  prompt: x\n  verify:\n  - {name: a, command: b}\n  - {name: a, command: c}", `task.yaml:8: spec.verify[1].name: Duplicate value: "a"`},
		"a name of two lines":    {"  prompt: x\n  verify:\n  - {name: \"a\\nb\", command: b}", "spec.verify[0].name: Invalid value: \"a\\nb\": must be one line"},
		"no name":                {"  prompt: x\n  verify:\n  - {command: b}", "spec.verify[0].name: Required value"},
		"no command":             {"  prompt: x\n  verify:\n  - {name: b}", "spec.verify[0].command: Required value"},
		"a negative timeout":     {"  prompt: x\n  verify:\n  - {name: b, command: c, timeoutSeconds: -1}", "spec.verify[0].timeoutSeconds: Invalid value: -1"},
		"files from a cluster":   {"  prompt: x\n  verify:\n  - {name: b, command: c, files: {configMapName: d, keys: [e]}}", "spec.verify[0].files: Forbidden: there are no ConfigMaps"},
		"another machine":        {"  prompt: x\n  verify:\n  - {name: b, command: c, isolation: Separate}", "spec.verify[0].isolation: Forbidden: there is no other machine"},
		"an unknown isolation":   {"  prompt: x\n  verify:\n  - {name: b, command: c, isolation: Alone}", "spec.verify[0].isolation: Unsupported value"},
		"an output twice":        {"  prompt: x\n  outputs:\n  - {name: a, path: b}\n  - {name: a, path: c}", `task.yaml:8: spec.outputs[1].name: Duplicate value: "a"`},
		"an output's name":       {"  prompt: x\n  outputs: [{name: ../a, path: b}]", "spec.outputs[0].name: Invalid value"},
		"an empty output":        {"  prompt: x\n  outputs: [{name: a}]", "spec.outputs[0]: Invalid value: \"a\": set exactly one of"},
		"a double output":        {"  prompt: x\n  outputs: [{name: a, path: b, patch: {}}]", "set exactly one of"},
		"an output of elsewhere": {"  prompt: x\n  outputs: [{name: a, path: ../b}]", "spec.outputs[0].path: Invalid value"},
		"a pool":                 {"  prompt: x\n  sandbox: {poolRef: {name: spare}}", "task.yaml:6: spec.sandbox.poolRef: Forbidden: there are no pools without a cluster"},
		"a named Sandbox":        {"  prompt: x\n  sandbox: {sandboxRef: {name: dev}}", "task.yaml:6: spec.sandbox.sandboxRef: Forbidden: there are no Sandboxes without a cluster"},
		"two models":             {"  prompt: x\n  model: {name: a, group: b}", "task.yaml:6: spec.model: Forbidden: set only one of name, group and role"},
		"two prompts":            {"  prompt: x\n  promptFrom: {secretKeyRef: {name: a, key: b}}", "task.yaml:6: spec.promptFrom: Forbidden: set only one of prompt and promptFrom"},
		"no tool":                {"  prompt: x\n  tools: {allowed: []}", "task.yaml:6: spec.tools.allowed: Required value"},
		"tools without a list":   {"  prompt: x\n  tools: {}", "spec.tools.allowed: Required value"},
		"a field with a slip":    {"  promt: x", `task.yaml:5: there is no field "promt" here; did you mean prompt`},
		"a field of nothing":     {"  prompt: x\n  zzzzzz: 1", `task.yaml:6: there is no field "zzzzzz" here`},
		"a list for a text":      {"  prompt: [a]", "task.yaml:5: spec.prompt: is a list, want a string"},
		"a text for a number":    {"  prompt: x\n  limits: {turns: many}", "task.yaml:6: spec.limits.turns: is a string, want a whole number"},
		"a text for a list":      {"  prompt: x\n  verify: make", "task.yaml:6: spec.verify: is a string, want a list"},
		"a text for a mapping":   {"  prompt: x\n  model: gpt", "task.yaml:6: spec.model: is a string, want a mapping"},
		"money as a number":      {"  prompt: x\n  limits: {costUSD: 0.5}", `task.yaml:6: spec.limits.costUSD: Invalid value: 0.5: must be a string; write "0.5"`},
		"a clone of nothing":     {"  prompt: x\n  sandbox: {template: {workspace: {git: {url: \"\"}}}}", "task.yaml:6: spec.sandbox.template.workspace.git.url: Required value"},
		"two tasks":              {"  prompt: x\n---\n" + manifestHead + "  prompt: y", "task.yaml:6: a second document begins here; there can be only one"},
		"something after a task": {"  prompt: x\n--- {kind: Secret}\n", "task.yaml:6: a second document"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := loadText(t, manifestHead+tc.spec+"\n"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
	if err := loadText(t, "- a\n"); err == nil || !strings.Contains(err.Error(), "task.yaml:1: the document: is a list, want a mapping") {
		t.Errorf("a list: %v", err)
	}
	err := loadText(t, manifestHead+"  prompt: x\n  state: active\n  limits: {turns: -1}\n")
	if err == nil || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("error is %v, want all that is wrong, one a line", err)
	}
}

func TestLoadTaskAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"all that may be set": manifestHead + "  prompt: x\n  model: {role: a}\n  state: Active\n  tools: {allowed: [bash]}\n" +
			"  limits: {turns: 1, costUSD: \"0.000000001\"}\n  verify:\n  - {name: Prüfung 测试 👩‍💻, command: a}\n  - {name: b, command: a}\n",
		"a prompt that is elsewhere": manifestHead + "  promptFrom: {secretKeyRef: {name: a, key: b}}\n",
		"document marks":             "# A licence.\n---\n" + manifestHead + "  prompt: x\n---\n# The end.\n",
		"a rule in the prompt":       manifestHead + "  prompt: |\n    a\n    ---\n    b\n",
		"JSON":                       `{"apiVersion": "sampan.dev/v1alpha1", "kind": "AgentTask", "metadata": {"name": "chore"}, "spec": {"prompt": "x"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := loadText(t, text); err != nil {
				t.Error(err)
			}
		})
	}
}

// A manifest is read within bounds, as all that users write is.
func TestLoadTaskIsBounded(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"brackets":         {manifestHead + "  prompt: x\n  tools: " + strings.Repeat("[", 100_000), "task.yaml:6: is nested deeper than 32 levels"},
		"lists":            {strings.Repeat("- ", 100_000), "task.yaml:1: is nested deeper"},
		"documents":        {strings.Repeat("---\n", 100_000), "the document has more than 50000 values"},
		"aliases":          {"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e]", "the document has more than 50000 values"},
		"what aliases are": {manifestHead + "  prompt: &p x\n  systemPrompt: *p\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := loadText(t, tc.text)
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1000) {
				t.Errorf("error is %.500v, want %q", err, tc.want)
			}
		})
	}
}

// A repository's URL is refused with its place, and without a password that may
// be in it.
func TestLoadTaskRefusesGitURL(t *testing.T) {
	for raw, want := range map[string]string{
		"/home/me/repo":               "is a path of a machine",
		"git@github.com:team/tally":   "is a repository over ssh",
		"ext::sh -c 'touch x'":        "names a program",
		"https://user:SECRET@host/a":  "must not hold a user or a password",
		"https://user:SE/CRET@host/a": "cannot be read as a URL",
		"https://host/a#SECRET":       "must not have a query",
		"https://host/a\nb":           "has a character",
	} {
		err := loadText(t, manifestHead+fmt.Sprintf("  prompt: x\n  sandbox: {template: {workspace: {git: {url: %q}}}}\n", raw))
		if err == nil || !strings.Contains(err.Error(), "task.yaml:6: spec.sandbox.template.workspace.git.url: Invalid value") ||
			!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET@") {
			t.Errorf("%q: error is %v", raw, err)
		}
	}
}
