package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner/probe"
)

// TestProbeTable: what people see, with a row of each outcome.
func TestProbeTable(t *testing.T) {
	cost := decimal.RequireFromString("0.00412")
	reports := []probe.Report{
		{Model: "qwen2.5-coder-32b", Declared: models.Good, Measured: models.Excellent, Outcome: probe.Fits, Calls: 11,
			LatencyMillis: &probe.Latency{P50: 812, Max: 2400}, Usage: llm.Usage{InputTokens: 5200, OutputTokens: 640}, CostUSD: &cost,
			Changes: "- id: qwen2.5-coder-32b\n  toolCalls: Excellent   # was Good\n"},
		{Model: "small", Declared: models.Good, Measured: models.None, Outcome: probe.BelowLevel, Category: llm.TextToolCall, Calls: 5,
			LatencyMillis: &probe.Latency{P50: 95000, Max: 99000}, Usage: llm.Usage{InputTokens: 900, OutputTokens: 120},
			Message:  "the reply has a tool call as text.",
			Findings: []string{"with textToolCalls: salvage it passes the conversation of two calls"},
			Changes:  "- id: small\n  quirks: {textToolCalls: salvage}\n"},
		{Model: "gpt-x", Declared: models.Good, Outcome: probe.FixSetup, Category: llm.CredentialConfig,
			Message: "connecting to provider openai: the API key of provider openai is missing: set OPENAI_API_KEY\x1b[2J"},
		{Model: "busy", Declared: models.Good, Outcome: probe.ServerTrouble, Category: llm.RateLimited, Calls: 2, Usage: llm.Usage{InputTokens: 500}, Message: "the server answered 429 Too Many Requests"},
	}
	var out bytes.Buffer
	if err := printProbes(&out, "models.yaml", reports); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/probe.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, out.String())
	}
}

// TestValidateForACluster: keys from the environment are for runs without a cluster.
func TestValidateForACluster(t *testing.T) {
	for _, cluster := range []bool{false, true} {
		cmd := modelsValidateCommand()
		cmd.SetOut(&bytes.Buffer{})
		args := []string{"../../examples/registry/models.yaml"}
		if cluster {
			args = append(args, "--cluster")
		}
		cmd.SetArgs(args)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); (err != nil) != cluster {
			t.Errorf("cluster %t: %v", cluster, err)
		}
	}
}
