package deaths

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
)

// The run: so many turns with tools, then a claim to be done that is false, the
// cause's removal, and a claim that is true.
const (
	workTurns = 26
	allTurns  = workTurns + 4
	// spare pairs of turns are for runs that lose the last of their work to a death.
	spare = 100
)

// parts makes what earlier turns should have left and a death may have taken: a model
// looks before it goes on, and this one's way to look is to do what is missing.
func parts(turn int) string {
	return fmt.Sprintf("mkdir -p out && for i in $(seq 0 %d); do [ -s out/$i ] || echo part $i > out/$i; done", turn)
}

// verifyCommand passes where everything is there.
var verifyCommand = fmt.Sprintf(`test "$(cat fixed.txt)" = fixed && test "$(cat state.txt)" = "state: end" && `+
	`for i in $(seq 0 %d); do test "$(cat out/$i)" = "part $i" && test "$(cat notes/$i)" = "note $i" || exit 1; done`, workTurns-1)

// mend makes everything that the verification looks at.
func mend(effects string) string {
	return effect(effects, "{{turn}}.0") + parts(workTurns-1) + fmt.Sprintf(
		" && mkdir -p notes && for i in $(seq 0 %d); do [ -s notes/$i ] || echo note $i > notes/$i; done"+
			" && echo state: end > state.txt && echo fixed > fixed.txt", workTurns-1)
}

// effect leaves a trace outside of the workspace, where no restore takes it back.
func effect(file, id string) string { return fmt.Sprintf("echo %s >> %s; ", id, file) }

// content is what the workspace has in the end.
func content() map[string]string {
	out := map[string]string{"fixed.txt": "fixed\n", "state.txt": "state: end\n"}
	for i := range workTurns {
		out[fmt.Sprintf("out/%d", i)] = fmt.Sprintf("part %d\n", i)
		out[fmt.Sprintf("notes/%d", i)] = fmt.Sprintf("note %d\n", i)
	}
	return out
}

type callSpec struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

type turnSpec struct {
	Text      string     `json:"text,omitempty"`
	ToolCalls []callSpec `json:"toolCalls,omitempty"`
	Repeat    int        `json:"repeat,omitempty"`
}

// script is what the model says. Calls with effects leave their turn and number in a file.
func script(effects string, files int) (*scripted.Script, error) {
	var turns []turnSpec
	bash := func(command string) callSpec { return callSpec{"bash", map[string]any{"command": command}} }
	read := func(path string) callSpec { return callSpec{"read_file", map[string]any{"path": path}} }
	for k := range workTurns {
		did := effect(effects, fmt.Sprintf("%d.0", k))
		if k == 0 && files > 0 {
			did += fmt.Sprintf("for i in $(seq %d); do d=more/$((i / 100)); [ -d $d ] || mkdir -p $d; echo file $i of many > $d/$i; done; ", files)
		}
		note := callSpec{"write_file", map[string]any{"path": fmt.Sprintf("notes/%d", k), "content": fmt.Sprintf("note %d\n", k)}}
		var calls []callSpec
		switch k % 3 {
		case 0:
			calls = []callSpec{bash(did + parts(k)), note}
		case 1:
			calls = []callSpec{read(fmt.Sprintf("out/%d", k-1)), read(fmt.Sprintf("notes/%d", k-1)), bash(did + "sleep 0.02; " + parts(k)), note}
		default:
			calls = []callSpec{
				bash(did + parts(k) + fmt.Sprintf("; echo state: open %d > state.txt", k)), read("state.txt"),
				{"edit_file", map[string]any{"path": "state.txt", "old_text": "open", "new_text": "closed"}},
				note, bash(effect(effects, fmt.Sprintf("%d.4", k)) + "cat state.txt"),
			}
		}
		turns = append(turns, turnSpec{Text: fmt.Sprintf("Turn %d.", k), ToolCalls: calls})
	}
	turns = append(turns, turnSpec{Text: "All is done."}, turnSpec{ToolCalls: []callSpec{bash(mend(effects))}},
		turnSpec{ToolCalls: []callSpec{read("fixed.txt")}}, turnSpec{Text: "All is done now."})
	for range spare {
		turns = append(turns, turnSpec{ToolCalls: []callSpec{bash(mend(effects))}}, turnSpec{Text: "All is done at last."})
	}
	data, err := json.Marshal(map[string]any{"turns": turns}) // which is YAML, too
	if err != nil {
		return nil, err
	}
	return scripted.Parse(data)
}

// task is the run's.
func task() harness.Task {
	return harness.Task{
		Name: taskName, Prompt: "Make all parts and notes.",
		Verify: []harness.Verification{{Name: "complete", Command: verifyCommand, Timeout: time.Minute}},
		Limits: harness.Limits{Turns: allTurns + 2*spare, Active: time.Hour, Tool: time.Minute},
	}
}

// registry is a registry whose one model is at a URL.
func registry(url string) string {
	return fmt.Sprintf(`version: 1
providers:
  here: {type: openai, baseURL: %q}
models:
- {id: agent, provider: here, roles: [agent], contextWindow: 1000000, pricing: {inputPerMTok: "1", outputPerMTok: "1"}}
default: {role: agent}
`, url)
}
