package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/testing/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hello  = "hello"
	digest = record.Digest("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
)

// serve gives a client of a server that answers with h, and the client's config.
func serve(t *testing.T, h http.HandlerFunc) (*client.Client, client.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	config := client.Config{
		URL: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		TokenFile: filepath.Join(t.TempDir(), "token"), Namespace: "team", Task: "fix", UID: "u-1",
	}
	if err := os.WriteFile(config.TokenFile, []byte("secret-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return connect(t, config), config
}

func connect(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func problem(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", wire.JSON)
	w.WriteHeader(p.Status())
	_ = json.NewEncoder(w).Encode(p)
}

// soon is a context for what must not take long.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const task = "/v1/namespaces/team/agenttasks/fix/u-1"

// Each call is the request that the wire says, and its answer comes back.
func TestCalls(t *testing.T) {
	checkpoint := record.Checkpoint{Turn: 3, Tree: []record.Digest{digest}, Time: time.Unix(5, 0).UTC()}
	output := record.Output{Name: "a/b c", Digest: digest}
	for name, row := range map[string]struct {
		want   string // method, path and body
		answer any    // nil is 204
		call   func(ctx context.Context, c *client.Client) (any, error)
		back   any
	}{
		"append": {want: "POST " + task + "/log?first=7 a\nb\n", call: func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.Append(ctx, 7, []byte("a\nb\n"))
		}},
		"log": {want: "GET " + task + "/log?from=7 ", answer: []byte("x\ny\n"), back: "x\ny\n", call: func(ctx context.Context, c *client.Client) (any, error) {
			r, err := c.Log(ctx, 7)
			if err != nil {
				return nil, err
			}
			all, err := io.ReadAll(r)
			return string(all), errors.Join(err, r.Close())
		}},
		"missing": {want: "POST " + task + `/chunks/missing {"chunks":["` + string(digest) + `"]}`, answer: wire.Missing{Chunks: []record.Digest{digest}},
			back: []record.Digest{digest}, call: func(ctx context.Context, c *client.Client) (any, error) {
				return c.Missing(ctx, []record.Digest{digest})
			}},
		"put chunk": {want: "PUT " + task + "/chunks/" + string(digest) + " hello", call: func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.PutChunk(ctx, digest, []byte(hello))
		}},
		"chunk": {want: "GET " + task + "/chunks/" + string(digest) + " ", answer: []byte(hello), back: []byte(hello),
			call: func(ctx context.Context, c *client.Client) (any, error) { return c.Chunk(ctx, digest) }},
		"commit": {want: "PUT " + task + "/checkpoints/3 " + marshal(checkpoint), call: func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.Commit(ctx, checkpoint)
		}},
		"latest": {want: "GET " + task + "/checkpoints/latest ", answer: checkpoint, back: checkpoint,
			call: func(ctx context.Context, c *client.Client) (any, error) { return c.Latest(ctx) }},
		"put output": {want: "PUT " + task + "/outputs/a%2Fb%20c " + marshal(output), call: func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.PutOutput(ctx, output)
		}},
		"outputs": {want: "GET " + task + "/outputs ", answer: wire.OutputList{Items: []record.Output{output}}, back: []record.Output{output},
			call: func(ctx context.Context, c *client.Client) (any, error) { return c.Outputs(ctx) }},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				got := r.Method + " " + r.URL.RequestURI() + " " + string(body)
				if err != nil || got != row.want || r.Header.Get("Authorization") != "Bearer secret-1" {
					t.Errorf("asked %q with %v, want %q", got, r.Header, row.want)
				}
				switch answer := row.answer.(type) {
				case nil:
					w.WriteHeader(http.StatusNoContent)
				case []byte:
					_, _ = w.Write(answer)
				default:
					_ = json.NewEncoder(w).Encode(answer)
				}
			})
			back, err := row.call(soon(t), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.back, back); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func marshal(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// What will not pass is an error at once, of its kind and with words.
func TestRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		is     error
		words  string
	}{
		"not found": {func(w http.ResponseWriter, _ *http.Request) {
			problem(w, wire.Problem{Code: wire.CodeNotFound, Message: "none"})
		}, record.ErrNotFound, "none"},
		"fenced": {func(w http.ResponseWriter, _ *http.Request) {
			problem(w, wire.Problem{Code: wire.CodeFenced, Message: "another pod"})
		}, record.ErrFenced, "another pod"},
		"409 of nobody":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) }, record.ErrFenced, "409"},
		"404 of nobody":       {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, nil, "404"},
		"403":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil, "for the runner of its task alone"},
		"no JSON":             {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, nil, "gives no JSON"},
		"more than an answer": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}{}") }, nil, "more than one answer"},
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), wire.MaxJSON+1))
		}, nil, "gives more than"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.test/", http.StatusTemporaryRedirect)
		}, nil, "307"},
		"long words": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}, nil, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				row.answer(w, r)
			})
			_, err := c.Latest(soon(t))
			if err == nil || !strings.Contains(err.Error(), row.words) || len(err.Error()) > 1000 {
				t.Errorf("got %v, want words %q", err, row.words)
			}
			for _, is := range []error{record.ErrNotFound, record.ErrFenced, record.ErrUnavailable} {
				if errors.Is(err, is) != (is == row.is) { //nolint:errorlint // a row's own
					t.Errorf("%v is %v: %v", err, is, errors.Is(err, is))
				}
			}
			if calls.Load() != 1 {
				t.Errorf("it was asked %d times", calls.Load())
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the error has the token: %v", err)
			}
		})
	}
}

// What may pass is tried again, and told to who wants to know.
func TestRepeats(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"unavailable": func(w http.ResponseWriter, _ *http.Request) {
			problem(w, wire.Problem{Code: wire.CodeUnavailable, Message: "full"})
		},
		"429":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"502":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"500":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "he")
			panic(http.ErrAbortHandler)
		},
		"cut chunked answer": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, hello)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) <= 2 {
					fault(w, r)
					return
				}
				_, _ = io.WriteString(w, hello)
			})
			var mu sync.Mutex
			var told []string
			tell := func(s string) { mu.Lock(); told = append(told, s); mu.Unlock() }
			config.OnWait = func(err error) {
				if !errors.Is(err, record.ErrUnavailable) {
					t.Errorf("it waits because of %v", err)
				}
				tell("wait")
			}
			config.OnGoOn = func() { tell("go on") }
			data, err := connect(t, config).Chunk(soon(t), digest)
			if err != nil || string(data) != hello {
				t.Fatalf("%q, %v", data, err)
			}
			if diff := cmp.Diff([]string{"wait", "go on"}, told); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A server that is away is waited for until the context ends, which the error says.
func TestUnavailableUntilTheEnd(t *testing.T) {
	c, config := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		problem(w, wire.Problem{Code: wire.CodeUnavailable, Message: "full"})
	})
	errGivenUp := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	config.OnWait = func(error) { cancel(errGivenUp) }
	for i, c := range []*client.Client{connect(t, config), c} { // one waits, the other is called after
		err := c.Append(ctx, 1, []byte("x\n"))
		if !errors.Is(err, record.ErrUnavailable) || !errors.Is(err, errGivenUp) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// A server that says nothing is left alone when the context ends.
func TestSlowServer(t *testing.T) {
	for name, begin := range map[string]string{"no answer": "", "half of one": "he"} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 10)
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if begin != "" {
					_, _ = io.WriteString(w, begin)
					_ = http.NewResponseController(w).Flush()
				}
				asked <- struct{}{}
				<-r.Context().Done()
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := c.Chunk(ctx, digest); !errors.Is(err, context.Canceled) || !errors.Is(err, record.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What answers with the certificate of another authority gets no token. It is asked
// again: a server whose certificate is being renewed is soon itself.
func TestOnlyItsCAIsTrusted(t *testing.T) {
	_, config := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the token was shown to a stranger") })
	file := filepath.Join(t.TempDir(), "ca.pem")
	testca.Certificate(t, file)
	other, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config.CA = other
	ctx, cancel := context.WithCancel(t.Context())
	var said string
	config.OnWait = func(err error) { said = err.Error(); cancel() }
	_, err = connect(t, config).Latest(ctx)
	if !errors.Is(err, record.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("it does not wait: %v", err)
	}
	if !strings.Contains(said, "is not the server of the record") {
		t.Errorf("waits with the words %q", said)
	}
}

// A token that is not known may be known soon, or be renewed: it is no refusal.
func TestUnknownTokenIsWaitedFor(t *testing.T) {
	var calls atomic.Int32
	_, config := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 3 {
			problem(w, wire.Problem{Code: wire.CodeUnauthorized, Message: "nobody knows it"})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	var said string
	goesOn := 0
	config.OnWait = func(err error) { said = err.Error() }
	config.OnGoOn = func() { goesOn++ }
	if err := connect(t, config).Append(soon(t), 1, []byte("x\n")); err != nil {
		t.Fatal(err)
	}
	if goesOn != 1 || !strings.Contains(said, "the token for the record is not valid at the moment") {
		t.Errorf("went on %d times, waiting with the words %q", goesOn, said)
	}
}

func TestTokenIsReadAgain(t *testing.T) {
	var shown []string
	c, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNoContent)
	})
	for _, token := range []string{"one", "two\n"} {
		if err := os.WriteFile(config.TokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Append(soon(t), 1, []byte("x\n")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"Bearer one", "Bearer two"}, shown); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, token := range map[string]string{"empty": "\n", "two lines": "a\nb", "too long": strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(config.TokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Append(soon(t), 1, []byte("x\n")); err == nil || !strings.Contains(err.Error(), "has no token") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Chunks are what they are said to be, on both ways.
func TestDigests(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			t.Error("a chunk of another digest was sent")
		}
		_, _ = io.WriteString(w, "hellO")
	})
	var corrupt *record.CorruptError
	if data, err := c.Chunk(soon(t), digest); data != nil || !errors.As(err, &corrupt) {
		t.Errorf("%q, %v", data, err)
	}
	if err := c.PutChunk(soon(t), digest, []byte("hellO")); err == nil {
		t.Error("it was stored")
	}
	if err := c.PutChunk(soon(t), digest, make([]byte, record.MaxChunk+1)); err == nil {
		t.Error("too large a chunk was stored")
	}
}

func TestMissingIsAskedInParts(t *testing.T) {
	var asked []int
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var q wire.Missing
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked = append(asked, len(q.Chunks))
		_ = json.NewEncoder(w).Encode(wire.Missing{Chunks: q.Chunks[:1]})
	})
	chunks := make([]record.Digest, wire.MaxMissing+3)
	for i := range chunks {
		chunks[i] = record.Digest(fmt.Sprintf("sha256:%064x", i))
	}
	missing, err := c.Missing(soon(t), chunks)
	if err != nil || len(missing) != 2 || missing[1] != chunks[wire.MaxMissing] {
		t.Errorf("%v, %v", missing, err)
	}
	if diff := cmp.Diff([]int{wire.MaxMissing, 3}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c, _ = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.Missing{Chunks: chunks[:1]})
	})
	if _, err := c.Missing(soon(t), []record.Digest{digest}); err == nil {
		t.Error("it misses what it was not asked for")
	}
}

// A log that is cut at any place is read to its end, every byte once.
func TestLogGoesOnWhereItWasCut(t *testing.T) {
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("%d %s\n", i+1, strings.Repeat("x", i*7%300)))
	}
	answers := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var from int
		if _, err := fmt.Sscan(r.URL.Query().Get(wire.From), &from); err != nil {
			t.Error(err)
		}
		rest := strings.Join(lines[from-1:], "")
		if answers++; answers%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if n := 3000 + answers*37; n < len(rest) {
			_, _ = io.WriteString(w, rest[:n])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, rest)
	})
	r, err := c.Log(soon(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // a test's
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Join(lines[2:], ""), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if answers < 5 {
		t.Errorf("it was cut %d times only", answers)
	}
}

func TestLogThatEndsWithinALine(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one\ntw") })
	r, err := c.Log(soon(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // a test's
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	_, good := serve(t, func(http.ResponseWriter, *http.Request) {})
	for name, change := range map[string]func(*client.Config){
		"http":           func(c *client.Config) { c.URL = "http://x" },
		"a path":         func(c *client.Config) { c.URL = "https://x/y" },
		"no host":        func(c *client.Config) { c.URL = "https://" },
		"a user":         func(c *client.Config) { c.URL = "https://u:p@x" },
		"no CA":          func(c *client.Config) { c.CA = []byte("none") },
		"no namespace":   func(c *client.Config) { c.Namespace = "" },
		"a UID upwards":  func(c *client.Config) { c.UID = ".." },
		"a name of dots": func(c *client.Config) { c.Task = "." },
	} {
		config := good
		change(&config)
		if _, err := client.New(config); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
