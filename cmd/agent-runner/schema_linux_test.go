package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// schema reads one of the schemas that are part of the documentation.
func schema(t *testing.T, name string) *jsonschema.Resolved {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs/schemas", name))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func decode(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

// eventful is a script whose run has most kinds of events.
const eventful = `turns:
- fault: {status: 503, retryAfter: 1ms, times: 1}
  text: I look at it.
  reasoning: What is there?
  toolCalls:
  - {name: bash, arguments: {command: ls}}
  - {name: read_file, arguments: {path: nothing.txt}}
- {text: Done., repeat: 10, usage: {inputTokens: 10, cachedInputTokens: 5, outputTokens: 1}}
`

// TestOutputFitsSchemas holds what the program writes against the schemas that
// the documentation promises.
func TestOutputFitsSchemas(t *testing.T) {
	for name, tc := range map[string]struct {
		script, verify string
		types          []string
	}{
		"verification failed": {eventful, "verify: [{name: v, command: echo no; exit 1}]",
			[]string{"run_started", "request", "retry", "response", "tool_call", "tool_result", "notice", "verification", "run_ended"}},
		"completed":   {"turns: [{text: Done.}]", "", []string{"run_started", "run_ended"}},
		"unavailable": {"turns: [{fault: {status: 401}}]", "", []string{"retry", "run_ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, stdout := runToEnd(t, tc.script, tc.verify)
			if err := schema(t, "result.schema.json").Validate(decode(t, stdout)); err != nil {
				t.Errorf("result: %v\n%s", err, stdout)
			}
			lines, err := os.ReadFile(filepath.Join(p.dir, "run.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			line := schema(t, "transcript.schema.json")
			seen := map[string]bool{}
			for s := bufio.NewScanner(bytes.NewReader(lines)); s.Scan(); {
				event := decode(t, s.Bytes())
				seen[event["type"].(string)] = true
				if err := line.Validate(event); err != nil {
					t.Errorf("%v\n%s", err, s.Bytes())
				}
			}
			for _, want := range tc.types {
				if !seen[want] {
					t.Errorf("the run has no %s event", want)
				}
			}
		})
	}
}

// TestSchemasRefuse makes sure that the schemas say something.
func TestSchemasRefuse(t *testing.T) {
	line := schema(t, "transcript.schema.json")
	const good = `{"v":1,"seq":1,"time":"2026-01-02T03:04:05.6Z","turn":0,"type":"notice","data":{"kind":"loop","text":"x"},"prev":""}`
	if err := line.Validate(decode(t, []byte(good))); err != nil {
		t.Fatalf("the line that is right: %v", err)
	}
	for name, change := range map[string][2]string{
		"another version":          {`"v":1`, `"v":2`},
		"no version":               {`"v":1,`, ``},
		"a version further on":     {`"seq":1`, `"seq":2`},
		"an unknown type":          {`"notice"`, `"novel"`},
		"data of another type":     {`"notice"`, `"tool_call"`},
		"an unknown field in data": {`"text":"x"`, `"text":"x","more":1`},
		"a field of a wrong type":  {`"text":"x"`, `"text":1`},
		"a broken hash":            {`"prev":""`, `"prev":"12"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if err := line.Validate(decode(t, []byte(bad))); err == nil {
			t.Errorf("%s passes: %s", name, bad)
		}
	}
}
