package openai

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter clamps what a server may ask for, against overflow; the caller has
// a cap of its own.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads how long the server wants to be left alone: retry-after-ms,
// or Retry-After as seconds (also fractions) or as an HTTP date. A date counts from
// the response's own Date, so that a wrong clock on either side does no harm.
// asked says that one of these was there and could be read.
func retryAfter(h http.Header, now time.Time) (d time.Duration, asked bool) {
	if ms, ok := number(h.Get("Retry-After-Ms")); ok {
		return clampDuration(ms / 1000), true
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		value = strings.TrimSpace(h.Get("X-Ratelimit-Reset-After"))
	}
	if value == "" {
		return 0, false
	}
	if at, err := http.ParseTime(value); err == nil {
		return clampDuration(at.Sub(serverTime(h, now)).Seconds()), true
	}
	first, _, _ := strings.Cut(value, ",") // two proxies, each with its own
	if seconds, ok := number(first); ok {
		return clampDuration(seconds), true
	}
	if d, err := time.ParseDuration(strings.TrimSpace(first)); err == nil {
		return clampDuration(d.Seconds()), true
	}
	return 0, false
}

// serverTime is what the server takes the time for.
func serverTime(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

// comeBack is when the body says to come back; asked says that it does.
func (e *serverError) comeBack(h http.Header, now time.Time) (d time.Duration, asked bool) {
	if e.delay > 0 {
		return e.delay, true
	}
	if d, asked := retryAfter(e.headers, serverTime(h, now)); asked {
		return d, true
	}
	d = clampDuration(e.until.Sub(serverTime(h, now)).Seconds())
	return d, d > 0
}

// resets are headers that say when a limit is back at its full, with the header
// that says how much of it is left.
var resets = []struct{ reset, remaining string }{
	{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Requests"},
	{"X-Ratelimit-Reset-Tokens", "X-Ratelimit-Remaining-Tokens"},
	{"X-Ratelimit-Reset-Requests-Minute", "X-Ratelimit-Remaining-Requests-Minute"},
	{"X-Ratelimit-Reset-Tokens-Minute", "X-Ratelimit-Remaining-Tokens-Minute"},
	{"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Requests-Remaining"},
	{"Anthropic-Ratelimit-Tokens-Reset", "Anthropic-Ratelimit-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Input-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Output-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Remaining"},
	{"X-Ratelimit-Reset", "X-Ratelimit-Remaining"},
	{"Ratelimit-Reset", "Ratelimit-Remaining"},
}

// limitReset is when the limits are back that are used up, as their headers say:
// the latest of them; 0 when there are none.
func limitReset(h http.Header, now time.Time) time.Duration {
	var latest time.Duration
	for _, r := range resets {
		if left, ok := number(h.Get(r.remaining)); ok && left > 0 {
			continue
		}
		latest = max(latest, resetIn(strings.TrimSpace(h.Get(r.reset)), serverTime(h, now)))
	}
	return latest
}

// resetIn reads a time of day, a duration ("6m0s"), seconds, or a Unix time in
// seconds or milliseconds.
func resetIn(value string, now time.Time) time.Duration {
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return clampDuration(at.Sub(now).Seconds())
	}
	if at, err := http.ParseTime(value); err == nil {
		return clampDuration(at.Sub(now).Seconds())
	}
	if d, err := time.ParseDuration(value); err == nil {
		return clampDuration(d.Seconds())
	}
	n, ok := number(value)
	switch {
	case !ok:
		return 0
	case n > 1e11:
		return clampDuration(n/1000 - float64(now.Unix()))
	case n > 1e9:
		return clampDuration(n - float64(now.Unix()))
	}
	return clampDuration(n)
}

// delayOf reads a delay of a body: seconds, "34s", or protobuf's seconds and nanos.
func delayOf(v any) time.Duration {
	switch v := v.(type) {
	case float64:
		return clampDuration(v)
	case string:
		if seconds, ok := number(v); ok {
			return clampDuration(seconds)
		}
		if d, err := time.ParseDuration(strings.TrimSpace(v)); err == nil {
			return clampDuration(d.Seconds())
		}
	case map[string]any:
		nanos, _ := v["nanos"].(float64)
		return clampDuration(delayOf(v["seconds"]).Seconds() + nanos/1e9)
	}
	return 0
}

var (
	// saysWhen finds "try again in 1m6.5s", "retry after 20 seconds", "wait 5 minutes".
	saysWhen = compile(`(?i)\b(?:try again|retry|wait|available|replenished|resets?)(?: again)?(?: (?:in|after|for|at least|another))*:? ` +
		`((?:\d+(?:\.\d+)? ?(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b,?(?: and)? ?|` +
		`\d+(?:\.\d+)?(?:ms|s|m|h))+)`)
	quantity = compile(`(?i)(\d+(?:\.\d+)?) ?(ms|milli|s|m|h)`)
	// saysUntil finds "try again after 2026-01-02T03:04:35Z", "resets at: 2026-01-02 03:04:35 UTC".
	// A time of nobody knows which zone says nothing.
	saysUntil = compile(`(?i)\b(?:after|until|at|on|resets?):? (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?) ?(Z|UTC|GMT|[+-]\d\d:\d\d)(?:\W|$)`)
	// clock is "in 02:12:33".
	clock = compile(`(?i)\b(?:in|after) (\d{1,2}):(\d{2}):(\d{2})\b`)
)

// delayInWords is when to come back, as a message says it; 0 when it does not.
func delayInWords(words string) time.Duration {
	words = words[:min(len(words), maxLayerText)]
	if m := clock.FindStringSubmatch(words); m != nil {
		var seconds float64
		for _, part := range m[1:] {
			n, _ := number(part)
			seconds = seconds*60 + n
		}
		return clampDuration(seconds)
	}
	m := saysWhen.FindStringSubmatch(words)
	if m == nil {
		return 0
	}
	units := map[string]float64{"ms": 1e-3, "milli": 1e-3, "s": 1, "m": 60, "h": 3600}
	var seconds float64
	for _, q := range quantity.FindAllStringSubmatch(m[1], -1) {
		n, _ := number(q[1])
		seconds += n * units[strings.ToLower(q[2])]
	}
	return clampDuration(seconds)
}

// untilInWords is the time at which to come back, as a message says it; zero when
// it does not.
func untilInWords(words string) time.Time {
	m := saysUntil.FindStringSubmatch(words[:min(len(words), maxLayerText)])
	if m == nil {
		return time.Time{}
	}
	zone := strings.ToUpper(m[3])
	if zone == "UTC" || zone == "GMT" {
		zone = "Z"
	}
	at, err := time.Parse(time.RFC3339, m[1]+"T"+m[2]+zone)
	if err != nil {
		return time.Time{} // 2026-02-31
	}
	return at
}

func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil && !math.IsNaN(f)
}

func clampDuration(seconds float64) time.Duration {
	switch {
	case seconds <= 0:
		return 0
	case seconds >= maxRetryAfter.Seconds():
		return maxRetryAfter
	default:
		return time.Duration(seconds * float64(time.Second))
	}
}
