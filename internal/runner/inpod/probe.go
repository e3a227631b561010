package inpod

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/probe"
	"github.com/sampan-dev/sampan/internal/text"
)

// Bounds of the API on what a status says of a probed model.
const (
	maxProbeMessage = 512
	maxFindings     = 8
	maxFinding      = 256
	maxChanges      = 1024
)

// Prober probes the models of a ModelProbe, in its pod.
type Prober struct {
	name       string
	uid        types.UID
	prober     probe.Prober
	candidates []models.Candidate
	// write writes the results so far.
	write func(context.Context, []v1alpha1.ProbedModel) error
	log   io.Writer
	now   func() time.Time
}

// NewProber reads what the operator gave the pod.
func NewProber() (*Prober, error) {
	namespace := os.Getenv(podapi.EnvNamespace)
	p := &Prober{name: os.Getenv(podapi.EnvProbeName), uid: types.UID(os.Getenv(podapi.EnvProbeUID)), log: text.NewLogWriter(os.Stdout), now: time.Now}
	if p.name == "" || p.uid == "" || namespace == "" {
		return nil, fmt.Errorf("%s, %s and %s must be set: this is no pod of a ModelProbe", podapi.EnvProbeName, podapi.EnvProbeUID, podapi.EnvNamespace)
	}
	seconds, err := strconv.ParseUint(os.Getenv(podapi.EnvProbeSeconds), 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", podapi.EnvProbeSeconds, err)
	}
	cost, err := decimal.NewFromString(os.Getenv(podapi.EnvProbeCostUSD))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", podapi.EnvProbeCostUSD, err)
	}
	// Before anything speaks TLS: Go reads the bundle once, at the first use.
	if err := writeTrust(filepath.Join(podapi.InputDir, podapi.TrustFile), podapi.TrustBundle, systemBundles); err != nil {
		return nil, err
	}
	reg, err := runner.LoadClusterRegistry(filepath.Join(podapi.InputDir, podapi.RegistryFile))
	if err != nil {
		return nil, err
	}
	p.candidates = reg.Usable(models.Need{AllScopes: true, ToolCalls: models.None})
	env := runner.TakeSecrets(reg)
	p.prober = probe.Prober{
		Timeout: time.Duration(seconds) * time.Second, MaxCostUSD: cost, Parallel: podapi.ProbeParallel, Secrets: env.Values(),
		Connect: runner.Connector{TaskName: "probe", Env: env.Get, ScriptFile: func(m models.Provider) string {
			return filepath.Join(podapi.InputDir, podapi.ScriptFile(m.Name))
		}}.Connect,
	}
	a, err := newAPI(namespace)
	if err != nil {
		return nil, err
	}
	p.write = func(ctx context.Context, results []v1alpha1.ProbedModel) error {
		return a.writeProbed(ctx, p.name, p.uid, results)
	}
	return p, nil
}

// Run probes the models and writes each result as soon as it is there, so that what is
// known is kept if the pod is lost. The error is that of the last write.
func (p *Prober) Run(ctx context.Context) error {
	candidates := map[string]models.Candidate{}
	for _, c := range p.candidates {
		candidates[c.Model.ID] = c
	}
	var results []v1alpha1.ProbedModel
	p.prober.Run(ctx, p.candidates, func(r probe.Report) {
		results = append(results, probedModel(candidates[r.Model], r, p.now()))
		if line, err := json.Marshal(r); err == nil {
			_, _ = fmt.Fprintf(p.log, "%s\n", line) // the log is for people, and the status counts
		}
		if len(results) < len(p.candidates) {
			_ = p.write(ctx, results) // what failed now is written with the next one
		}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalReportTimeout)
	defer cancel()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.write(ctx, results)
		if final(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(finalReportTimeout), backoff.WithBackOff(newBackOff()))
	if err != nil {
		return fmt.Errorf("writing the results to the status of ModelProbe %s: %w", p.name, err)
	}
	return nil
}

// probedModel is what a status says of a report. What models and servers have said is in
// it, so it is cut, and shows no control characters.
func probedModel(c models.Candidate, r probe.Report, now time.Time) v1alpha1.ProbedModel {
	out := v1alpha1.ProbedModel{
		ID: r.Model, Digest: c.Digest(), Outcome: v1alpha1.ProbeOutcome(r.Outcome),
		Declared: v1alpha1.ProbeLevel(r.Declared), Measured: v1alpha1.ProbeLevel(r.Measured), Category: string(r.Category),
		Message: text.Clip(text.Inline(r.Message), maxProbeMessage), Calls: new(int32(r.Calls)), //nolint:gosec // at most probe.MaxCalls
		InputTokens: new(r.Usage.InputTokens), OutputTokens: new(r.Usage.OutputTokens), Time: new(metav1.NewTime(now)),
	}
	for _, f := range r.Findings[:min(len(r.Findings), maxFindings)] {
		out.Findings = append(out.Findings, text.Clip(text.Inline(f), maxFinding))
	}
	if changes := text.Visible(r.Changes); len(changes) <= maxChanges { // a part of them would be wrong
		out.Changes = changes
	}
	if l := r.LatencyMillis; l != nil {
		out.MedianLatencyMillis, out.MaxLatencyMillis = new(l.P50), new(l.Max)
	}
	if r.CostUSD != nil {
		out.CostUSD = r.CostUSD.String()
	}
	return out
}

// writeProbed writes the results of a ModelProbe. The UID keeps them from a later one of
// the same name.
func (a *api) writeProbed(ctx context.Context, name string, uid types.UID, results []v1alpha1.ProbedModel) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status":   map[string]any{"models": results},
	})
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return a.rest.Patch(types.MergePatchType).
		Namespace(a.namespace).Resource("modelprobes").Name(name).SubResource("status").
		Param("fieldManager", podapi.FieldManager).
		Body(body).Do(ctx).Error()
}
