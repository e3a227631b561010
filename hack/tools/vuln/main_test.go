package main

import (
	"bytes"
	"strings"
	"testing"
)

const written = `{"config": {"scanner_name": "govulncheck"}}
{"osv": {"id": "GO-1", "summary": "Bad things in a module"}}
{"osv": {"id": "GO-2", "summary": "Bad things in Go"}}
{"osv": {"id": "GO-3", "summary": "Not called"}}
{"finding": {"osv": "GO-3", "trace": [{"module": "example.com/c", "version": "v1.0.0", "package": "example.com/c"}]}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.1.0"}]}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.1.0", "package": "example.com/a", "function": "F"}, {"module": "m", "package": "m/cmd", "function": "main"}]}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.1.0", "package": "example.com/a", "function": "G"}]}}
`

const ofGo = `{"finding": {"osv": "GO-2", "trace": [{"module": "stdlib", "version": "go1.26.8", "package": "net/http", "function": "Get"}]}}
`

func TestWhatIsReachedIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		written string
		strict  bool
		good    bool
		want    string
	}{
		"nothing":             {"", false, true, "no known vulnerability is reached\n"},
		"in a module":         {written, false, false, "error: GO-1: Bad things in a module: example.com/a v1.1.0, fixed in v1.2.0, reached from m/cmd; https://pkg.go.dev/vuln/GO-1\n"},
		"in Go":               {ofGo, false, true, "warning: GO-2: : stdlib go1.26.8, there is no fix yet, reached from net/http; https://pkg.go.dev/vuln/GO-2\n"},
		"in Go, and strictly": {ofGo, true, false, "error: GO-2: "},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := read(strings.NewReader(c.written))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if good := report(&out, found, c.strict); good != c.good || !strings.HasPrefix(out.String(), c.want) {
				t.Errorf("good is %v, and it says %q, want %q", good, out.String(), c.want)
			}
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("it says %d lines", n)
			}
		})
	}
}
