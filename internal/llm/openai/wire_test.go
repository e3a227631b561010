package openai

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sampan-dev/sampan/internal/llm"
)

const helloChunks = `{"choices":[{"index":0,"delta":{"content":"Hel"}}]}|{"choices":[{"index":0,"delta":{"content":"lo"}}]}|{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`

// helloWith joins the chunks of "Hello", each between two texts.
func helloWith(before, after string) string {
	var b strings.Builder
	for _, c := range strings.Split(helloChunks, "|") {
		b.WriteString(before + c + after)
	}
	return b.String()
}

var helloWhole = message(`"content":"Hello"`, "stop")

// oddReplies are right, whatever they look like: all of them say "Hello".
var oddReplies = map[string]string{
	"CR":                               helloWith("data: ", "\r\r") + "data: [DONE]\r\r",
	"CR LF, no space":                  helloWith("data:", "\r\n\r\n") + "data:[DONE]\r\n\r\n",
	"CR in the middle of LF":           helloWith("data: ", "\r\n\r"),
	"byte order mark":                  "\xef\xbb\xbf" + helloWith("data: ", "\n\n"),
	"byte order mark, whole":           "\xef\xbb\xbf" + helloWhole,
	"no blank lines":                   helloWith("data: ", "\n"),
	"no last line end":                 strings.TrimRight(helloWith("data: ", "\n\n"), "\n"),
	"id, event, retry":                 helloWith("id: 1\nevent: message\nretry: 3000\ndata: ", "\n\n"),
	"data over several lines":          strings.ReplaceAll(helloWith("data: ", "\n\n"), `"choices":`, "\"choices\":\ndata: "),
	"data over lines of CR LF":         strings.ReplaceAll(helloWith("data: ", "\r\n\r\n"), `"choices":`, "\"choices\":\r\ndata: "),
	"done in small letters":            helloWith("data: ", "\n\n") + "data: [done]\n\n",
	"done in quotes":                   helloWith("data: ", "\n\n") + "data: \"[DONE]\"\n\n",
	"done without data":                helloWith("data: ", "\n\n") + "[DONE]\n",
	"rubbish after done":               helloWith("data: ", "\n\n") + "data: [DONE]\n\n<html>",
	"events in one line":               "data: " + strings.ReplaceAll(helloChunks, "|", " ") + "\n\n",
	"events glued with their names":    strings.ReplaceAll("data: "+helloChunks, "|", "data: ") + "\n\n",
	"JSON lines":                       strings.ReplaceAll(helloChunks, "|", "\n"),
	"a list":                           "[" + strings.ReplaceAll(helloChunks, "|", ",\n") + "]",
	"whole, where a stream was asked":  helloWhole,
	"whole, in an event":               "data: " + helloWhole + "\n\n",
	"whole, over lines":                strings.ReplaceAll(helloWhole, ",", ",\n\n  "),
	"whole, after spaces":              strings.Repeat(" \n\n", 5000) + helloWhole,
	"whole, after comments":            strings.Repeat(": keep-alive\n\n", 50) + strings.ReplaceAll(helloWhole, ",", ",\n"),
	"comments":                         ": OPENROUTER PROCESSING\n\n" + strings.Repeat(":\n", 20000) + helloWith(":x\ndata: ", "\n\n:y\n\n"),
	"pings by name":                    helloWith("event: ping\ndata: {\"type\": \"ping\"}\n\ndata: ", "\n\n"),
	"pings of words":                   helloWith("event: keep-alive\ndata: still here\n\ndata: ", "\n\n"),
	"pings that are words":             helloWith("data: ping\n\ndata: :keepalive\n\ndata: ", "\n\n"),
	"pings of nothing":                 helloWith("data:\n\ndata: null\n\ndata: {}\n\ndata: ", "\n\n"),
	"NaN":                              strings.ReplaceAll(helloWith("data: ", "\n\n"), `"index":0`, `"index":0,"logprobs":[NaN,-Infinity,Infinity]`),
	"raw control characters":           "data: {\"x\":\"a\tb\x01\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n",
	"fields twice":                     `data: {"choices":[],"choices":[{"index":0,"delta":{"content":"no","content":"Hello"},"finish_reason":null,"finish_reason":"stop"}]}` + "\n\n",
	"usage before choices, error null": "data: {\"choices\":[],\"error\":null,\"usage\":{\"prompt_tokens\":1}}\n\n" + helloWith("data: ", "\n\n"),
	"success and an empty list":        strings.Replace(helloWhole, "{", `{"success":true,"errors":[],"messages":[],`, 1),
	"a status that is fine":            strings.Replace(helloWhole, "{", `{"base_resp":{"status_code":0,"status_msg":"success"},`, 1),
}

// TestOddReplies reads them streamed and not, whatever their Content-Type, and in
// pieces of one byte.
func TestOddReplies(t *testing.T) {
	for name, body := range oddReplies {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"text/event-stream", "application/json", "text/plain; charset=utf-8", ""} {
				bothForms(t, func(t *testing.T, q Quirks) {
					p := serve(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header()["Content-Type"] = []string{kind}
						send(w, body)
					}, Config{Quirks: q})
					if got := complete(t, p, hello()); got.Message.Content != "Hello" || got.FinishReason != llm.FinishStop {
						t.Errorf("%q: %+v", kind, got)
					}
				})
			}
			got, err := read(oneByte(body))
			if err != nil || got.Message.Content != "Hello" {
				t.Errorf("byte by byte: %+v, %v", got, err)
			}
		})
	}
}

func oneByte(body string) io.Reader { return &oneByteReader{strings.NewReader(body)} }

type oneByteReader struct{ r io.Reader }

func (r *oneByteReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 1)]) }

// TestErrorsInTheMiddle: an error is one in whichever spelling, and the half of a
// reply before it is none.
func TestErrorsInTheMiddle(t *testing.T) {
	half := "data: " + delta(`"content":"half"`) + "\n\n"
	for name, tc := range map[string]struct {
		then  string
		want  llm.Category
		words string
	}{
		"error object":              {"data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}\n\n", llm.Overloaded, "Overloaded"},
		"Anthropic":                 {"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}}\n\n", llm.RateLimited, "slow"},
		"event error, plain words":  {"event: error\ndata: upstream connect error\n\n", llm.Overloaded, "upstream connect error"},
		"event error, no words":     {"event: error\n\n", llm.Overloaded, "without words"},
		"error line":                {"error: {\"message\":\"Internal server error\",\"status\":500}\n\n", llm.Overloaded, "Internal server error"},
		"plain JSON line":           {"{\"error\":{\"code\":503,\"message\":\"Backend is gone\"}}\n", llm.Overloaded, "Backend is gone"},
		"JSON in quotes":            {"data: \"{\\\"error\\\":\\\"boom\\\"}\"\n\n", llm.Overloaded, "boom"},
		"words where JSON was due":  {"data: Error: too many requests\n\n", llm.RateLimited, "too many requests"},
		"a page":                    {"<html><head><title>502 Bad Gateway</title></head></html>\n", llm.Overloaded, "502 Bad Gateway"},
		"words and the end":         {"upstream connect error or disconnect/reset before headers\n", llm.Overloaded, "reset before headers"},
		"finish reason error":       {"data: " + finish("error") + "\n\ndata: [DONE]\n\n", llm.Overloaded, "finish reason error"},
		"finish reason and error":   {`data: {"error":{"code":"server_error","message":"Provider disconnected"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}` + "\n\n", llm.Overloaded, "Provider disconnected"},
		"FastAPI":                   {"data: {\"detail\":\"CUDA out of memory\"}\n\n", llm.Overloaded, "CUDA out of memory"},
		"vLLM":                      {"data: {\"object\":\"error\",\"message\":\"maximum context length is 4096 tokens\",\"code\":400}\n\ndata: [DONE]\n\n", llm.ContextLength, "4096"},
		"DashScope":                 {"data: {\"code\":\"Throttling.RateQuota\",\"message\":\"Requests rate limit exceeded\",\"request_id\":\"1\"}\n\n", llm.RateLimited, "Requests rate limit exceeded"},
		"a list of errors":          {"data: {\"errors\":[{\"message\":\"AiError: Capacity temporarily exceeded\"}],\"success\":false}\n\n", llm.Overloaded, "Capacity"},
		"Gemini":                    {"data: [{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"q\"}}]\n\n", llm.RateLimited, "q"},
		"a filter, in the choice":   {`data: {"choices":[{"delta":{},"finish_reason":"error","error":{"code":"content_filter","message":"flagged"}}]}` + "\n\n", llm.ContentFilter, "flagged"},
		"nothing more":              {"", llm.TruncatedStream, "ended before"},
		"only comments more":        {": a\n\n: b\n\n", llm.TruncatedStream, "ended before"},
		"the end mark and no words": {"data: {\"error\":{}}\n\n", llm.TruncatedStream, "ended before"},
	} {
		t.Run(name, func(t *testing.T) {
			e := failure(t, serve(t, says(half+tc.then), Config{}), hello())
			if e.Category != tc.want || e.Retryable != passes(tc.want) || !strings.Contains(e.Message, tc.words) {
				t.Errorf("%s (%v): %s, want %s with %q", e.Category, e.Retryable, e.Message, tc.want, tc.words)
			}
			if e.Usage.InputTokens == 0 {
				t.Error("the half costs nothing")
			}
		})
	}
}

// TestUnaskedCompression: proxies compress what nobody asked for, and say so or not.
func TestUnaskedCompression(t *testing.T) {
	plain := []byte(helloWith("data: ", "\n\n") + "data: [DONE]\n\n")
	packed := map[string][]byte{"": plain}
	pack := func(name string, w io.WriteCloser, b *bytes.Buffer, data []byte) {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		packed[name] = b.Bytes()
	}
	var gz, zl, fl, br, zs, twice bytes.Buffer
	pack("gzip", gzip.NewWriter(&gz), &gz, plain)
	pack("zlib", zlib.NewWriter(&zl), &zl, plain)
	raw, err := flate.NewWriter(&fl, 5)
	if err != nil {
		t.Fatal(err)
	}
	pack("flate", raw, &fl, plain)
	pack("br", brotli.NewWriter(&br), &br, plain)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	pack("zstd", z, &zs, plain)
	pack("gzip twice", gzip.NewWriter(&twice), &twice, packed["gzip"])
	for name, tc := range map[string]struct{ header, body string }{
		"gzip": {"gzip", "gzip"}, "x-gzip": {"x-gzip", "gzip"}, "gzip, unnamed": {"", "gzip"}, "deflate": {"deflate", "zlib"},
		"deflate, raw": {"deflate", "flate"}, "deflate, unnamed": {"", "zlib"}, "brotli": {"br", "br"}, "zstd": {"zstd", "zstd"}, "zstd, unnamed": {"", "zstd"},
		"twice": {"gzip, gzip", "gzip twice"}, "named and plain": {"gzip", ""}, "named brotli and plain": {"br", ""}, "identity": {"identity", ""},
	} {
		t.Run(name, func(t *testing.T) {
			handler := func(status int) http.HandlerFunc {
				return func(w http.ResponseWriter, _ *http.Request) {
					if tc.header != "" {
						w.Header().Set("Content-Encoding", tc.header)
					}
					w.WriteHeader(status)
					if _, err := w.Write(packed[tc.body]); err != nil {
						t.Error(err)
					}
				}
			}
			if got := complete(t, serve(t, handler(200), Config{}), hello()); got.Message.Content != "Hello" {
				t.Errorf("%+v", got)
			}
			// The words of an error are read, too, whatever they are.
			if e := failure(t, serve(t, handler(400), Config{}), hello()); !strings.Contains(e.Message, "data:") && !strings.Contains(e.Message, "stop") {
				t.Errorf("%s", e.Message)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			if _, err := w.Write(packed["gzip"][:40]); err != nil {
				t.Error(err)
			}
		}, Config{})
		if e := failure(t, p, hello()); e.Category != llm.TruncatedStream || !e.Retryable {
			t.Errorf("%+v", e)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "compress")
			send(w, "\x1f\x9d\x90\x80")
		}, Config{})
		if e := failure(t, p, hello()); !strings.Contains(e.Message, "compress") {
			t.Errorf("%+v", e)
		}
	})
}

// An event that is compressed and flushed is read when it comes, not when the next
// one does.
func TestCompressedStreamIsReadAsItComes(t *testing.T) {
	seen := make(chan struct{})
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		send(z, "data: "+delta(`"content":"Hello"`)+"\n\ndata: "+finish("stop")+"\n\ndata: [DONE]\n\n")
		z.Flush() //nolint:errcheck // then the test fails
		flush(w)
		select {
		case <-seen:
		case <-r.Context().Done():
		}
	}, Config{TotalTimeout: 20 * time.Second})
	got := complete(t, p, hello())
	close(seen)
	if got.Message.Content != "Hello" {
		t.Errorf("%+v", got)
	}
}

func TestCharsets(t *testing.T) {
	const said = "Grüße, 世界"
	utf16LE := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	event := func(text string) string { return "data: " + message(`"content":"`+text+`"`, "stop") + "\n\n" }
	for name, tc := range map[string]struct{ kind, body, want string }{
		"UTF-8 called Latin-1": {"text/event-stream; charset=ISO-8859-1", event(said), said},
		"Latin-1":              {"text/event-stream; charset=iso-8859-1", event("Gr\xfc\xdfe"), "Grüße"},
		"GBK":                  {"application/json;charset=gbk", event("\xca\xc0\xbd\xe7"), "世界"},
		"UTF-16":               {"application/json; charset=utf-16", utf16LE(message(`"content":"`+said+`"`, "stop")), said},
		"UTF-16, unnamed":      {"", utf16LE(message(`"content":"`+said+`"`, "stop")), said},
		"not UTF-8":            {"application/json", event("a\xffb"), "a\uFFFDb"},
		"no such charset":      {"application/json; charset=klingon", event("a\xffb"), "a\uFFFDb"},
	} {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			send(w, tc.body)
		}, Config{})
		if got := complete(t, p, hello()); got.Message.Content != tc.want {
			t.Errorf("%s: %q, want %q", name, got.Message.Content, tc.want)
		}
	}
}

// TestRedirects: the request goes on where it was moved on the same host, and the
// key never to another.
func TestRedirects(t *testing.T) {
	var stolen atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer other.Close()
	for name, tc := range map[string]struct {
		status   int
		location string
		follows  bool
	}{
		"308, a path":         {308, "/v2/chat/completions", true},
		"307, a path":         {307, "/v2/chat/completions", true},
		"307, relative":       {307, "../../v2/chat/completions", true},
		"308, another host":   {308, other.URL + "/v2/chat/completions", false},
		"307, no scheme":      {307, strings.TrimPrefix(other.URL, "http:") + "/v2", false},
		"308, with a user":    {308, "http://user:pw@HOST/v2", false},
		"302":                 {302, "/v2/chat/completions", false},
		"303":                 {303, "/v2/chat/completions", false},
		"307, to itself":      {307, "/v1/chat/completions", false},
		"307, without a host": {307, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies, keys []string
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				bodies, keys = append(bodies, string(body)), append(keys, r.Header.Get("Authorization"))
				if r.URL.Path == "/v2/chat/completions" {
					says(helloWhole)(w, r)
					return
				}
				w.Header().Set("Location", strings.ReplaceAll(tc.location, "HOST", r.Host))
				w.WriteHeader(tc.status)
			}, Config{APIKey: "the-key-of-the-test"})
			resp, err := p.Complete(t.Context(), hello())
			if tc.follows {
				if err != nil || resp.Message.Content != "Hello" || len(bodies) != 2 || bodies[0] != bodies[1] || keys[1] != "Bearer the-key-of-the-test" {
					t.Errorf("%+v, %v, %d requests", resp, err, len(bodies))
				}
				return
			}
			if e := failure(t, p, hello()); e.Category != llm.ProviderUnsupported || !strings.Contains(e.Message, "redirect") {
				t.Errorf("%+v", e)
			}
		})
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("another host got %d requests", n)
	}
}

// A server may say often that it is working, and add trailers.
func TestInformationalAnswersAndTrailers(t *testing.T) {
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 30 {
			w.WriteHeader(http.StatusProcessing)
		}
		w.Header().Set("Trailer", "X-Sum")
		says(events(delta(`"content":"Hello"`), finish("stop")))(w, r)
		w.Header().Set("X-Sum", "1")
	}, Config{})
	if got := complete(t, p, hello()); got.Message.Content != "Hello" {
		t.Errorf("%+v", got)
	}
}

// Before the model's first word the server may be silent for longer than later,
// also when it has sent a role or a ping.
func TestFirstByteTimeout(t *testing.T) {
	cfg := Config{FirstByteTimeout: 10 * time.Second, IdleTimeout: 50 * time.Millisecond}
	slow := func(begin string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			readAll(r)
			send(w, begin)
			flush(w)
			select {
			case <-time.After(6 * cfg.IdleTimeout):
				says(helloWith("data: ", "\n\n"))(w, r)
			case <-r.Context().Done():
			}
		}
	}
	for name, begin := range map[string]string{
		"nothing": "", "a comment": ": ok\n\n", "a role": "data: " + delta(`"role":"assistant","content":""`) + "\n\n", "a ping": "data: {\"type\":\"ping\"}\n\n",
	} {
		if got := complete(t, serve(t, slow(begin), cfg), hello()); got.Message.Content != "Hello" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	e := failure(t, serve(t, slow("data: "+delta(`"content":"w"`)+"\n\n"), cfg), hello())
	if e.Category != llm.Timeout || !e.Retryable || !strings.Contains(e.Message, fmt.Sprint(cfg.IdleTimeout)) {
		t.Errorf("%+v", e)
	}
}

// A page that a gateway sends with status 200 about the server behind it passes.
func TestPagesWith200(t *testing.T) {
	for page, want := range map[string]llm.Category{
		"<!DOCTYPE html><title>Sign in</title>":                  llm.ProviderUnsupported,
		"<html><h1>503 Service Unavailable</h1>":                 llm.Overloaded,
		"\n<html><title>Too Many Requests</title></html>":        llm.RateLimited,
		"<html><body><h1>Model is overloaded</h1></body></html>": llm.Overloaded,
	} {
		if e := failure(t, serve(t, says(page), Config{}), hello()); e.Category != want || e.Retryable != (want != llm.ProviderUnsupported) {
			t.Errorf("%s: %+v", page, e)
		}
	}
}
