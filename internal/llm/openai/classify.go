package openai

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/sampan-dev/sampan/internal/llm"
)

// matchers are the phrases' patterns, compiled when the first failure comes.
var matchers = sync.OnceValue(func() []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(phrases))
	for i := range phrases {
		out[i] = regexp.MustCompile(phrases[i].pattern)
	}
	return out
})

// decision is what a failure is taken for.
type decision struct {
	category  llm.Category
	retryable bool
	// window is how many tokens the model takes, if the server says so.
	window int
	// row of phrases that decided, -1 when the status did.
	row int
}

// decide tells what kind of failure it is. The words of the innermost server come
// first, then those of the gateways around it, then the status: see phrases.
func decide(status int, said *serverError, asked bool) decision {
	answered := status
	status = said.effectiveStatus(answered)
	for i := len(said.layers) - 1; i >= 0; i-- {
		at := status
		if said.layers[i].quoted && at >= http.StatusInternalServerError {
			at = http.StatusOK // nobody knows what it was
		}
		if d, ok := matchPhrase(at, said.layers[i].text(), asked); ok {
			if d.category == llm.ContextLength && said.window > 0 {
				d.window = said.window
			}
			return d
		}
	}
	if status == http.StatusBadRequest && answered >= http.StatusInternalServerError {
		status = answered // servers call whatever they answer an invalid_request_error
	}
	category := categoryOfStatus(status)
	return decision{category: category, retryable: passes(category), row: -1}
}

func matchPhrase(status int, text string, asked bool) (decision, bool) {
	for i, p := range phrases {
		if !p.in.has(status, asked) {
			continue
		}
		m := matchers()[i].FindStringSubmatch(text)
		if m == nil {
			continue
		}
		d := decision{category: p.category, retryable: passes(p.category), row: i}
		for _, group := range m[1:] {
			if n, err := strconv.Atoi(group); err == nil && p.category == llm.ContextLength {
				d.window = n
			}
		}
		return d, true
	}
	return decision{}, false
}

func (s scope) has(status int, asked bool) bool {
	if status == http.StatusOK {
		return s != unasked || !asked
	}
	switch s {
	case refusals:
		return status >= 400 && status < 500
	case invalid:
		return slices.Contains([]int{
			http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		}, status)
	case trouble:
		return status >= http.StatusInternalServerError
	case not429:
		return status != http.StatusTooManyRequests
	case unasked:
		return !asked
	case always:
	}
	return true
}

// passes says that the same request may succeed when it is sent again.
func passes(c llm.Category) bool {
	switch c {
	case llm.RateLimited, llm.Overloaded, llm.Timeout, llm.Network, llm.TruncatedStream, llm.EmptyResponse, llm.ModelQuality:
		return true
	default:
		return false
	}
}

// The statuses that net/http has no name for.
const (
	statusClientClosed = 499 // nginx: the client of a gateway, which is another gateway, went away
	statusFlexCapacity = 498 // Groq: no capacity for this tier
	statusOriginFirst  = 520 // Cloudflare: 520 to 527 and 530 are failures of the server behind it
	statusOriginSlow   = 524
)

// categoryOfStatus is what a status says alone.
func categoryOfStatus(status int) llm.Category {
	switch status {
	case http.StatusTooManyRequests:
		return llm.RateLimited
	case http.StatusPaymentRequired:
		return llm.QuotaExceeded
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusNetworkAuthenticationRequired:
		return llm.CredentialConfig
	case http.StatusRequestEntityTooLarge:
		return llm.ContextLength
	case http.StatusUnavailableForLegalReasons:
		return llm.ContentFilter
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, statusOriginSlow, statusOriginFirst + 2:
		return llm.Timeout
	case http.StatusConflict, http.StatusTooEarly, http.StatusMisdirectedRequest, http.StatusFailedDependency,
		statusClientClosed, statusFlexCapacity, http.StatusOK:
		return llm.Overloaded
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return llm.ProviderUnsupported
	}
	if status >= 500 {
		return llm.Overloaded
	}
	return llm.ProviderUnsupported
}

// namedStatuses are the statuses that stand behind the types and codes of errors.
var namedStatuses = map[string]int{
	"invalid_request_error": 400, "invalid_argument": 400, "failed_precondition": 400, "badrequesterror": 400, "out_of_range": 400,
	"authentication_error": 401, "unauthenticated": 401, "invalid_api_key": 401,
	"permission_error": 403, "permission_denied": 403,
	"not_found_error": 404, "not_found": 404, "notfounderror": 404, "model_not_found": 404,
	"request_too_large": 413, "unimplemented": 501,
	"rate_limit_error": 429, "rate_limit_exceeded": 429, "resource_exhausted": 429,
	"api_error": 500, "server_error": 500, "internal": 500, "internal_server_error": 500, "internalservererror": 500,
	"unavailable": 503, "timeout_error": 504, "deadline_exceeded": 504, "overloaded_error": 529,
}

// effectiveStatus is the status of the server behind a gateway, where the answer's
// own says nothing of it: a gateway sends 200 or 5xx for what it was told by a code.
func (e *serverError) effectiveStatus(status int) int {
	if status != http.StatusOK && status < http.StatusInternalServerError && status != http.StatusBadRequest {
		return status
	}
	for i := len(e.layers) - 1; i >= 0; i-- {
		own := e.layers[i].status()
		if own == http.StatusInternalServerError && status == http.StatusBadRequest && !e.layers[i].quoted {
			continue // Ollama's api_error, for whatever it refuses
		}
		if own != 0 {
			return own
		}
	}
	return status
}
