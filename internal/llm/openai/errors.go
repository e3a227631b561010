package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// ErrorFromStatus turns an HTTP answer with a status of 300 or above into an
// error: its category, whether it may pass on retry, and when. body may be cut.
func ErrorFromStatus(status int, header http.Header, body []byte, now time.Time) *llm.Error {
	return errorFromStatus(status, header, body, now, redactor{})
}

func errorFromStatus(status int, header http.Header, body []byte, now time.Time, hide redactor) *llm.Error {
	said := parseServerError(body)
	if kind, _, _ := strings.Cut(header.Get("X-Amzn-Errortype"), ":"); kind != "" {
		said.layers = append(said.layers, layer{codes: []string{kind}})
	}
	e := failureOf(status, said, header, now)
	// Some servers say it themselves, and know better.
	switch strings.ToLower(header.Get("X-Should-Retry")) {
	case "true":
		e.Retryable = e.Retryable || status >= 500
	case "false":
		e.Retryable = false
	}
	what := strings.TrimSpace(fmt.Sprintf("the server answered %d %s", status, http.StatusText(status)))
	if status < 400 {
		what += "; such redirects are not followed, set the base URL to where the server is"
	}
	e.Message = withWords(what, said, hide)
	return e
}

// errorInBody is an error that came with status 200, alone or in a stream.
func errorInBody(said serverError, header http.Header, now time.Time, hide redactor) *llm.Error {
	e := failureOf(http.StatusOK, said, header, now)
	e.Message = withWords("the server answered 200 with an error", said, hide)
	return e
}

// failureOf is an error without its message.
func failureOf(status int, said serverError, header http.Header, now time.Time) *llm.Error {
	delay, asked := retryAfter(header, now)
	if !asked {
		delay, asked = said.comeBack(header, now)
	}
	d := decide(status, &said, asked && delay > 0)
	if !asked && d.category == llm.RateLimited {
		delay = max(limitReset(header, now), limitReset(said.headers, now))
	}
	return &llm.Error{Category: d.category, Retryable: d.retryable, Status: status, RetryAfter: delay, ContextWindow: d.window}
}

// withWords adds what the servers said: first the innermost, whose words matter
// most, then in brackets what those around it added.
func withWords(what string, said serverError, hide redactor) string {
	var parts []string
	add := func(s string) {
		s = strings.Join(strings.Fields(s), " ")
		if s != "" && !slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(p, s) }) {
			parts = append(parts, s)
		}
	}
	for _, l := range slices.Backward(said.layers) {
		add(l.words)
	}
	for _, l := range slices.Backward(said.layers) {
		add(l.from)
		for _, code := range l.codes {
			if n, err := strconv.Atoi(code); err != nil || n < 100 || n > 599 {
				add(code)
			}
		}
	}
	if len(parts) == 0 {
		return what
	}
	words := parts[0]
	if rest := parts[1:]; len(rest) > 0 {
		words += " (" + strings.Join(rest[:min(len(rest), maxParts)], "; ") + ")"
	}
	return what + ": " + hide.words(words)
}

// maxParts bounds what is added in brackets.
const maxParts = 5

// failure finds the error in a response or event; body is its JSON.
func (r *wireResponse) failure(body []byte) (serverError, bool) {
	for i := range r.Choices {
		c := &r.Choices[i]
		if said := parseServerError(c.Error); !said.empty() {
			return said, true
		}
		if strings.EqualFold(string(c.FinishReason), "error") {
			if said := parseServerError(r.Error); !said.empty() {
				return said, true
			}
			return saidWords("the model's server stopped with finish reason error", "server_error"), true
		}
	}
	if said := parseServerError(r.Error); !said.empty() {
		return parseServerError(body), true
	}
	if len(r.Choices) > 0 || !looksLikeError(body) {
		return serverError{}, false
	}
	return parseServerError(body), true
}

// errorFields are parts of the fields by which an error may be told.
var errorFields = []string{
	`"message"`, `"msg"`, `"detail"`, `"err`, `"error"`, `"base_resp"`, `"success"`,
}

// looksLikeError says that an event without choices is an error in one of the
// forms that have no field "error".
func looksLikeError(body []byte) bool {
	if !slices.ContainsFunc(errorFields, func(field string) bool { return bytes.Contains(body, []byte(field)) }) {
		return false // the event with the usage, mostly
	}
	var o map[string]any
	if json.Unmarshal(body, &o) != nil {
		return false
	}
	has := func(fields ...string) bool {
		return slices.ContainsFunc(fields, func(field string) bool { return len(texts(o[field])) > 0 })
	}
	switch strings.ToLower(asText(o["type"])) {
	case "error":
		return true
	case "ping":
		return false
	}
	base, _ := o["base_resp"].(map[string]any)
	code, _ := base["status_code"].(float64)
	list, _ := o["errors"].([]any)
	details, _ := o["detail"].([]any)
	return asText(o["object"]) == "error" || o["success"] == false || code != 0 || len(list) > 0 || len(details) > 0 ||
		has("detail", "error_msg", "error_message", "errorMessage", "error_code", "errmsg") || has("message", "msg") && has("code", "status", "type", "statusCode")
}
