package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
)

// prober probes without waiting between attempts.
func prober() Prober {
	c := runner.Connector{Env: func(name string) string {
		return map[string]string{"KEY": "secret-key", "SAMPAN_CA_FILE": os.Getenv("SAMPAN_CA_FILE")}[name]
	}}
	return Prober{Connect: c.Connect, Secrets: []string{"secret-key"}, Timeout: 2 * time.Minute, Retry: broker.Retry{Base: time.Millisecond, Cap: time.Millisecond}}
}

// candidate is one whose server is at a URL; entry adds to its fields.
func candidate(t *testing.T, url, provider, entry string) models.Candidate {
	t.Helper()
	doc := fmt.Sprintf("version: 1\nproviders: {p: {type: openai, baseURL: %q%s}}\nmodels: [{id: m, provider: p%s}]\n", url+"/v1", provider, entry)
	reg, err := models.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return reg.Usable(models.Need{AllScopes: true, ToolCalls: models.None})[0]
}

func toolsRefused(a asked) bool { return len(a.Tools) > 0 }

// TestFarm: each server in its own category, and those where the setup is to be fixed
// never look like a model that cannot do it.
func TestFarm(t *testing.T) {
	for name, tc := range map[string]struct {
		server          http.HandlerFunc
		provider, entry string
		outcome         Outcome
		measured        models.Level
		category        llm.Category
		message         string
		findings        []string
		changes         string
	}{
		"good":             {server: serve(good), outcome: Fits, measured: models.Excellent, changes: "- id: m\n  toolCalls: Excellent   # was Good\n"},
		"good as declared": {server: serve(good), entry: ", toolCalls: Excellent", outcome: Fits, measured: models.Excellent},
		"clumsy": {server: serve(clumsy), outcome: Fits, measured: models.Good,
			findings: []string{"the model opened the red box with a key that no tool gave"}},
		"loses its way": {server: serve(lost), outcome: Fits, measured: models.Good,
			findings: []string{"of 5 boxes in a row the model opened 2: It said that it was done, and had opened 2 of 5 boxes."}},
		"loses its way, and is to be excellent": {server: serve(lost), entry: ", toolCalls: Excellent", outcome: BelowLevel, measured: models.Good,
			category: llm.ModelQuality, message: "It said that it was done, and had opened 2 of 5 boxes.",
			changes: "- id: m\n  toolCalls: Good   # was Excellent\n"},
		"clumsy, and is to be excellent": {server: serve(clumsy), entry: ", toolCalls: Excellent", outcome: BelowLevel, measured: models.Good,
			category: llm.ModelQuality, message: "not everything at once",
			findings: []string{"the model opened the red box with a key that no tool gave"}, changes: "- id: m\n  toolCalls: Good   # was Excellent\n"},
		"lying": {server: serve(lying), outcome: BelowLevel, measured: models.Limited, category: llm.ModelQuality,
			message: "It said that it was done, and had opened 0 of 1 boxes.", changes: "- id: m\n  toolCalls: Limited   # was Good\n"},
		"lying, as declared": {server: serve(lying), entry: ", toolCalls: Limited", outcome: Fits, measured: models.Limited, category: llm.ModelQuality,
			message: "It said that it was done, and had opened 0 of 1 boxes."},
		"garbling": {server: serve(garbling), outcome: BelowLevel, measured: models.Limited, category: llm.ModelQuality,
			message: "Its answer is not what the tool gave.", changes: "- id: m\n  toolCalls: Limited   # was Good\n"},
		"talking": {server: serve(talking), outcome: BelowLevel, measured: models.None, category: llm.ModelQuality,
			message: "It said that it was done, and had opened 0 of 1 boxes.", changes: "- id: m\n  toolCalls: None   # was Good\n"},
		"calls as text": {server: serve(writing), outcome: BelowLevel, measured: models.None, category: llm.TextToolCall, message: "text",
			findings: []string{"repaired: tool call find_key", "repaired: tool call open_box", "with textToolCalls: salvage it passes the conversation of two calls"},
			changes:  "- id: m\n  quirks: {textToolCalls: salvage}\n"},
		"calls as text, and then is busy": {server: after(2, serve(writing), refuse(429, "Rate limit reached", "Retry-After", "3600")), outcome: ServerTrouble,
			category: llm.RateLimited, message: "text", findings: []string{"textToolCalls: salvage was not tried to the end: the server answered 429"}},
		"calls as text, at last": {server: serve(forgetting), outcome: BelowLevel, measured: models.Limited, category: llm.TextToolCall, message: "text",
			findings: []string{"repaired: tool call open_box", "with textToolCalls: salvage it passes the conversation of two calls"},
			changes:  "- id: m\n  quirks: {textToolCalls: salvage}\n"},
		"busy in the middle, and is to be excellent": {server: after(6, serve(good), refuse(503, "overloaded")), entry: ", toolCalls: Excellent",
			outcome: ServerTrouble, category: llm.Overloaded, message: "503"},
		"out of money in the middle, and is to be excellent": {server: after(6, serve(good), refuse(402, "Insufficient Balance")), entry: ", toolCalls: Excellent",
			outcome: FixSetup, category: llm.QuotaExceeded, message: "Insufficient Balance"},
		"busy in the middle": {server: after(6, serve(good), refuse(503, "overloaded")), outcome: Fits, measured: models.Good,
			findings: []string{"of 5 boxes in a row the model opened 2: the server answered 503"}},
		"ignores the limit": {server: serve(endless), outcome: Fits, measured: models.Excellent,
			findings: []string{"the limit of output tokens is ignored: 400 came where 32 were allowed, so no cost limit is sure to hold"},
			changes:  "- id: m\n  toolCalls: Excellent   # was Good\n"},
		"empty": {server: serve(func(asked) said { return said{} }), outcome: BelowLevel, measured: models.None, category: llm.EmptyResponse,
			message: "with nothing", changes: "- id: m\n  toolCalls: None   # was Good\n"},
		"takes no tools": {server: unless(toolsRefused, refuse(400, "m does not support tools"), serve(good)), outcome: BelowLevel, measured: models.None,
			category: llm.ProviderUnsupported, message: "It answers without tools, and refuses them.", findings: []string{"the form of the request: refused"}, changes: "- id: m\n  toolCalls: None   # was Good\n"},
		"another spelling": {server: unless(func(a asked) bool { return a.ParallelToolCalls != nil }, refuse(400, "Unknown parameter: 'parallel_tool_calls'."), serve(good)),
			entry: ", toolCalls: Excellent, quirks: {parallelToolCalls: true, nullContent: empty, extraBody: {stop: 'a  b'}}", outcome: Fits, measured: models.Excellent,
			findings: []string{"parallel_tool_calls: refused, from here on parallel_tool_calls is not sent"},
			changes:  "- id: m\n  quirks: {nullContent: empty, extraBody: {stop: a  b}}   # without parallelToolCalls\n"},

		"refused once": {server: after(1, refuse(404, "The model is being deployed"), serve(good)), outcome: ServerTrouble, category: llm.ProviderUnsupported,
			message: "answers the same one by now"},
		"says red box":     {server: serve(wordy), entry: ", toolCalls: Excellent", outcome: Fits, measured: models.Excellent},
		"thinks at length": {server: serve(thinking(8000)), entry: ", toolCalls: Excellent, maxOutputTokens: 16384", outcome: Fits, measured: models.Excellent},
		"thinks at more length than can be paid": {server: serve(func(asked) said { return said{finish: "length"} }), entry: `, maxOutputTokens: 16384, pricing: {inputPerMTok: "1", outputPerMTok: "40"}`,
			outcome: NotFinished, message: "A reply was cut off at"},
		"thinks without end": {server: serve(thinking(100000)), entry: ", maxOutputTokens: 16384", outcome: BelowLevel, measured: models.None,
			category: llm.EmptyResponse, changes: "- id: m\n  toolCalls: None   # was Good\n"},
		"echoes the key": {server: echo, provider: ", apiKey: {env: KEY}", entry: ", toolCalls: Excellent", outcome: Fits, measured: models.Excellent,
			findings: []string{`the server says that "Bearer [redacted]" answered`}},

		"another service": {server: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) }, outcome: FixSetup,
			category: llm.ProviderUnsupported, message: "the server answered without choices: check the base URL"},
		"started without a parser": {server: refuse(400, "Tool call parser is not set: launch with '--tool-call-parser'"), outcome: FixSetup,
			category: llm.ProviderUnsupported, message: "--tool-call-parser", findings: []string{"the form of the request: refused"}},
		"started without a template": {server: refuse(500, "tools param requires `--jinja`"), outcome: FixSetup,
			category: llm.ProviderUnsupported, message: "--jinja"},
		"started without tools": {server: unless(toolsRefused, refuse(400, `"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set`), serve(good)),
			outcome: FixSetup, category: llm.ProviderUnsupported, message: "--enable-auto-tool-choice", findings: []string{"the form of the request: refused"}},
		"401":          {server: refuse(401, "Incorrect API key provided"), outcome: FixSetup, category: llm.CredentialConfig, message: "401"},
		"404":          {server: refuse(404, "The model `m` does not exist"), outcome: FixSetup, category: llm.ProviderUnsupported, message: "does not exist"},
		"no such path": {server: http.NotFound, outcome: FixSetup, category: llm.ProviderUnsupported, message: "404"},
		"no key":       {server: serve(good), provider: ", apiKey: {env: NONE}", outcome: FixSetup, category: llm.CredentialConfig, message: "set NONE"},
		"no money":     {server: refuse(402, "Insufficient Balance"), outcome: FixSetup, category: llm.QuotaExceeded, message: "Insufficient Balance"},
		"small window": {server: refuse(400, "This model's maximum context length is 1024 tokens."), outcome: FixSetup, category: llm.ContextLength,
			message: "1024", changes: "- id: m\n  contextWindow: 1024   # was 32768\n  maxOutputTokens: 256   # was 8192\n"},
		"wrong shape": {server: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") }, outcome: FixSetup,
			category: llm.ProviderUnsupported},

		"rate limited": {server: refuse(429, "Rate limit reached", "Retry-After", "3600"), outcome: ServerTrouble, category: llm.RateLimited, message: "429"},
		"busy":         {server: refuse(503, "overloaded"), outcome: ServerTrouble, category: llm.Overloaded, message: "503"},
		"truncating":   {server: truncate, outcome: ServerTrouble, category: llm.TruncatedStream},
		"slow":         {server: silent, provider: ", timeouts: {firstByteSeconds: 1}", outcome: ServerTrouble, category: llm.Timeout},
		"expensive": {server: serve(good), entry: `, pricing: {inputPerMTok: "9000", outputPerMTok: "90000"}`, outcome: NotFinished,
			message: "USD were spent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, requests := start(t, tc.server)
			p := prober()
			p.MaxCostUSD = decimal.RequireFromString("0.25")
			got := p.Run(t.Context(), []models.Candidate{candidate(t, url, tc.provider, tc.entry)}, nil)[0]
			if got.Outcome != tc.outcome || got.Measured != tc.measured || got.Category != tc.category || !strings.Contains(got.Message, tc.message) {
				t.Errorf("got %s, level %q, category %q: %s", got.Outcome, got.Measured, got.Category, got.Message)
			}
			for i, f := range tc.findings {
				if i >= len(got.Findings) || !strings.HasPrefix(got.Findings[i], f) {
					t.Errorf("findings %q, want %q", got.Findings, tc.findings)
					break
				}
			}
			if len(got.Findings) > 0 && len(tc.findings) == 0 {
				t.Errorf("findings %q", got.Findings)
			}
			if diff := cmp.Diff(tc.changes, got.Changes); diff != "" {
				t.Errorf("changes (-want +got)\n%s", diff)
			}
			if got.Changes != "" {
				doc := "version: 1\nproviders: {p: {type: openai, baseURL: 'https://h/v1'}}\nmodels:\n" + got.Changes + "  provider: p\n"
				if _, err := models.Parse([]byte(doc)); err != nil {
					t.Errorf("the changes make an entry that is refused: %v", err)
				}
			}
			if int64(got.Calls) != requests.Load() {
				t.Errorf("reports %d calls, the server had %d", got.Calls, requests.Load())
			}
			if (got.Measured == "") == (got.Outcome == Fits || got.Outcome == BelowLevel) {
				t.Errorf("%s, and level %q", got.Outcome, got.Measured)
			}
			if strings.Contains(fmt.Sprint(got), "secret-key") {
				t.Error("the report has the key")
			}
		})
	}
}

// TestUnreachable: an address at which nobody listens is a matter of the setup.
func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c := candidate(t, srv.URL, "", "")
	got := prober().Run(t.Context(), []models.Candidate{c}, nil)[0]
	if got.Outcome != FixSetup || got.Category != llm.Network {
		t.Errorf("%+v", got)
	}
}

// TestWhoIsUnreachable: what may pass is not blamed on the setup.
func TestWhoIsUnreachable(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want fault
	}{
		"no such host":      {&net.DNSError{IsNotFound: true}, setupFault},
		"no name server":    {&net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}, serverFault},
		"slow name server":  {&net.DNSError{IsTimeout: true}, serverFault},
		"refused":           {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, setupFault},
		"dial timeout":      {&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, serverFault},
		"no TLS over there": {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, setupFault},
		"reset":             {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, serverFault},
	} {
		last := &llm.Error{Category: llm.Network, Err: fmt.Errorf("Post: %w", tc.err)}
		res := harness.Result{Reason: harness.ModelUnavailable, Category: llm.Network}
		if got := failureOf(res, seen{last: last}).fault; got != tc.want {
			t.Errorf("%s: fault %d, want %d", name, got, tc.want)
		}
		if got := failureOf(res, seen{last: last, latencies: []time.Duration{1}}).fault; got != serverFault {
			t.Errorf("%s, after an answer: fault %d", name, got)
		}
	}
}

// TestCallsAreBounded: a server that never comes to an end is left after MaxCalls.
func TestCallsAreBounded(t *testing.T) {
	url, requests := start(t, refuse(503, "overloaded"))
	p := prober()
	p.Retry.Attempts = 1000
	got := p.Run(t.Context(), []models.Candidate{candidate(t, url, "", "")}, nil)[0]
	if got.Outcome != NotFinished || got.Calls != MaxCalls || requests.Load() != MaxCalls || !strings.Contains(got.Message, "at most 30 requests") {
		t.Errorf("%d requests: %+v", requests.Load(), got)
	}
}

// TestTimeout: a probe ends when its time is up, whatever the server does.
func TestTimeout(t *testing.T) {
	url, _ := start(t, silent)
	p := prober()
	p.Timeout = 100 * time.Millisecond
	got := p.Run(t.Context(), []models.Candidate{candidate(t, url, "", "")}, nil)[0]
	if got.Outcome != NotFinished || got.Category != "" || got.Message != "The probe of this model did not end within 100ms." {
		t.Errorf("%+v", got)
	}
}

// TestStopped: who stops a probe learns nothing of the model.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	url, _ := start(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(harness.ErrCancelled)
		<-r.Context().Done()
	})
	got := prober().Run(ctx, []models.Candidate{candidate(t, url, "", "")}, nil)[0]
	if got.Outcome != NotFinished || got.Measured != "" {
		t.Errorf("%+v", got)
	}
}

// TestParallel: as many models at once as was asked for, and no more.
func TestParallel(t *testing.T) {
	var now, most atomic.Int64
	full := make(chan struct{})
	url, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
			if n == 3 {
				close(full)
			}
		}
		select {
		case <-full:
		case <-time.After(time.Minute):
		}
		serve(good)(w, r)
		now.Add(-1)
	})
	p := prober()
	p.Parallel = 3
	var list []models.Candidate
	for range 7 {
		list = append(list, candidate(t, url, "", ""))
	}
	told := 0
	reports := p.Run(t.Context(), list, func(Report) { told++ })
	if told != 7 || len(reports) != 7 || most.Load() != 3 {
		t.Errorf("%d told, %d reports, %d at once", told, len(reports), most.Load())
	}
}

func TestExitCode(t *testing.T) {
	for name, tc := range map[string]struct {
		outcomes []Outcome
		want     int
	}{
		"none":            {nil, 0},
		"all fit":         {[]Outcome{Fits, Fits}, 0},
		"below":           {[]Outcome{Fits, BelowLevel, ServerTrouble}, 4},
		"setup before it": {[]Outcome{BelowLevel, NotFinished, FixSetup}, 3},
		"unmeasured":      {[]Outcome{NotFinished, Fits}, 5},
		"server":          {[]Outcome{ServerTrouble}, 5},
	} {
		var reports []Report
		for _, o := range tc.outcomes {
			reports = append(reports, Report{Outcome: o})
		}
		if got := ExitCode(reports); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
