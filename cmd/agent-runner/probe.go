package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/inpod"
	"github.com/sampan-dev/sampan/internal/runner/probe"
	"github.com/sampan-dev/sampan/internal/text"
)

const probeLong = `Find out what the models of a registry can do, by short conversations with each in
which it has to call one tool with what another one gave: first with two calls, then
with six. The loop, the requests and the names of failures are those of a run.

OUTCOME
  Fits           the model is as good as its entry says, or better
  BelowLevel     the model, as it is served, is not
  FixSetup       the key, address, name, account or server's settings are wrong
  ServerTrouble  the server was busy, slow or broken, which may pass
  NotFinished    a bound of the probe was reached, or it was stopped

MEASURED is Excellent where everything went well at once, Good where the two calls
did, Limited where only the first one did, None where not even that, and - where
nothing was found out. What the registry should say otherwise is printed as YAML.

Keys come from the environment, as for agent-runner run. Models that are disabled are
left out unless --model names them.

Exit codes:
   0  every model fits
   1  Internal error
   2  wrong usage or input
   3  the setup of a model is to be fixed
   4  a model is below its level
   5  something was not measured: server trouble, or a bound was reached`

// probeFlags say what is probed.
type probeFlags struct {
	registry string
	models   []string
	format   string
	maxCost  string
	quiet    bool
	// inCluster is for the pod of a ModelProbe.
	inCluster bool
	prober    probe.Prober
}

func probeCommand(code *int) *cobra.Command {
	f := probeFlags{format: "text", prober: probe.Prober{Timeout: probe.DefaultTimeout, Parallel: probe.DefaultParallel}}
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Find out what the models of a registry can do",
		Long:  probeLong,
		Example: `  agent-runner probe --registry models.yaml
  agent-runner probe --registry models.yaml --model qwen2.5-coder-32b -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.inCluster {
				return probeInCluster(cmd.Context())
			}
			return f.run(cmd, code)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.inCluster, "in-cluster", false, "probe as the pod of a ModelProbe, and report to its status")
	flags.StringVar(&f.registry, "registry", "", "model registry document")
	flags.StringSliceVar(&f.models, "model", nil, "probe this model only; may be given several times")
	flags.DurationVar(&f.prober.Timeout, "timeout", f.prober.Timeout, "how long the probe of one model may take")
	flags.StringVar(&f.maxCost, "max-cost", "0.25", "US dollars that the probe of one model may cost, if its price is known")
	flags.IntVar(&f.prober.Parallel, "parallel", f.prober.Parallel, "how many models to probe at once")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
	addFormat(cmd, &f.format)
	cobra.CheckErr(cmd.MarkFlagFilename("registry", "yaml", "yml", "json"))
	return cmd
}

// probeInCluster probes the models that a ModelProbe names, in its pod.
func probeInCluster(ctx context.Context) error {
	if err := protect(); err != nil {
		return err
	}
	ctx, stop := stopOnSignal(ctx, harness.ErrInterrupted)
	defer stop()
	klog.SetLogger(logr.Discard()) // the log of the container has the reports
	pod, err := inpod.NewProber()
	if err != nil {
		return err
	}
	return pod.Run(ctx)
}

func (f *probeFlags) run(cmd *cobra.Command, code *int) error {
	if err := f.check(); err != nil {
		return err
	}
	reg, err := loadRegistry(f.registry)
	if err != nil {
		return err
	}
	candidates, err := f.candidates(reg)
	if err != nil {
		return err
	}
	env := runner.TakeSecrets(reg)
	f.prober.Secrets = env.Values()
	f.prober.Connect = runner.Connector{TaskName: "probe", Env: env.Get, ScriptFile: runner.ScriptBeside(f.registry)}.Connect
	ctx, stop := stopOnSignal(cmd.Context(), harness.ErrCancelled)
	defer stop()
	say := func(format string, args ...any) {
		if !f.quiet {
			fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
		}
	}
	say("Probing %s: at most %d requests and %s each, and %s USD where the price is known.",
		text.Plural(len(candidates), "model"), probe.MaxCalls, f.prober.Timeout, f.prober.MaxCostUSD)
	reports := f.prober.Run(ctx, candidates, func(r probe.Report) { say("  %s: %s", r.Model, r.Outcome) })
	*code = probe.ExitCode(reports)
	if f.format != "text" {
		return unread(printData(cmd.OutOrStdout(), f.format, reports))
	}
	return unread(printProbes(cmd.OutOrStdout(), filepath.Base(f.registry), reports))
}

func (f *probeFlags) check() error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	var err error
	f.prober.MaxCostUSD, err = decimal.NewFromString(f.maxCost)
	switch {
	case f.registry == "":
		return usageError{errors.New("--registry is required; see agent-runner probe --help")}
	case err != nil || !f.prober.MaxCostUSD.IsPositive():
		return usageError{fmt.Errorf("--max-cost is %q; want US dollars, more than 0, such as 0.25", f.maxCost)}
	case f.prober.Timeout <= 0:
		return usageError{fmt.Errorf("--timeout is %s; want a time such as 5m", f.prober.Timeout)}
	case f.prober.Parallel < 1:
		return usageError{fmt.Errorf("--parallel is %d; want 1 or more", f.prober.Parallel)}
	}
	return nil
}

// candidates are the models to probe, in the order of the registry or of --model.
func (f *probeFlags) candidates(reg *models.Registry) (out []models.Candidate, err error) {
	add := func(m models.Model) {
		out = append(out, models.Candidate{Model: m, Provider: reg.Providers[m.Provider]})
	}
	var ids []string
	for _, m := range reg.Models {
		if ids = append(ids, m.ID); len(f.models) == 0 && !m.Disabled {
			add(m)
		}
	}
	for _, id := range f.models {
		m, ok := reg.Model(id)
		if !ok {
			return nil, usageError{fmt.Errorf("%s has no model %q%s", f.registry, id, models.DidYouMean(id, ids))}
		}
		add(m)
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("%s has no model that is not disabled; name one with --model", f.registry)}
	}
	return out, nil
}

func printProbes(w io.Writer, registry string, reports []probe.Report) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MODEL\tDECLARED\tMEASURED\tOUTCOME\tCATEGORY\tCALLS\tP50\tTOKENS\tCOST")
	for _, r := range reports {
		latency, used, cost := "-", "-", "-"
		if u := r.Usage; u.InputTokens+u.OutputTokens > 0 {
			used = fmt.Sprintf("%d in, %d out", u.InputTokens, u.OutputTokens)
		}
		if r.LatencyMillis != nil {
			latency = elapsed(time.Duration(r.LatencyMillis.P50) * time.Millisecond)
		}
		if r.CostUSD != nil {
			cost = "$" + r.CostUSD.String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Model, r.Declared, dash(string(r.Measured)), r.Outcome,
			dash(string(r.Category)), r.Calls, latency, used, cost)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range reports {
		writeNotes(&b, r)
	}
	heading := false
	for _, r := range reports {
		if r.Changes == "" {
			continue
		}
		if !heading {
			fmt.Fprintf(&b, "\n# What this would change in %s:\nmodels:\n", text.Inline(registry))
			heading = true
		}
		b.WriteString(r.Changes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeNotes writes what is to be said of one model beside its row.
func writeNotes(b *strings.Builder, r probe.Report) {
	if r.Message == "" && len(r.Findings) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", r.Model)
	if r.Message != "" {
		fmt.Fprintf(b, "  %s\n", text.Inline(r.Message))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(b, "  * %s\n", text.Inline(f))
	}
}
