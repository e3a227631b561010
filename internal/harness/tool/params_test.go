package tool

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	b, r := bashTool().params, readFileTool().params
	for name, tc := range map[string]struct {
		p         *params
		raw, want string
		err       string
	}{
		"plain":                {p: b, raw: `{"command":"ls"}`, want: `{"command":"ls"}`},
		"empty":                {p: b, raw: ``, want: `{}`},
		"null":                 {p: b, raw: `null`, want: `{}`},
		"trailing comma":       {p: b, raw: `{"command":"ls",}`, want: `{"command":"ls"}`},
		"brace is missing":     {p: b, raw: `{"command":"ls"`, want: `{"command":"ls"}`},
		"single quotes":        {p: b, raw: `{'command':'ls'}`, want: `{"command":"ls"}`},
		"raw newline":          {p: b, raw: "{\"command\":\"ls\nls\"}", want: `{"command":"ls\nls"}`},
		"fenced":               {p: b, raw: "```json\n{\"command\":\"ls\"}\n```", want: `{"command":"ls"}`},
		"encoded twice":        {p: b, raw: `"{\"command\":\"ls\"}"`, want: `{"command":"ls"}`},
		"number as string":     {p: b, raw: `{"command":"ls","timeout_seconds":"1.5"}`, want: `{"command":"ls","timeout_seconds":1.5}`},
		"bool as string":       {p: b, raw: `{"command":"ls","background":"True"}`, want: `{"background":true,"command":"ls"}`},
		"integer as float":     {p: r, raw: `{"path":"a","offset":5.0}`, want: `{"offset":5,"path":"a"}`},
		"string as number":     {p: r, raw: `{"path":7}`, want: `{"path":"7"}`},
		"null optional":        {p: r, raw: `{"path":"a","offset":null}`, want: `{"path":"a"}`},
		"cut in a string":      {p: b, raw: `{"command":"rm -rf /tmp/x`, err: "break off in the middle of a string"},
		"missing":              {p: r, raw: `{}`, err: `required argument "path" is missing. Nothing was done. Call read_file with {"path": string, "offset": integer (optional), "limit": integer (optional), "column": integer (optional)}.`},
		"null required":        {p: r, raw: `{"path":null}`, err: `"path" is missing`},
		"unknown":              {p: r, raw: `{"path":"a","file":"b"}`, err: `There is no argument "file".`},
		"wrong type":           {p: r, raw: `{"path":["a"]}`, err: `"path" must be of type string, not array`},
		"fraction":             {p: r, raw: `{"path":"a","offset":1.5}`, err: `"offset" must be of type integer, not number`},
		"array":                {p: r, raw: `["a"]`, err: "one JSON object, not array"},
		"words":                {p: r, raw: `please read a.txt`, err: "Nothing was done"},
		"two objects":          {p: r, raw: `{"path":"a"}{"path":"b"}`, err: "Nothing was done"},
		"huge integer":         {p: r, raw: `{"path":"a","offset":1e300}`, err: "must be of type integer"},
		"escaped quote inside": {p: b, raw: `{"command":"echo \"hi\"",}`, want: `{"command":"echo \"hi\""}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.p.parse(tc.raw)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("gave %s, %v, want an error with %q", got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"command":"ls"}`, `{"command":"l`, "```json\n{}\n```", `{'a':1,}`, `"{\"a\":1}"`, `[[[[`, `{"a":{"b":`, "\x00", `{"command":"\ud800"}`} {
		f.Add(s)
	}
	tools := builtin()
	f.Fuzz(func(t *testing.T, raw string) {
		for _, tl := range tools {
			args, err := tl.params.parse(raw)
			if err != nil {
				continue
			}
			var m map[string]any
			if err := json.Unmarshal(args, &m); err != nil {
				t.Fatalf("%q was taken as %q, which is no object: %v", raw, args, err)
			}
			if err := tl.params.resolved.Validate(m); err != nil {
				t.Fatalf("%q was taken as %q, which does not fit: %v", raw, args, err)
			}
		}
	})
}

func TestSpecs(t *testing.T) {
	for _, tl := range builtin() {
		var schema struct {
			Type                 string
			Properties           map[string]struct{ Type, Description string }
			AdditionalProperties *bool
		}
		if err := json.Unmarshal(tl.Spec.Parameters, &schema); err != nil {
			t.Fatalf("%s: %v\n%s", tl.Name(), err, tl.Spec.Parameters)
		}
		if schema.Type != "object" || len(schema.Properties) == 0 || schema.AdditionalProperties == nil || *schema.AdditionalProperties {
			t.Errorf("%s: schema %s", tl.Name(), tl.Spec.Parameters)
		}
		for name, p := range schema.Properties {
			if p.Type == "" || p.Description == "" {
				t.Errorf("%s: parameter %s has no type or description", tl.Name(), name)
			}
		}
		if len(tl.Spec.Description) < 50 {
			t.Errorf("%s: description %q", tl.Name(), tl.Spec.Description)
		}
	}
}

func TestBound(t *testing.T) {
	text := strings.Repeat("0123456789\n", 1000)
	got := bound(text, 2000, "x.log")
	if len(got) > 2000 || !strings.HasPrefix(got, "0123456789\n") || !strings.HasSuffix(got, "0123456789\n") || !strings.Contains(got, "bytes left out; the whole output is in x.log") {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
	if got := bound(strings.Repeat("€", 1000), 1001, ""); len(got) > 1001 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("got %q", got)
	}
}
