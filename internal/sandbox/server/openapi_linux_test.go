package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// openAPI is what the tests read of the document.
type openAPI struct {
	OpenAPI    string `json:"openapi"`
	Paths      map[string]map[string]operation
	Components struct {
		Schemas map[string]json.RawMessage
	}
}

type operation struct {
	OperationID string
	Responses   map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
}

// resolve makes a schema of the document one that stands alone.
func (d *openAPI) resolve(t *testing.T, schema json.RawMessage) *jsonschema.Resolved {
	t.Helper()
	moved := func(s []byte) []byte {
		return bytes.ReplaceAll(s, []byte("#/components/schemas/"), []byte("#/$defs/"))
	}
	defs := map[string]json.RawMessage{}
	for name, s := range d.Components.Schemas {
		defs[name] = moved(s)
	}
	whole, err := json.Marshal(map[string]any{"$defs": defs, "allOf": []any{json.RawMessage(moved(schema))}})
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(whole, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

// wellFormed are requests that succeed, in this order, by the routes of the document.
var wellFormed = []struct{ route, path, body string }{
	{"GET /v1/openapi.json", "", ""},
	{"GET /v1/status", "/v1/status?usage", ""},
	{"PUT /v1/files/{path}", "/v1/files/f", "one\ntwo\n"},
	{"GET /v1/files/{path}", "/v1/files/?list", ""},
	{"HEAD /v1/files/{path}", "/v1/files/f", ""},
	{"POST /v1/lines", "", `{"path":"f"}`},
	{"POST /v1/grep", "", `{"pattern":"t"}`},
	{"POST /v1/glob", "", `{"pattern":"*"}`},
	{"POST /v1/exec", "", `{"shell":"echo x; exit 3"}`},
	{"POST /v1/exec/stream", "", `{"shell":"echo x"}`},
	{"GET /v1/processes", "", ""},
	{"GET /v1/processes/{id}", "/v1/processes/test", ""},
	{"GET /v1/processes/{id}/stream", "/v1/processes/test/stream", ""},
	{"DELETE /v1/files/{path}", "/v1/files/f", ""},
	{"DELETE /v1/processes/{id}", "/v1/processes/test", ""},
	{"DELETE /v1/processes", "", ""},
	{"POST /v1/processes/{id}/window", "/v1/processes/terminal/window", `{"rows":20,"columns":70}`},
	{"POST /v1/processes/{id}/signal", "/v1/processes/terminal/signal", `{"signal":"SIGWINCH"}`},
	{"POST /v1/processes/{id}/stdin", "/v1/processes/terminal/stdin?eof", "x\n"},
	{"GET /v1/backup", "", ""},
	{"PUT /v1/backup", "", "the backup"},
	{"DELETE /v1/owner", "", ""},
	{"POST /v1/shutdown", "", ""},
}

// TestOpenAPI: the document is one, every route of it answers, and as it says.
func TestOpenAPI(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	run(t, socket)
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	var d openAPI
	if err := json.Unmarshal(api.OpenAPI(), &d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("%v, %q", err, d.OpenAPI)
	}
	untried := map[string]bool{}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method, op := range item {
			untried[strings.ToUpper(method)+" "+path] = true
			if ids[op.OperationID] || op.OperationID == "" {
				t.Errorf("operationId %q", op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	var backup string
	for _, tc := range wellFormed {
		method, path, _ := strings.Cut(tc.route, " ")
		op := d.Paths[path][strings.ToLower(method)]
		if delete(untried, tc.route); tc.path != "" {
			path = tc.path
		}
		if strings.HasPrefix(path, "/v1/processes/terminal/window") {
			startTerminal(t, tr)
		}
		body := strings.Replace(tc.body, "the backup", backup, 1)
		status, answer := ask(t, tr, method, path, body, "test")
		if tc.route == "GET /v1/backup" {
			backup = string(answer)
		}
		d.check(t, tc.route, op, status, answer)
		// What is refused is told as the document says, too.
		if !strings.HasPrefix(path, "/v1/files/") {
			continue
		}
		status, answer = ask(t, tr, method, "/v1/files/..%2fx", body, "test")
		if method != http.MethodHead {
			d.checkSchema(t, tc.route, op.Responses["default"].Content["application/json"].Schema, answer)
		}
		if status != http.StatusForbidden {
			t.Errorf("%s outside: %d", tc.route, status)
		}
	}
	for route := range untried {
		t.Errorf("%s is not tried", route)
	}
}

// startTerminal starts a command with the id terminal.
func startTerminal(t *testing.T, tr *http.Transport) {
	t.Helper()
	req := newRequest(t, "POST", "/v1/exec/stream", `{"argv":["sleep","1000"],"window":{"rows":1,"columns":1}}`, "terminal")
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
}

func newRequest(t *testing.T, method, path, body, id string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set(api.HeaderExecID, id)
	return req
}

func ask(t *testing.T, tr *http.Transport, method, path, body, id string) (int, []byte) {
	t.Helper()
	resp, err := tr.RoundTrip(newRequest(t, method, path, body, id))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (d *openAPI) check(t *testing.T, route string, op operation, status int, answer []byte) {
	t.Helper()
	for code, response := range op.Responses {
		if code == "default" {
			continue
		}
		if text := http.StatusText(status); code != jsonNumber(status) {
			t.Errorf("%s answered %d %s, want %s: %s", route, status, text, code, answer)
		}
		if schema := response.Content["application/json"].Schema; len(schema) > 0 {
			d.checkSchema(t, route, schema, answer)
		}
	}
}

func jsonNumber(n int) string {
	data, _ := json.Marshal(n)
	return string(data)
}

func (d *openAPI) checkSchema(t *testing.T, route string, schema json.RawMessage, answer []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Errorf("%s: %v: %s", route, err, answer)
		return
	}
	if err := d.resolve(t, schema).Validate(v); err != nil {
		t.Errorf("%s: %v: %s", route, err, answer)
	}
}
