package openai

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// bothForms runs a test streamed and not.
func bothForms(t *testing.T, test func(t *testing.T, q Quirks)) {
	t.Run("streamed", func(t *testing.T) { test(t, Quirks{}) })
	t.Run("whole", func(t *testing.T) { test(t, Quirks{NoStream: true}) })
}

func TestStatuses(t *testing.T) {
	apiError := func(code, message string) string {
		return fmt.Sprintf(`{"error":{"message":%q,"type":"x","code":%q,"param":null}}`, message, code)
	}
	cases := map[string]struct {
		status int
		body   string
		want   llm.Category
		retry  bool
		words  string
	}{
		"unauthorized":           {401, apiError("invalid_api_key", "Wrong."), llm.CredentialConfig, false, "Wrong."},
		"forbidden, no body":     {403, "", llm.CredentialConfig, false, "403 Forbidden"},
		"a wrong key as 400":     {400, `[{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT"}}]`, llm.CredentialConfig, false, "API key not valid"},
		"no such model":          {404, apiError("model_not_found", "No model m."), llm.ProviderUnsupported, false, "No model m."},
		"no such page":           {404, "<html><body>nginx</body></html>", llm.ProviderUnsupported, false, "an HTML page"},
		"500, called a request":  {500, `{"error":{"message":"Sorry about that.","type":"invalid_request_error"}}`, llm.Overloaded, true, "Sorry"},
		"503, called a request":  {503, `{"error":{"message":"busy","type":"invalid_request_error","code":null}}`, llm.Overloaded, true, "busy"},
		"500 for a refused form": {500, `{"error":{"message":"tool_choice is unknown","type":"invalid_request_error"}}`, llm.ProviderUnsupported, false, "tool_choice"},
		"redirect":               {302, "", llm.ProviderUnsupported, false, "redirects are not followed"},
		"context length":         {400, apiError("context_length_exceeded", "This model's maximum context length is 8192 tokens."), llm.ContextLength, false, "8192"},
		"context length in 500":  {500, `{"error":"the request exceeds the available context size"}`, llm.ContextLength, false, "context size"},
		"too large":              {413, "Payload too large", llm.ContextLength, false, "Payload"},
		"content filter":         {400, apiError("content_filter", "The response was filtered."), llm.ContentFilter, false, "filtered"},
		"quota":                  {429, apiError("insufficient_quota", "You exceeded your current quota."), llm.QuotaExceeded, false, "quota"},
		"payment":                {402, apiError("", "Insufficient credits"), llm.QuotaExceeded, false, "credits"},
		"rate limit":             {429, apiError("rate_limit_exceeded", "Slow down."), llm.RateLimited, true, "Slow down."},
		"request timeout":        {408, "", llm.Timeout, true, "408"},
		"conflict":               {409, "", llm.Overloaded, true, "409"},
		"internal, string error": {500, `{"error":"boom"}`, llm.Overloaded, true, "boom"},
		"bad gateway, HTML":      {502, "<html>", llm.Overloaded, true, "an HTML page"},
		"unavailable":            {503, `{"message":"loading model"}`, llm.Overloaded, true, "loading model"},
		"gateway timeout":        {504, "", llm.Timeout, true, "504"},
		"overloaded 529":         {529, apiError("overloaded_error", "Overloaded"), llm.Overloaded, true, "Overloaded"},
		"not implemented":        {501, "", llm.ProviderUnsupported, false, "501"},
		"field refused":          {400, apiError("unsupported_parameter", "Unsupported parameter: 'max_tokens'."), llm.ProviderUnsupported, false, "max_tokens"},
		"tool_choice refused":    {422, `{"detail":[{"loc":["body","tool_choice"],"msg":"tool_choice: unexpected value"}]}`, llm.ProviderUnsupported, false, "unexpected value"},
		"shape refused":          {400, `{"detail":"messages[2].content must be a string"}`, llm.ToolCallShapeMismatch, false, "must be a string"},
		"a list of errors":       {400, `{"success":false,"errors":[{"code":7000,"message":"No route"}]}`, llm.ProviderUnsupported, false, "No route"},
		"a number as code":       {500, `{"error":{"message":["a","b"],"code":3.5,"type":null}}`, llm.Overloaded, true, "3.5"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bothForms(t, func(t *testing.T, q Quirks) {
				p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					if tc.status == 302 {
						w.Header().Set("Location", "/elsewhere")
					}
					w.WriteHeader(tc.status)
					send(w, tc.body)
				}, Config{Quirks: q})
				e := failure(t, p, hello())
				if e.Category != tc.want || e.Retryable != tc.retry || e.Status != tc.status {
					t.Errorf("category %s, retryable %v, status %d; want %s, %v, %d", e.Category, e.Retryable, e.Status, tc.want, tc.retry, tc.status)
				}
				if !strings.Contains(e.Message, tc.words) {
					t.Errorf("message %q does not hold %q", e.Message, tc.words)
				}
			})
		})
	}
}

func TestErrorsInside200(t *testing.T) {
	cases := map[string]struct {
		body  string
		want  llm.Category
		retry bool
	}{
		"object":                  {`{"error":{"message":"boom","type":"server_error"}}`, llm.Overloaded, true},
		"string":                  {`{"error":"boom"}`, llm.Overloaded, true},
		"code of a gateway":       {`{"error":{"message":"Provider returned error","code":429}}`, llm.RateLimited, true},
		"a key":                   {`{"error":{"message":"Invalid API key"}}`, llm.CredentialConfig, false},
		"a content filter":        {`{"error":{"message":"Blocked by content policy"}}`, llm.ContentFilter, false},
		"a quota":                 {`{"error":{"message":"Insufficient balance"}}`, llm.QuotaExceeded, false},
		"detail":                  {`{"detail":"model is loading, try again"}`, llm.Overloaded, true},
		"object error":            {`{"object":"error","message":"maximum context length is 10","code":40303}`, llm.ContextLength, false},
		"error and empty choices": {`{"choices":[],"error":{"message":"rate limit"}}`, llm.RateLimited, true},
		"error in the choice":     {`{"choices":[{"error":{"code":502,"message":"upstream"},"finish_reason":"error"}]}`, llm.Overloaded, true},
		"finish reason error":     {`{"choices":[{"delta":{},"finish_reason":"error"}]}`, llm.Overloaded, true},
		"choices empty":           {`{"choices":[]}`, llm.EmptyResponse, true},
		"choices null":            {`{"choices":null}`, llm.EmptyResponse, true},
		"empty object":            {`{}`, llm.EmptyResponse, true},
		"error null is none":      {`{"error":null,"choices":[]}`, llm.EmptyResponse, true},
		"tool_calls with none":    {`{"choices":[{"message":{"content":"I call it"},"finish_reason":"tool_calls"}]}`, llm.EmptyResponse, true},
	}
	for name, tc := range cases {
		for form, body := range map[string]string{
			"whole": tc.body, "streamed": events(tc.body), "streamed late": events(delta(`"content":"par"`), tc.body),
			"event named error": "event: error\ndata: " + tc.body + "\n\n", "not dressed as an event": ": hi\n" + tc.body + "\n",
		} {
			noError := tc.want == llm.EmptyResponse
			if noError && (form == "event named error" || form == "streamed late" || form == "not dressed as an event") {
				continue
			}
			t.Run(name+"/"+form, func(t *testing.T) {
				e := failure(t, serve(t, says(body), Config{Quirks: Quirks{NoStream: form == "whole"}}), hello())
				if e.Category != tc.want || e.Retryable != tc.retry || e.Status != 200 {
					t.Errorf("%+v, want %s, %v", e, tc.want, tc.retry)
				}
			})
		}
	}
}

func TestTextToolCallRejected(t *testing.T) {
	for name, content := range map[string]string{
		"tagged":                  `<tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"ls\"}}</tool_call>`,
		"tagged, no such tool":    `<tool_call>{\"name\":\"nope\",\"arguments\":{}}</tool_call>`,
		"bare":                    `{\"name\":\"bash\",\"arguments\":{\"command\":\"ls\"}}`,
		"arguments against types": `{\"name\":\"bash\",\"arguments\":{\"command\":5}}`,
	} {
		t.Run(name, func(t *testing.T) {
			bothForms(t, func(t *testing.T, q Quirks) {
				for _, choice := range []string{"", TextToolCallsSalvage} {
					if q.TextToolCalls = choice; choice != "" && (name == "tagged" || name == "bare") {
						continue // these can be salvaged
					}
					body := message(`"content":"`+content+`"`, "stop")
					if !q.NoStream {
						body = events(delta(`"content":"`+content+`"`), finish("stop"))
					}
					if e := failure(t, serve(t, says(body), Config{Quirks: q}), hello()); e.Category != llm.TextToolCall || e.Usage.OutputTokens == 0 {
						t.Errorf("quirk %q: %+v", choice, e)
					}
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"none":             {nil, 0},
		"seconds":          {map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"fraction":         {map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		"milliseconds":     {map[string]string{"retry-after-ms": "1500", "Retry-After": "9"}, 1500 * time.Millisecond},
		"date":             {map[string]string{"Retry-After": "Fri, 02 Jan 2026 03:04:35 GMT", "Date": ""}, 30 * time.Second},
		"date, own clock":  {map[string]string{"Retry-After": "Fri, 02 Jan 2026 09:00:10 GMT", "Date": "Fri, 02 Jan 2026 09:00:00 GMT"}, 10 * time.Second},
		"date in the past": {map[string]string{"Retry-After": "Fri, 02 Jan 2015 03:04:35 GMT", "Date": ""}, 0},
		"negative":         {map[string]string{"Retry-After": "-4"}, 0},
		"absurd":           {map[string]string{"Retry-After": "1e300"}, maxRetryAfter},
		"words":            {map[string]string{"Retry-After": "soon"}, 0},
		"not a number":     {map[string]string{"Retry-After": "NaN"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bothForms(t, func(t *testing.T, q Quirks) {
				p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					for k, v := range tc.header {
						w.Header().Set(k, v)
						if v == "" {
							w.Header()[k] = nil // without the server's own
						}
					}
					w.WriteHeader(http.StatusTooManyRequests)
				}, Config{Quirks: q, Now: func() time.Time { return now }})
				if e := failure(t, p, hello()); e.RetryAfter != tc.want {
					t.Errorf("got %s, want %s", e.RetryAfter, tc.want)
				}
			})
		})
	}
}

func TestShouldRetryHeader(t *testing.T) {
	for value, want := range map[string]bool{"false": false, "true": true, "": true} {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Should-Retry", value)
			w.WriteHeader(http.StatusServiceUnavailable)
		}, Config{})
		if e := failure(t, p, hello()); e.Retryable != want {
			t.Errorf("%q: %v", value, e.Retryable)
		}
	}
}

// Servers echo what they were sent. None of it may come out.
func TestNoSecretInErrors(t *testing.T) {
	const key, header = "key-0123456789", "header-secret-1"
	answers := map[string]http.HandlerFunc{
		"in the body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			sendf(w, `{"error":{"message":"Incorrect API key provided: %s, %s; yours was sk-abc***xyz"}}`,
				r.Header.Get("Authorization"), r.Header.Get("X-Extra"))
		},
		"in plain text": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			sendf(w, "%s%v", strings.Repeat("pad ", 140), r.Header)
		},
		"inside a 200": func(w http.ResponseWriter, r *http.Request) {
			sendf(w, `{"error":{"message":"for %s %s"}}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("X-Extra"))
		},
		"in what is no HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			sendf(conn, "%s %s is not HTTP\r\n\r\n", r.Header.Get("Authorization"), r.Header.Get("X-Extra"))
			conn.Close() //nolint:errcheck // it is to break
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			e := failure(t, serve(t, answer, Config{APIKey: key + "\n", Headers: map[string]string{"X-Extra": header}}), hello())
			for err := error(e); err != nil; err = errors.Unwrap(err) {
				for _, secret := range []string{key, header, "sk-abc", "xyz"} {
					if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
						t.Errorf("%q is in %v", secret, err)
					}
				}
			}
		})
	}
}
