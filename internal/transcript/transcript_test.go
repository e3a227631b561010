package transcript

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

func fixedNow() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("x", 3600)) }

// write makes a small transcript in a file.
func write(t testing.TB, secrets ...string) (path string, tee *bytes.Buffer, sum Summary) {
	t.Helper()
	path, tee = filepath.Join(t.TempDir(), "deep", "t.jsonl"), &bytes.Buffer{}
	w, err := Create(path, Options{Tee: tee, Secrets: secrets, Now: fixedNow})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range []Data{
		RunStarted{Task: "t", Prompt: "a < b && c"},
		Response{Message: llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{{ID: "1", Name: "bash", Arguments: `{"command":"ls"}`}}}},
		ToolResult{ID: "1", Content: "line\nline\u2028"},
		RunEnded{Reason: "Completed"},
	} {
		if _, err := w.Append(i, d); err != nil {
			t.Fatal(err)
		}
	}
	if tee.Len() != 0 {
		t.Error("the tee was written before Sync")
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	sum = w.Summary()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path, tee, sum
}

func TestWriter(t *testing.T) {
	path, tee, sum := write(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tee.String(), string(data)); diff != "" {
		t.Errorf("file and tee differ: %s", diff)
	}
	digest := sha256.Sum256(data)
	want := Summary{Events: 4, Bytes: int64(len(data)), Digest: "sha256:" + hex.EncodeToString(digest[:])}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Error(diff)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	first := `{"v":1,"seq":1,"time":"2026-01-02T02:04:05.000006Z","turn":0,"type":"run_started","data":{"task":"t","systemPrompt":"","prompt":"a < b && c","models":null,"limits":{}},"prev":""}`
	if diff := cmp.Diff(first, lines[0]); diff != "" {
		t.Error(diff)
	}
	prev := ""
	for i, line := range lines {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != int64(i+1) || e.Prev != prev || (e.V == 1) != (i == 0) {
			t.Errorf("line %d is %+v (%v)", i+1, e, err)
		}
		hashed := sha256.Sum256([]byte(line))
		prev = hex.EncodeToString(hashed[:])
	}
	if _, err := Create(path, Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second Create gives %v", err)
	}
}

func TestWriterErrorsAreFinal(t *testing.T) {
	w := New(Options{Tee: brokenWriter{}})
	if _, err := w.Append(0, RunStarted{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Sync(); !errors.Is(err, errBroken) {
			t.Errorf("Sync gives %v", err)
		}
	}
	if _, err := w.Append(0, RunEnded{}); !errors.Is(err, errBroken) {
		t.Errorf("Append gives %v", err)
	}
	whole := New(Options{})
	if err := errors.Join(whole.Close(), whole.Close()); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := whole.Append(0, RunEnded{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Append to a closed one gives %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestVerify changes a transcript in every way that must be noticed.
func TestVerify(t *testing.T) {
	path, tee, sum := write(t)
	good, _ := os.ReadFile(path)
	if tee.Len() != len(good) {
		t.Fatal("tee")
	}
	lines := func() []string { return strings.SplitAfter(string(good), "\n") }
	tests := map[string]struct {
		data string
		line int64 // of the error; 0 is none
		cut  bool
	}{
		"as it is":              {data: string(good)},
		"empty":                 {line: 1},
		"cut at the end":        {data: string(good[:len(good)-1]), cut: true},
		"cut in the first line": {data: string(good[:10]), cut: true},
		"a letter changed":      {data: strings.Replace(string(good), `"bash"`, `"sh  "`, 1), line: 3},
		"a line left out":       {data: lines()[0] + lines()[2], line: 2},
		"first line left out":   {data: lines()[1] + lines()[2], line: 1},
		"lines swapped":         {data: lines()[0] + lines()[2] + lines()[1], line: 2},
		"a line twice":          {data: lines()[0] + lines()[0], line: 2},
		"not JSON":              {data: lines()[0] + "{\n", line: 2},
		"an empty line":         {data: lines()[0] + "\n" + lines()[1], line: 2},
		"version of the future": {data: strings.Replace(string(good), `"v":1`, `"v":2`, 1), line: 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rep, err := Verify(strings.NewReader(tc.data))
			var broken *Error
			errors.As(err, &broken)
			if (err != nil) != (tc.line > 0) || broken != nil && broken.Line != tc.line || rep.Cut != tc.cut {
				t.Errorf("got %+v, %v; want an error in line %d, cut %t", rep, err, tc.line, tc.cut)
			}
			if name == "as it is" && (rep.Summary != sum || rep.Ended == nil || rep.Ended.Reason != "Completed") {
				t.Errorf("got %+v, want %+v", rep, sum)
			}
		})
	}
}

func TestVerifyEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		events []Data
		want   string
	}{
		"no beginning":       {[]Data{Notice{}}, "begins with notice"},
		"something after it": {[]Data{RunStarted{}, RunEnded{}, Notice{}}, "after the terminal event"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := New(Options{Tee: &out})
			for _, d := range tc.events {
				_, _ = w.Append(0, d)
			}
			_ = w.Sync()
			if _, err := Verify(&out); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestOpen goes on after a cut at every byte of the last line.
func TestOpen(t *testing.T) {
	path, _, _ := write(t)
	good, _ := os.ReadFile(path)
	start := bytes.LastIndexByte(good[:len(good)-1], '\n') + 1
	for at := start; at <= len(good); at += 7 {
		file := filepath.Join(t.TempDir(), "t.jsonl")
		if err := os.WriteFile(file, good[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		events := 0
		w, err := Open(file, Options{}, func(Event) { events++ })
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		if events != 3 {
			t.Errorf("cut at %d: %d events", at, events)
		}
		_, err = w.Append(4, RunEnded{Reason: "Cancelled"})
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		f, _ := os.Open(file)
		rep, err := Verify(f)
		_ = f.Close() // only read
		if err != nil || rep.Events != 4 || rep.Ended == nil || rep.Ended.Reason != "Cancelled" || rep.Summary != w.Summary() {
			t.Errorf("cut at %d: %+v, %v", at, rep, err)
		}
	}
	if err := os.WriteFile(path, bytes.Replace(good, []byte("bash"), []byte("dash"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}, func(Event) {}); err == nil {
		t.Error("a changed transcript was opened")
	}
}

func TestDecodeOfTheUnknown(t *testing.T) {
	if d, err := (Event{Type: "of the future", Data: json.RawMessage(`{}`)}).Decode(); d != nil || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestRedaction(t *testing.T) {
	const secret = `sk-"quoted"\<&>/+key=42`
	nested, _ := json.Marshal(map[string]string{"command": "echo " + secret})
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + secret + "@host"))
	tests := map[string]string{
		"as it is":           "the key is " + secret + ".",
		"in tool arguments":  string(nested),
		"base64":             base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 of a line":   base64.StdEncoding.EncodeToString([]byte(secret + "\n")),
		"base64 for URLs":    base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"inside of base64":   basic,
		"one byte further":   base64.StdEncoding.EncodeToString([]byte("users:" + secret)),
		"in a query":         "https://h/?key=sk-%22quoted%22%5C%3C%26%3E%2F%2Bkey%3D42",
		"right after a line": "x\n" + secret,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := New(Options{Tee: &out, Secrets: []string{secret, "", "abc"}})
			_, _ = w.Append(1, ToolResult{Content: "abc " + text})
			if err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			events, _, err := ReadAll(&out)
			if err != nil {
				t.Fatal(err)
			}
			d, err := events[0].Decode()
			if err != nil {
				t.Fatal(err)
			}
			got := d.(*ToolResult).Content
			if !strings.Contains(got, Redacted) || strings.Contains(got, "quoted") || strings.Contains(got, secret) {
				t.Errorf("%q became %q", text, got)
			}
			if !strings.HasPrefix(got, "abc ") {
				t.Error("a short secret wiped out a word")
			}
			if plain := w.Redact(text); !strings.Contains(plain, Redacted) {
				t.Errorf("Redact gives %q", plain)
			}
		})
	}
}

// TestRedactionKeepsJSONWhole: secrets that look like parts of the JSON itself.
func TestRedactionKeepsJSONWhole(t *testing.T) {
	for name, tc := range map[string]struct{ secret, text, want string }{
		"begins inside an escape": {secret: "npassword", text: "x\npassword npassword", want: "x\npassword [redacted]"},
		"a number":                {secret: "123456", text: "is 123456", want: "is [redacted]"},
		"a field name":            {secret: "content", text: "the content", want: "the [redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := New(Options{Tee: &out, Secrets: []string{tc.secret}})
			if _, err := w.Append(1, ToolResult{Content: tc.text, DurationMillis: 123456}); err != nil {
				t.Fatal(err)
			}
			_ = w.Sync()
			events, _, err := ReadAll(&out)
			if err != nil {
				t.Fatal(err)
			}
			d, err := events[0].Decode()
			if err != nil {
				t.Fatal(err)
			}
			if got := *d.(*ToolResult); got.Content != tc.want || got.DurationMillis != 123456 {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
		})
	}
}

// FuzzRead: no input makes the reader panic, and what it accepts is accepted
// again after a rewrite by Open.
func FuzzRead(f *testing.F) {
	path, _, _ := write(f)
	good, _ := os.ReadFile(path)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("{}\n"))
	f.Add([]byte("null\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, err := Verify(bytes.NewReader(data))
		if err == nil && rep.Bytes > int64(len(data)) {
			t.Errorf("%d bytes of %d", rep.Bytes, len(data))
		}
		events, cut, err := ReadAll(bytes.NewReader(data))
		if err == nil && !cut && len(data) > 0 && len(events) == 0 {
			t.Error("something was read as nothing")
		}
		for _, e := range events {
			_, _ = e.Decode()
		}
	})
}

// FuzzRedact: the result is valid JSON and the secret is in none of its strings.
func FuzzRedact(f *testing.F) {
	f.Add("secret", "a secret b")
	f.Add(`"}{\n`, `\\n"}{\n`)
	f.Fuzz(func(t *testing.T, secret, text string) {
		secret = strings.ToValidUTF8(strings.TrimSpace(secret), "")
		text = strings.ToValidUTF8(text, "")
		if len(secret) < minSecretBytes || strings.Contains(Redacted, secret) || strings.Contains(secret, "[") || strings.Contains(secret, "]") {
			t.Skip()
		}
		data, err := json.Marshal(ToolResult{Content: text})
		if err != nil {
			t.Skip()
		}
		out, err := NewRedactor([]string{secret}).JSON(data)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s is no JSON: %v", out, err)
		}
		for _, v := range got {
			if s, ok := v.(string); ok && strings.Contains(s, secret) {
				t.Errorf("%q is still in %q", secret, s)
			}
		}
	})
}
