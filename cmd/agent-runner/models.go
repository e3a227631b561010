package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/text"
)

func modelsCommand(code *int) *cobra.Command {
	return group(&cobra.Command{Use: "models", Short: "Check a model registry, and see what it leads to"},
		modelsValidateCommand(), modelsListCommand(), modelsExplainCommand(code))
}

func modelsValidateCommand() *cobra.Command {
	cluster := false
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a registry document",
		Args:  oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			load := runner.LoadRegistry
			if cluster {
				load = runner.LoadClusterRegistry
			}
			reg, err := load(args[0])
			if err != nil {
				return &runner.UsageError{Err: err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid; models: %d, providers: %d\n", args[0], len(reg.Models), len(reg.Providers))
			return nil
		},
	}
	cmd.Flags().BoolVar(&cluster, "cluster", false, "refuse what a registry of a cluster must not have, such as keys from the environment")
	return cmd
}

func loadRegistry(path string) (*models.Registry, error) {
	reg, err := runner.LoadRegistry(path)
	if err != nil {
		return nil, &runner.UsageError{Err: err}
	}
	return reg, nil
}

// listedModel is a model as -o json gives it, with all defaults filled in.
type listedModel struct {
	ID            string        `json:"id"`
	Provider      string        `json:"provider"`
	Profile       string        `json:"profile,omitempty"`
	Upstream      string        `json:"upstream"`
	ToolCalls     models.Level  `json:"toolCalls"`
	ContextWindow int           `json:"contextWindow"`
	MaxOutput     int           `json:"maxOutputTokens"`
	Pricing       *listedPrices `json:"pricing,omitempty"`
	Roles         []string      `json:"roles,omitempty"`
	FallbackGroup string        `json:"fallbackGroup,omitempty"`
	Priority      int           `json:"priority,omitempty"`
	Scopes        []string      `json:"scopes,omitempty"`
	// PerMinute is how many requests are made at most.
	PerMinute int `json:"requestsPerMinute,omitempty"`
	// State is Enabled or Disabled.
	State string `json:"state"`
}

// listedPrices are in US dollars per million tokens.
type listedPrices struct {
	Input       decimal.Decimal `json:"inputPerMTok"`
	CachedInput decimal.Decimal `json:"cachedInputPerMTok"`
	Output      decimal.Decimal `json:"outputPerMTok"`
}

func listModels(reg *models.Registry) []listedModel {
	out := make([]listedModel, len(reg.Models))
	for i, m := range reg.Models {
		p := reg.Providers[m.Provider]
		out[i] = listedModel{
			ID: m.ID, Provider: m.Provider, Upstream: m.Upstream, ToolCalls: m.ToolCalls, ContextWindow: m.ContextWindow,
			MaxOutput: m.MaxOutputTokens, Roles: m.Roles, FallbackGroup: m.FallbackGroup, Priority: m.Priority, Scopes: m.Scopes,
			PerMinute: m.Limits.RequestsPerMinute, State: "Enabled",
		}
		if p.Type == models.TypeOpenAI {
			out[i].Profile = models.ProfileOf(p).Name
		}
		if m.Disabled {
			out[i].State = "Disabled"
		}
		if m.Pricing != nil {
			out[i].Pricing = &listedPrices{m.Pricing.InputPerMTok, m.Pricing.CachedInputPerMTok, m.Pricing.OutputPerMTok}
		}
	}
	return out
}

func modelsListCommand() *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "Print the models of a registry",
		Long: `Print the models of a registry, with the defaults filled in. PRICE is in US
dollars per million tokens: input, cached input, output. A model without a price is
not used by tasks with a cost limit. SCOPES is * where everybody may use a model.`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			reg, err := loadRegistry(args[0])
			if err != nil {
				return err
			}
			list := listModels(reg)
			if format != "text" {
				return unread(printData(cmd.OutOrStdout(), format, list))
			}
			return unread(printModels(cmd.OutOrStdout(), list))
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// addFormat lets a command print text or data.
func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", *format, "how to print: text, json or yaml")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)))
}

func checkFormat(format string) error {
	if !slices.Contains(outputFormats, format) {
		return usageError{fmt.Errorf("--output is %q; use text, json or yaml%s", format, models.DidYouMean(format, outputFormats))}
	}
	return nil
}

func printModels(w io.Writer, list []listedModel) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MODEL\tPROVIDER\tTOOLS\tWINDOW\tOUTPUT\tPRICE\tROLES\tGROUP\tSCOPES\tSTATE")
	for _, m := range list {
		price := "unknown"
		if p := m.Pricing; p != nil {
			price = p.Input.String() + "/" + p.CachedInput.String() + "/" + p.Output.String()
			if p.Input.IsZero() && p.Output.IsZero() {
				price = "free"
			}
		}
		group := m.FallbackGroup
		if group != "" {
			group += ":" + strconv.Itoa(m.Priority)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Provider, m.ToolCalls, tokens(m.ContextWindow), tokens(m.MaxOutput),
			price, dash(m.Roles...), dash(group), or(strings.Join(m.Scopes, ","), "*"), m.State)
	}
	return tw.Flush()
}

// tokens is a number of tokens as people say it: 32768 is 32Ki, 200000 is 200k.
func tokens(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return strconv.FormatFloat(float64(n)/1e6, 'f', -1, 64) + "M"
	case n >= 1000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + "k"
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "Mi"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "Ki"
	}
	return strconv.Itoa(n)
}

func dash(words ...string) string { return or(strings.Join(words, ","), "-") }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// explainFlags say what task is asked about.
type explainFlags struct {
	sel          models.Selector
	scopes       []string
	allScopes    bool
	level        string
	conversation int
	priced       bool
	task         string
	// probes is a file with the ModelProbes that count.
	probes string
	format string
}

const explainLong = `Say which models a task gets, in the order in which they are called, and why not
the others. Without --name, --group and --role it is a task that names no model;
--task takes them, and whether there is a cost limit, from an AgentTask manifest.

A task of a namespace has the scopes of its label sampan.dev/scopes: --scope. A
run without a cluster may use every model: --all-scopes. Where the registry says
routing.unfit: Exclude, what ModelProbes have measured counts: --probes, with those of
the task's namespace and of the registry's.

The exit code is 10 where no model can be used.`

func modelsExplainCommand(code *int) *cobra.Command {
	f := explainFlags{format: "text"}
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say which models a task gets, and why",
		Long:  explainLong,
		Example: `  agent-runner models explain models.yaml --role coder --scope workspace
  agent-runner models explain models.yaml --task task.yaml --all-scopes
  agent-runner models explain models.yaml --group coding --conversation 150000 -o json
  kubectl get modelprobes -o json | agent-runner models explain models.yaml --probes /dev/stdin`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], code) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.sel.Name, "name", "", "the task names this model")
	flags.StringVar(&f.sel.Group, "group", "", "the task names this fallback group")
	flags.StringVar(&f.sel.Role, "role", "", "the task names this role")
	flags.StringVar(&f.task, "task", "", "AgentTask manifest, in place of --name, --group, --role and --cost-limit")
	flags.StringSliceVar(&f.scopes, "scope", nil, "a scope of the task's namespace; may be given several times")
	flags.BoolVar(&f.allScopes, "all-scopes", false, "whatever the scopes, as in a run without a cluster")
	flags.StringVar(&f.level, "tool-calls", string(models.DefaultToolCalls), "the lowest level of tool calls that will do")
	flags.IntVar(&f.conversation, "conversation", 0, "how long the conversation is, in tokens")
	flags.BoolVar(&f.priced, "cost-limit", false, "the task has a cost limit")
	flags.StringVar(&f.probes, "probes", "", "file with the ModelProbes that count, as of kubectl get modelprobes -o json")
	addFormat(cmd, &f.format)
	cobra.CheckErr(cmd.MarkFlagFilename("task", "yaml", "yml", "json"))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("tool-calls", cobra.FixedCompletions(models.Levels(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// explained is an explanation as -o json gives it, with what was asked.
type explained struct {
	*models.Explanation
	Scopes       []string     `json:"scopes,omitempty"`
	AllScopes    bool         `json:"allScopes,omitempty"`
	ToolCalls    models.Level `json:"toolCalls"`
	Conversation int          `json:"conversationTokens,omitempty"`
	CostLimit    bool         `json:"costLimit,omitempty"`
}

func (f *explainFlags) run(cmd *cobra.Command, path string, code *int) error {
	if err := f.check(); err != nil {
		return err
	}
	reg, err := loadRegistry(path)
	if err != nil {
		return err
	}
	need := models.Need{Scopes: f.scopes, AllScopes: f.allScopes, ToolCalls: models.Level(f.level), Priced: f.priced}
	if f.probes != "" {
		if need.Probed, err = runner.LoadProbes(f.probes); err != nil {
			return &runner.UsageError{Err: err}
		}
	}
	e, err := reg.Explain(f.sel, need, f.conversation)
	if err != nil {
		return usageError{err}
	}
	if e.Error != "" {
		*code = harness.ModelUnavailable.ExitCode()
	}
	out := explained{Explanation: e, Scopes: f.scopes, AllScopes: f.allScopes, ToolCalls: need.ToolCalls, Conversation: f.conversation, CostLimit: f.priced}
	if f.format != "text" {
		return unread(printData(cmd.OutOrStdout(), f.format, out))
	}
	return unread(printExplained(cmd.OutOrStdout(), out))
}

// check also takes from the manifest what it says.
func (f *explainFlags) check() error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if levels := models.Levels(); !slices.Contains(levels, f.level) {
		return usageError{fmt.Errorf("--tool-calls is %q; use %s%s", f.level, strings.Join(levels, ", "), models.DidYouMean(f.level, levels))}
	}
	if f.conversation < 0 {
		return usageError{fmt.Errorf("--conversation is %d; want a number of tokens", f.conversation)}
	}
	if f.task == "" {
		return nil
	}
	if !f.sel.IsZero() || f.priced {
		return usageError{errors.New("--task says which model is asked for and whether there is a cost limit: leave --name, --group, --role and --cost-limit out")}
	}
	at, err := runner.LoadTask(f.task)
	if err != nil {
		return &runner.UsageError{Err: err}
	}
	f.sel, f.priced = runner.SelectorOf(at), at.Spec.Limits.CostUSD != ""
	return nil
}

func printExplained(w io.Writer, e explained) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	asked := e.Selector.String()
	if e.Default && !e.Selector.IsZero() {
		asked += ", the registry's default"
	}
	scopes := or(strings.Join(e.Scopes, ", "), "none")
	if e.AllScopes {
		scopes = "all"
	}
	fmt.Fprintf(tw, "Asked for\t%s\nTool calls\t%s or better\nScopes\t%s\n", text.Inline(asked), e.ToolCalls, text.Inline(scopes))
	if e.Conversation > 0 {
		fmt.Fprintf(tw, "Conversation\t%d tokens\n", e.Conversation)
	}
	if e.CostLimit {
		fmt.Fprint(tw, "Cost limit\tyes, so the price must be known\n")
	}
	result := "no model"
	if e.Error == "" {
		result = e.Models[0].ID
	}
	fmt.Fprintf(tw, "Result\t%s\n", result)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "#\tMODEL\tDECISION\tWHY")
	for i, m := range e.Models {
		n := "-"
		if m.Decision == models.Chosen || m.Decision == models.Fallback {
			n = strconv.Itoa(i + 1)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", n, m.ID, dash(string(m.Decision)), m.Why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if excluded := slices.ContainsFunc(e.Models, func(m models.Explained) bool { return m.Decision == models.Excluded }); e.Error != "" && !excluded {
		_, err := fmt.Fprintf(w, "\n%s\n", text.Inline(e.Error))
		return err
	}
	return nil
}
