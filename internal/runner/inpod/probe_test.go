package inpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/probe"
	"github.com/sampan-dev/sampan/internal/text"
)

// refusing is a server that refuses all, with hostile words.
func refusing(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":{"message":"\u001b[2J%s the key s3cret-key"}}`, strings.Repeat("x", 2000))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// proberOf probes two models whose server refuses them.
func proberOf(t *testing.T, write func(context.Context, []v1alpha1.ProbedModel) error) (*Prober, *bytes.Buffer) {
	t.Helper()
	reg, err := models.ParseInCluster(fmt.Appendf(nil, "version: 1\nproviders: {p: {type: openai, baseURL: %q}}\nmodels: [{id: a, provider: p}, {id: b, provider: p, toolCalls: None}]\n", refusing(t)+"/v1"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return &Prober{
		name: "nightly", candidates: reg.Usable(models.Need{AllScopes: true, ToolCalls: models.None}), write: write, log: text.NewLogWriter(&log), now: time.Now,
		prober: probe.Prober{Parallel: 1, Retry: broker.Retry{Base: time.Millisecond}, Secrets: []string{"s3cret-key"},
			Connect: runner.Connector{Env: func(string) string { return "" }}.Connect},
	}, &log
}

// TestResultsAreWritten as they come, and the last of them until they are.
func TestResultsAreWritten(t *testing.T) {
	var lengths []int
	var last []v1alpha1.ProbedModel
	p, log := proberOf(t, func(_ context.Context, results []v1alpha1.ProbedModel) error {
		lengths = append(lengths, len(results))
		last = results
		if len(lengths) < 3 {
			return errors.New("the API server is away")
		}
		return nil
	})
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(lengths) != "[1 2 2]" {
		t.Errorf("wrote %v results", lengths)
	}
	for _, m := range last {
		if m.Outcome != v1alpha1.ProbeFixSetup || m.Category != string(llm.CredentialConfig) || m.Measured != "" || len(m.Digest) != 32 || m.Time == nil {
			t.Errorf("%s: %+v", m.ID, m)
		}
		if strings.Contains(m.Message, "s3cret") || strings.ContainsAny(m.Message, "\x1b\n") || len(m.Message) > maxProbeMessage {
			t.Errorf("%s says %q", m.ID, m.Message)
		}
	}
	if said := log.String(); strings.Contains(said, "s3cret") || strings.Contains(said, "\x1b") || strings.Count(said, "\n") != 2 {
		t.Errorf("the log is %q", said)
	}
}

// TestARefusalIsFinal: another try would change nothing.
func TestARefusalIsFinal(t *testing.T) {
	tries := 0
	p, _ := proberOf(t, func(context.Context, []v1alpha1.ProbedModel) error {
		tries++
		return apierrors.NewForbidden(schema.GroupResource{Resource: "modelprobes"}, "nightly", errors.New("it has ended"))
	})
	if err := p.Run(t.Context()); err == nil || tries != 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// TestAReportFitsTheStatus, whatever is in it.
func TestAReportFitsTheStatus(t *testing.T) {
	long := strings.Repeat("\x1b[2Jé", 2000)
	r := probe.Report{Model: "a", Outcome: probe.Fits, Declared: models.Good, Measured: models.Good, Message: long, Changes: long, Calls: 3,
		LatencyMillis: &probe.Latency{P50: 5, Max: 9}, Usage: llm.Usage{InputTokens: 7, OutputTokens: 8}, CostUSD: new(decimal.RequireFromString("0.125"))}
	for range 20 {
		r.Findings = append(r.Findings, long)
	}
	got := probedModel(models.Candidate{Model: models.Model{ID: "a"}}, r, time.Unix(5, 0))
	if len(got.Message) > maxProbeMessage || len(got.Findings) != maxFindings || len(got.Findings[0]) > maxFinding || got.Changes != "" {
		t.Errorf("%d bytes of message, %d findings of %d, %d of changes", len(got.Message), len(got.Findings), len(got.Findings[0]), len(got.Changes))
	}
	if *got.MedianLatencyMillis != 5 || *got.MaxLatencyMillis != 9 || *got.InputTokens != 7 || *got.OutputTokens != 8 || got.CostUSD != "0.125" || *got.Calls != 3 {
		t.Errorf("%+v", got)
	}
	if r.Changes = "- id: a\n  toolCalls: Excellent\n"; probedModel(models.Candidate{}, r, time.Time{}).Changes != r.Changes {
		t.Error("the changes are cut")
	}
}

// TestWriteProbed: the request names the one ModelProbe that is meant, and nothing but its results.
func TestWriteProbed(t *testing.T) {
	var asked atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		asked.Store([]any{r.Method, r.URL.Path, r.Header.Get("Content-Type"), body})
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"apiVersion":"sampan.dev/v1alpha1","kind":"ModelProbe"}`)
	}))
	t.Cleanup(srv.Close)
	a, err := apiFor(&rest.Config{Host: srv.URL}, "ns")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.writeProbed(t.Context(), "nightly", "u", []v1alpha1.ProbedModel{{ID: "a"}}); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(asked.Load())
	want := `["PATCH","/apis/sampan.dev/v1alpha1/namespaces/ns/modelprobes/nightly/status","application/merge-patch+json",{"metadata":{"uid":"u"},"status":{"models":[{"id":"a"}]}}]`
	if string(got) != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
}
