package probe

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/models"
)

// learned is what a provider knows at the end of a probe and the entry does not say.
type learned struct {
	// quirks are those that the entry should have, where some differ.
	quirks  models.Quirks
	differ  bool
	dropped []string
	// maxOutputTokens is the most that the server takes; 0 is not known.
	maxOutputTokens int
	// level, if set, is reached with the quirks alone.
	level models.Level
}

// learnedOf compares how a provider calls its server by now with what the candidate
// would have it do.
func learnedOf(p llm.Provider, c models.Candidate) learned {
	l, ok := p.(interface {
		Learned() (openai.Quirks, int)
	})
	if !ok {
		return learned{}
	}
	now, limit := l.Learned()
	out := learned{quirks: c.Model.Quirks, maxOutputTokens: limit}
	from, than, to := reflect.ValueOf(models.Quirks(now)), reflect.ValueOf(c.Quirks()), reflect.ValueOf(&out.quirks).Elem()
	for i := range to.NumField() {
		if reflect.DeepEqual(from.Field(i).Interface(), than.Field(i).Interface()) {
			continue
		}
		out.differ = true
		if from.Field(i).IsZero() {
			name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("yaml"), ",")
			out.dropped = append(out.dropped, name)
		}
		to.Field(i).Set(from.Field(i))
	}
	return out
}

// line is the entry's line of quirks.
func (l learned) line() string {
	line := "quirks: " + inline(l.quirks)
	if len(l.dropped) > 0 {
		line += "   # without " + strings.Join(l.dropped, ", ")
	}
	return line
}

// changes are the lines of the entry that would be others.
func (s *subject) changes(known learned, window int) string {
	m := s.candidate.Model
	var lines []string
	level := s.report.Measured
	if known.level != "" {
		level = known.level
	}
	if measured := s.report.Outcome == Fits || s.report.Outcome == BelowLevel; !measured {
		level = "" // whatever broke off the probe says nothing of the model
	}
	if level != "" && level != m.ToolCalls {
		lines = append(lines, fmt.Sprintf("toolCalls: %s   # was %s", level, m.ToolCalls))
	}
	output := known.maxOutputTokens
	if window >= 1024 && window < m.ContextWindow {
		lines = append(lines, fmt.Sprintf("contextWindow: %d   # was %d", window, m.ContextWindow))
		if cmp.Or(output, m.MaxOutputTokens) >= window {
			output = window / 4
		}
	}
	if output > 0 && output < m.MaxOutputTokens {
		lines = append(lines, fmt.Sprintf("maxOutputTokens: %d   # was %d", output, m.MaxOutputTokens))
	}
	// What a server still refused in another form says nothing of the form.
	if works := level != "" && level != models.None; works && known.differ {
		lines = append(lines, known.line())
	}
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("- id: %s\n  %s\n", m.ID, strings.Join(lines, "\n  "))
}

// inline is a value as YAML in one line.
func inline(v any) string {
	var node yaml.Node
	if err := node.Encode(v); err != nil {
		return "{}" // quirks came from YAML
	}
	node.Style = yaml.FlowStyle
	out, err := yaml.Marshal(&node)
	if err != nil {
		return "{}"
	}
	return strings.TrimSpace(string(out))
}
