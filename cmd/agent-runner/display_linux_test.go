package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// hostile is a text with one of everything that must not reach a terminal.
const hostile = "\x1b]0;OWNED\x07\x1b[2J\x9b31m\u009b2J\u202egpj\u2066\u200b\ufeff\u2028\x7f\x00\x08\rend"

// sgr is what our own colours look like.
var sgr = regexp.MustCompile("\x1b\\[(0|2|31|32|33)m")

// unsafe finds what must not be in an output for people.
func unsafe(out string) string {
	for i, r := range out {
		broken := r == utf8.RuneError && !strings.HasPrefix(out[i:], "\uFFFD")
		if broken || r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return fmt.Sprintf("%U in %q", r, out[max(0, i-40):min(len(out), i+40)])
		}
	}
	return ""
}

// hostileModel calls a tool of a hostile name and one with hostile arguments,
// and ends with hostile words.
func hostileModel(t *testing.T, words string) (url string) {
	t.Helper()
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		call := func(id, name string, args any) map[string]any {
			data, err := json.Marshal(args)
			if err != nil {
				panic(err)
			}
			return map[string]any{"id": id, "type": "function", "function": map[string]string{"name": name, "arguments": string(data)}}
		}
		message := map[string]any{"role": "assistant", "content": "Done." + words}
		if asked++; asked == 1 {
			message = map[string]any{"role": "assistant", "reasoning_content": words, "tool_calls": []any{
				call("1", "x"+words, map[string]string{"command": words}),
				call("2", "bash", map[string]string{"command": "true #" + words}),
				call("3", "bash", map[string]string{"command": `printf '\033[2J\302\233'; cat "$0"`}),
				call("4", "read_file", map[string]string{"path": words}),
			}}
		}
		reply := map[string]any{"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": "stop"}},
			"usage": map[string]int{"prompt_tokens": 5, "completion_tokens": 5}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v1"
}

// TestHostileTextIsShown: nothing that a model says, or makes tools say, gets to
// a terminal as it is; in data it is still exact.
func TestHostileTextIsShown(t *testing.T) {
	p := newRunner(t, "turns: []", "verify: [{name: raw, command: \"printf '\\\\033[31mred\\\\302\\\\233'\"}]")
	registry := fmt.Sprintf("{version: 1, default: {name: m}, providers: {here: {type: openai, baseURL: %q}}, models: [{id: m, provider: here, toolCalls: Good}]}",
		hostileModel(t, hostile))
	if err := os.WriteFile(filepath.Join(p.dir, "registry.yaml"), []byte(registry), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Args[slices.Index(p.cmd.Args, "json")] = "text"
	out, err := p.cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr)
	}
	if !strings.Contains(string(out), `Done.\x1b]0;OWNED`) {
		t.Errorf("the last words are not shown:\n%s", out)
	}
	record, err := os.ReadFile(filepath.Join(p.dir, "run.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"run, stdout": string(out), "run, stderr": p.stderr.String(), "the record": string(record)}
	for _, command := range []string{"show", "verify", "stats"} {
		outputs[command] = p.more(t, "transcript", command, "run.jsonl")
	}
	outputs["show --full"] = p.more(t, "transcript", "show", "--full", "run.jsonl")
	for name, out := range outputs {
		if found := unsafe(out); found != "" || out == "" {
			t.Errorf("%s prints %s", name, found)
		}
	}
	var asJSON, asYAML transcript.Stats
	if err := json.Unmarshal([]byte(p.more(t, "transcript", "stats", "-o", "json", "run.jsonl")), &asJSON); err != nil {
		t.Error(err)
	}
	if err := yaml.Unmarshal([]byte(p.more(t, "transcript", "stats", "-o", "yaml", "run.jsonl")), &asYAML); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(asJSON, asYAML); diff != "" {
		t.Errorf("(-json +yaml):\n%s", diff)
	}
}

// more runs another command in the folder of a run and gives what it prints.
func (p *process) more(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(p.cmd.Path, args...)
	cmd.Dir, cmd.Env = p.dir, p.cmd.Env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return string(out)
}

// FuzzHumanOutput: whatever a run says, of its lines on a terminal only our
// colours are more than text.
func FuzzHumanOutput(f *testing.F) {
	f.Add(hostile, "tool\nname", "model\x1b[8m")
	f.Add("\xe2\x80", "\u202e", "a\tb\x9b")
	f.Fuzz(func(t *testing.T, words, name, model string) {
		var out strings.Builder
		p := &progressPrinter{w: &out, fancy: true, colour: true, width: 90}
		p.print(harness.Progress{Phase: harness.PhaseTool, Activity: name + ": " + words, Turns: 1})
		p.say(words)
		res := harness.Result{Reason: harness.Completed, Message: words, Verifications: []harness.VerificationResult{{Name: name}},
			Progress: harness.Progress{Model: model}}
		p.done(res)
		if lines := strings.Count(out.String(), "\n"); lines < 4 || !strings.Contains(words, "\n") && lines != 4 {
			t.Errorf("%d lines, want one a step:\n%s", lines, out.String())
		}
		shown := sgr.ReplaceAllString(out.String(), "")
		out.Reset()
		human := text.NewWriter(&out)
		for _, err := range []error{printText(human, output{Result: res, TranscriptFile: name}), printStats(human, transcript.Stats{Task: name, Models: []string{model}, Reason: words,
			Notices: map[string]int{name: 1}, Tools: []transcript.ToolStats{{Name: name}}})} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if found := hiddenIn(shown + out.String()); found != "" {
			t.Error(found)
		}
		var data strings.Builder
		for _, format := range []string{"json", "yaml"} {
			data.Reset()
			if err := printData(&data, format, output{Result: res}); err != nil {
				t.Fatal(err)
			}
			var got output
			if err := yaml.Unmarshal([]byte(data.String()), &got); err != nil {
				t.Fatalf("%s: %v\n%s", format, err, data.String())
			}
			if want := strings.ToValidUTF8(words, "\uFFFD"); got.Message != want && utf8.ValidString(words) {
				t.Errorf("%s gives %q back for %q", format, got.Message, want)
			}
			if found := unsafe(data.String()); found != "" {
				t.Errorf("%s: %s", format, found)
			}
		}
	})
}

// hiddenIn is unsafe without the joiners that text.Visible leaves where they join.
func hiddenIn(out string) string {
	if text.Visible(out) != out {
		return fmt.Sprintf("%q is not safe to be shown", out)
	}
	return unsafe(strings.Map(func(r rune) rune {
		if r == '\u200c' || r == '\u200d' {
			return -1
		}
		return r
	}, out))
}
