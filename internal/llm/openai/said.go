package openai

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/jsontext"
)

const (
	// maxErrorDepth and maxLayers bound how far an error is followed into itself.
	maxErrorDepth = 10
	maxLayers     = 12
	// maxLayerText bounds what of a message is looked at.
	maxLayerText = 8 << 10
)

// layer is what one server says went wrong. A gateway's error holds that of the
// server behind it as a further layer.
type layer struct {
	words string
	// codes are the values of fields such as code, type, status and reason.
	codes []string
	// from is the provider that a gateway names.
	from string
	// quoted says that a gateway quotes another server: the answer's status is not
	// that server's.
	quoted bool
}

// text is everything to look for phrases in.
func (l *layer) text() string {
	all := strings.Join(l.codes, " ") + " " + l.words
	return strings.ToLower(strings.Join(strings.Fields(all[:min(len(all), maxLayerText)]), " "))
}

// status is the HTTP status that a layer's codes stand for; 0 is none.
func (l *layer) status() int {
	for _, code := range l.codes {
		if n, err := strconv.Atoi(code); err == nil && n >= 400 && n <= 599 {
			return n
		}
	}
	for _, code := range l.codes {
		if n := namedStatuses[strings.ToLower(code)]; n != 0 {
			return n
		}
	}
	return 0
}

// serverError is what a server says went wrong, in whichever of the many forms.
type serverError struct {
	// layers begin with the outermost.
	layers []layer
	// delay is when to come back, as the body says; until is the same as a time.
	delay time.Duration
	until time.Time
	// headers are those of the server behind a gateway, which the body quotes.
	headers http.Header
	// window is the number of tokens that the model takes, as a field says.
	window int
	// quotes counts the quotations around what is read.
	quotes int
}

func (e *serverError) empty() bool { return len(e.layers) == 0 }

// saidWords is an error of a few words and a type.
func saidWords(words, kind string) serverError {
	return serverError{layers: []layer{{words: words, codes: []string{kind}}}}
}

// parseServerError reads the body of an error: JSON of whatever form, an HTML page
// of a proxy, or text, also with the error of another server in it as JSON.
func parseServerError(body []byte) serverError {
	var e serverError
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	if len(body) > 0 {
		var v any
		if (body[0] == '{' || body[0] == '[' || body[0] == '"') && json.Unmarshal(body, &v) == nil {
			e.value(v, maxErrorDepth)
		} else if !bytes.Equal(body, []byte("null")) {
			e.text(string(body), nil, "", maxErrorDepth)
		}
	}
	for _, l := range e.layers {
		if e.delay == 0 {
			e.delay = delayInWords(l.words)
		}
		if e.until.IsZero() {
			e.until = untilInWords(l.words)
		}
	}
	return e
}

var (
	messageFields = []string{
		"message", "msg", "error_msg", "error_message", "errorMessage", "errmsg", "status_msg", "statusMessage", "faultstring",
		"error_description", "Message", "description", "detail", "details", "raw",
	}
	codeFields = []string{
		"code", "type", "error_code", "error_type", "errorCode", "errorType", "status", "statusCode", "status_code", "__type", "Code",
		"reason", "reasons", "param", "quotaId", "quotaMetric",
	}
	nestedFields = []string{
		"error", "errors", "detail", "details", "innererror", "inner_error", "metadata", "violations", "cause", "base_resp", "fault",
		"data", "response", "upstream", "upstream_error", "provider_error", "body", "message", "raw", "result",
	}
	delayFields  = []string{"retryDelay", "retry_after", "retryAfter", "retry_after_seconds", "estimated_time"}
	windowFields = []string{"n_ctx", "max_model_len", "context_length"}
)

// value reads a JSON value as an error.
func (e *serverError) value(v any, depth int) {
	if depth == 0 || len(e.layers) >= maxLayers {
		return
	}
	switch v := v.(type) {
	case string:
		e.text(v, nil, "", depth)
	case []any:
		for _, item := range v {
			e.value(item, depth-1)
		}
	case map[string]any:
		e.object(v, depth)
	}
}

func (e *serverError) object(o map[string]any, depth int) {
	e.numbers(o)
	words, used := firstText(o, messageFields)
	if title := asText(o["title"]); title != "" && !strings.Contains(words, title) {
		words = strings.TrimSuffix(title+": "+words, ": ") // problem+json
	}
	if where := location(o["loc"]); where != "" {
		words = where + ": " + words // FastAPI
	}
	var codes []string
	for _, field := range codeFields {
		codes = append(codes, texts(o[field])...)
	}
	if own := asText(o["error"]); own != "" {
		if words == "" {
			words = own
		} else {
			codes = append(codes, own) // "error": "Bad Request" beside a message
		}
	}
	from := asText(o["provider_name"])
	if words != "" || len(codes) > 0 {
		e.text(words, codes, from, depth)
	}
	for _, field := range nestedFields {
		switch inner := o[field].(type) {
		case map[string]any, []any:
			e.value(inner, depth-1)
		case string:
			// A second message, such as a gateway's metadata.raw.
			if field != used && slices.Contains(messageFields, field) && inner != words {
				e.text(inner, nil, from, depth-1)
			}
		}
	}
}

// numbers takes the fields that say when to come back, and how much fits.
func (e *serverError) numbers(o map[string]any) {
	for _, field := range delayFields {
		if d := delayOf(o[field]); d > 0 && e.delay == 0 {
			e.delay = d
		}
	}
	for _, field := range windowFields {
		if n, ok := o[field].(float64); ok && n > 0 && n < 1<<31 {
			e.window = int(n)
		}
	}
	if h, ok := o["headers"].(map[string]any); ok && e.headers == nil {
		e.headers = http.Header{}
		for name, value := range h {
			if list := texts(value); len(list) > 0 {
				e.headers.Set(name, list[0])
			}
		}
	}
}

// text adds a layer for a message, and those for the errors that are written into it.
func (e *serverError) text(words string, codes []string, from string, depth int) {
	if depth == 0 || len(e.layers) >= maxLayers {
		return
	}
	if isPage.MatchString(words) {
		words = pageWords(words)
	}
	before, inner, after := embedded(words)
	if inner != nil {
		words = strings.TrimRight(strings.TrimSpace(before), " -:=") + " " + strings.TrimSpace(after)
	}
	l := layer{words: strings.TrimSpace(words), codes: codes, from: from, quoted: e.quotes > 0}
	if l.words != "" || len(codes) > 0 {
		e.layers = append(e.layers, l)
	}
	if inner != nil {
		e.quotes++
		e.value(inner, depth-1)
		e.quotes--
	}
}

// embedded finds the error of another server in a message: JSON, or what Python
// prints of it.
func embedded(words string) (before string, value any, after string) {
	for from, tries := 0, 0; tries < 4; tries++ {
		at := strings.IndexAny(words[from:], "{[")
		if at < 0 {
			return words, nil, ""
		}
		at += from
		from = at + 1
		dec := json.NewDecoder(strings.NewReader(words[at:]))
		var v any
		if dec.Decode(&v) == nil {
			if saysSomething(v) {
				return words[:at], v, words[at+int(dec.InputOffset()):]
			}
			continue
		}
		if strings.HasPrefix(words[at:], "{'") {
			end := strings.LastIndexByte(words, '}')
			fixed, err := jsontext.Repair(words[at : max(end, at)+1])
			if err == nil && json.Unmarshal([]byte(fixed), &v) == nil && saysSomething(v) {
				return words[:at], v, words[max(end, at)+1:]
			}
		}
	}
	return words, nil, ""
}

// saysSomething tells an error from an example, a list of numbers and the like.
func saysSomething(v any) bool {
	var e serverError
	e.value(v, 4)
	return len(e.layers) > 0
}

var (
	isPage    = compile(`(?i)^\s*<(?:!doctype|!--|\?xml|html|head|body|title|center|h1)`)
	pageTitle = compile(`(?is)<(?:title|h1|h2)[^>]*>(.*?)</(?:title|h1|h2)>`)
	pageTag   = compile(`(?s)<[^>]*>`)
)

// pageWords is what an HTML page says in its title and headings.
func pageWords(page string) string {
	out := []string{"an HTML page"}
	for _, m := range pageTitle.FindAllStringSubmatch(page[:min(len(page), maxErrorBytes)], 3) {
		words := strings.Join(strings.Fields(html.UnescapeString(pageTag.ReplaceAllString(m[1], " "))), " ")
		if words != "" && !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	if len(out) == 1 {
		return out[0]
	}
	return out[0] + " (" + strings.Join(out[1:], "; ") + ")"
}

// firstText is the first of the fields that holds text.
func firstText(o map[string]any, fields []string) (words, field string) {
	for _, field := range fields {
		if s := asText(o[field]); s != "" {
			return s, field
		}
	}
	for _, field := range fields {
		if list := texts(o[field]); len(list) > 0 {
			return strings.Join(list, "; "), field
		}
	}
	return "", ""
}

func asText(v any) string {
	s, _ := v.(string)
	return strings.TrimSpace(s)
}

// texts gives a string or number, or the strings of a list, as texts.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		if v = strings.TrimSpace(v); v != "" {
			return []string{v}
		}
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		var out []string
		for _, item := range v[:min(len(v), 8)] {
			if s := asText(item); s != "" {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// location joins FastAPI's path of a field: body.messages.1.content.
func location(v any) string {
	list, ok := v.([]any)
	if !ok {
		return ""
	}
	var parts []string
	for _, item := range list[:min(len(list), 8)] {
		parts = append(parts, texts(item)...)
	}
	return strings.Join(parts, ".")
}
