package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/llm"
)

// serverError is what a server says went wrong, in whichever of the many forms.
type serverError struct {
	message string
	// code and kind are the fields code and type, as text.
	code, kind string
}

func (e *serverError) empty() bool { return e.message == "" && e.code == "" && e.kind == "" }

// said is everything to look for words in, in lower case.
func (e *serverError) said() string { return strings.ToLower(e.kind + " " + e.code + " " + e.message) }

type errorFields struct {
	Error   json.RawMessage `json:"error"`
	Errors  json.RawMessage `json:"errors"`
	Detail  json.RawMessage `json:"detail"`
	Message flexString      `json:"message"`
	Msg     flexString      `json:"msg"`
	Code    flexString      `json:"code"`
	Type    flexString      `json:"type"`
	Status  flexString      `json:"status"`
	Object  flexString      `json:"object"`
}

// parseServerError reads the body of an error: {"error":{…}}, {"error":"…"},
// {"detail":…}, {"errors":[…]}, {"message":…}, a list of any of these, or text.
func parseServerError(body []byte) serverError { return parseErrorDepth(body, 3) }

func parseErrorDepth(body []byte, depth int) serverError {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || depth == 0 || bytes.Equal(body, []byte("null")) {
		return serverError{}
	}
	switch body[0] {
	case '"':
		var s string
		if json.Unmarshal(body, &s) == nil {
			return serverError{message: s}
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			return parseErrorDepth(list[0], depth-1)
		}
	case '{':
		var f errorFields
		if tolerant(json.Unmarshal(body, &f)) == nil {
			return f.serverError(depth)
		}
	}
	return serverError{message: string(body)}
}

func (f *errorFields) serverError(depth int) serverError {
	own := serverError{message: string(f.Message), code: string(f.Code), kind: string(f.Type)}
	if own.message == "" {
		own.message = string(f.Msg)
	}
	if own.kind == "" {
		own.kind = string(f.Status)
	}
	for _, nested := range []json.RawMessage{f.Error, f.Errors, f.Detail} {
		inner := parseErrorDepth(nested, depth-1)
		if inner.empty() {
			continue
		}
		if inner.code == "" {
			inner.code = own.code
		}
		if inner.message == "" {
			inner.message = own.message
		}
		return inner
	}
	return own
}

// The words by which failures are told apart that share a status. They were
// collected from the error texts of OpenAI, Azure, Anthropic, Gemini, Mistral,
// DeepSeek, OpenRouter, LiteLLM, vLLM, llama.cpp and Ollama.
var (
	saysContext = regexp.MustCompile(`context_length|context length|context window|context size|maximum context|` +
		`prompt is too long|prompt_too_long|input is too long|input too long|too many (input )?tokens|` +
		`exceeds? the (model's )?(maximum|available|max)[a-z ]*(context|token|length)|reduce the length|string_above_max_length`)
	saysFilter = regexp.MustCompile(`content_filter|content filter|content management policy|responsibleaipolicy|` +
		`content_policy|content policy|safety (system|policy|filter)|moderation|data_inspection`)
	saysQuota = regexp.MustCompile(`insufficient_quota|insufficient balance|insufficient credits?|billing|payment required|` +
		`quota_exceeded|credit balance|out of credits|exceeded your current quota|budget has been exceeded`)
	saysKey = regexp.MustCompile(`invalid_api_key|invalid api key|incorrect api key|api key not valid|api_key_invalid|` +
		`authentication_error|no api key|missing api key`)
	saysShape = regexp.MustCompile(`tool_calls?\b|tool call|tool message|tool_use|tool_result|\barguments\b|` +
		`content (is|must be|cannot be|should be|field)|messages?[.\[]\d+|role(s)? must`)
	saysUnsupported = regexp.MustCompile(`not support|unsupported|tool_choice|parallel_tool_calls|stream_options|` +
		`max_tokens|max_completion_tokens|temperature|unrecognized|unknown (field|parameter|argument)|extra (fields|inputs)`)
	saysOverloaded = regexp.MustCompile(`overloaded|capacity|unavailable|try again|server_error|internal`)
	saysRate       = regexp.MustCompile(`rate.?limit|too many requests`)
)

// ErrorFromStatus turns an HTTP answer with a status of 300 or above into an
// error: its category, whether it may pass on retry, and when. body may be cut.
func ErrorFromStatus(status int, header http.Header, body []byte, now time.Time) *llm.Error {
	return errorFromStatus(status, header, body, now, redactor{})
}

func errorFromStatus(status int, header http.Header, body []byte, now time.Time, hide redactor) *llm.Error {
	said := parseServerError(body)
	e := &llm.Error{Status: status, RetryAfter: retryAfter(header, now)}
	e.Category, e.Retryable = classify(status, &said, e.RetryAfter > 0)
	// Some servers say it themselves, and know better.
	switch strings.ToLower(header.Get("X-Should-Retry")) {
	case "true":
		e.Retryable = e.Retryable || status >= 500
	case "false":
		e.Retryable = false
	}
	what := fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
	if status < 400 {
		what += "; redirects are not followed, set the base URL to where the server is"
	}
	e.Message = withWords(strings.TrimSpace(what), said, hide)
	return e
}

// errorInBody is an error that came with status 200, alone or in a stream.
func errorInBody(said serverError, header http.Header, now time.Time, hide redactor) *llm.Error {
	e := &llm.Error{Status: http.StatusOK, RetryAfter: retryAfter(header, now)}
	status := http.StatusInternalServerError
	// Gateways put the status of the server behind them into the code.
	if code, err := strconv.Atoi(said.code); err == nil && code >= 400 && code <= 599 {
		status = code
	} else if text := said.said(); !saysOverloaded.MatchString(text) {
		switch {
		case saysKey.MatchString(text):
			status = http.StatusUnauthorized
		case saysRate.MatchString(text):
			status = http.StatusTooManyRequests
		case strings.Contains(text, "invalid_request"), saysUnsupported.MatchString(text),
			saysFilter.MatchString(text), saysQuota.MatchString(text):
			status = http.StatusBadRequest
		}
	}
	e.Category, e.Retryable = classify(status, &said, e.RetryAfter > 0)
	e.Message = withWords("the server answered 200 with an error", said, hide)
	return e
}

func withWords(what string, said serverError, hide redactor) string {
	words := said.message
	if words == "" {
		words = strings.TrimSpace(said.kind + " " + said.code)
	}
	if strings.HasPrefix(strings.TrimSpace(words), "<") {
		words = "an HTML page"
	}
	if words = hide.words(words); words == "" {
		return what
	}
	return what + ": " + words
}

// classify gives the category of a status, and whether the same request may pass
// when sent again. asked says that the server sent a Retry-After: an exhausted
// quota does not come with one, a quota per minute does.
func classify(status int, said *serverError, asked bool) (llm.Category, bool) {
	text := said.said()
	if category, ok := classifyWords(status, text); ok {
		return category, false
	}
	switch status {
	case http.StatusTooManyRequests:
		if saysQuota.MatchString(text) && !asked {
			return llm.QuotaExceeded, false
		}
		return llm.RateLimited, true
	case http.StatusPaymentRequired:
		return llm.QuotaExceeded, false
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return llm.CredentialConfig, false
	case http.StatusRequestEntityTooLarge:
		return llm.ContextLength, false
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return llm.Timeout, true
	case http.StatusConflict, http.StatusTooEarly:
		return llm.Overloaded, true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return llm.ProviderUnsupported, false
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if saysShape.MatchString(text) && !saysUnsupported.MatchString(text) {
			return llm.ToolCallShapeMismatch, false
		}
	}
	if status >= 500 {
		return llm.Overloaded, true
	}
	return llm.ProviderUnsupported, false
}

// classifyWords finds what the words say more exactly than the status. None of it
// passes on retry.
func classifyWords(status int, text string) (llm.Category, bool) {
	if status == http.StatusTooManyRequests {
		return "", false // "too many tokens per minute" is no context length
	}
	refused := status >= 400 && status < 500
	switch {
	case saysContext.MatchString(text):
		return llm.ContextLength, true
	case refused && saysFilter.MatchString(text):
		return llm.ContentFilter, true
	case refused && saysQuota.MatchString(text):
		return llm.QuotaExceeded, true
	case refused && saysKey.MatchString(text):
		return llm.CredentialConfig, true
	}
	return "", false
}
