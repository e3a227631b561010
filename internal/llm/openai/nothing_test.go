package openai

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/llm"
)

func TestRepliesThatSayNothing(t *testing.T) {
	for text, nothing := range map[string]bool{
		"": true, " \n\t": true, "\u200b": true, " \ufeff\u2060\u00a0": true, "\u2800": true, "\x00": true, "\ufe0f": true,
		"...": true, "\u2026": true, "---": true, "```\n```": true, "(no content)": true, "[No content]": true, "No response requested.": true,
		"*No response needed.*": true, "(empty)": true, "null": true, "[object Object]": true,

		"4": false, "ok": false, "\u2705": false, "\U0001F44D": false, "x == y": false, "\u662f": false, "=": false,
		"The file is empty.": false, "No content was lost.": false, "It returns null": false, "--------------------------------": false,
	} {
		r, err := judged(hello(), Quirks{}, llm.Message{Content: text})
		if err != nil || (r.content == "") != nothing {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestToolNamesAreCleaned(t *testing.T) {
	x := &exchange{req: tooled()}
	for given, want := range map[string]string{
		"bash": "bash", "functions.bash": "bash", "functions.bash:0": "bash", "bash:12": "bash", "default_api:bash": "bash", "default_api.bash": "bash",
		"Bash": "bash", "READ_FILE": "read_file", " bash ": "bash", "bash<|channel|>json": "bash", "bash2": "bash2", "my.bash": "my.bash", ":0": ":0",
	} {
		if got := x.cleanName(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
