package scripted

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// MaxScriptBytes caps a script file.
const MaxScriptBytes = 4 << 20

// maxScriptNodes caps its values: keys, texts, mappings and lists.
const maxScriptNodes = 100_000

// Script is a parsed and validated script file.
type Script struct {
	// Models chooses by the id in the request; a model that is not named here
	// plays the script's own Cases and Turns.
	Models map[string]Play `yaml:"models"`
	Play   `yaml:",inline"`
}

// Play is what one model does.
type Play struct {
	// Cases are tried in order; the first whose Match is in the prompt plays.
	Cases []Case `yaml:"cases"`
	// Turns play when no case matches.
	Turns []Turn `yaml:"turns"`
}

// Case is a list of turns for the prompts that hold Match.
type Case struct {
	Match string `yaml:"match"`
	Turns []Turn `yaml:"turns"`
}

// Turn is one reply of the model.
type Turn struct {
	Text         string           `yaml:"text"`
	Reasoning    string           `yaml:"reasoning"`
	ToolCalls    []ToolCall       `yaml:"toolCalls"`
	Usage        *Usage           `yaml:"usage"`
	FinishReason llm.FinishReason `yaml:"finishReason"`
	Delay        time.Duration    `yaml:"delay"`
	// Expect must be found in the last observation.
	Expect string `yaml:"expect"`
	// ExpectMatch is a regular expression (RE2) that must match in it.
	ExpectMatch string `yaml:"expectMatch"`
	// Repeat plays the turn so many times; 0 is once.
	Repeat int    `yaml:"repeat"`
	Fault  *Fault `yaml:"fault"`

	expectMatch *regexp.Regexp
}

// ToolCall is one call of a turn.
type ToolCall struct {
	// ID is made from the turn's number when empty.
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// Arguments is a mapping, sent as JSON, or a string, sent as it is.
	Arguments any `yaml:"arguments"`

	arguments string
}

// Usage is what the turn says it cost, in tokens.
type Usage struct {
	InputTokens       int64 `yaml:"inputTokens"`
	CachedInputTokens int64 `yaml:"cachedInputTokens"`
	OutputTokens      int64 `yaml:"outputTokens"`
}

// FaultKind is a way to fail.
type FaultKind string

// The kinds of fault.
const (
	// FaultStatus answers with an HTTP status and a body; the default.
	FaultStatus FaultKind = "status"
	// FaultReset resets the connection before any answer.
	FaultReset FaultKind = "reset"
	// FaultTruncate sends half of the reply and closes the connection.
	FaultTruncate FaultKind = "truncate"
	// FaultStall sends half of the reply, then nothing until the client leaves.
	FaultStall FaultKind = "stall"
	// FaultHang sends nothing at all until the client leaves.
	FaultHang FaultKind = "hang"
	// FaultEmptyChoices answers 200 with no choices.
	FaultEmptyChoices FaultKind = "emptyChoices"
	// FaultRaw answers with Body as it is and Status, 200 when absent.
	FaultRaw FaultKind = "raw"
)

// Fault makes a turn fail.
type Fault struct {
	Kind   FaultKind `yaml:"kind"`
	Status int       `yaml:"status"`
	Body   string    `yaml:"body"`
	// RetryAfter is sent as a header with FaultStatus, in whole seconds rounded
	// up, or as retry-after-ms when under a second.
	RetryAfter time.Duration `yaml:"retryAfter"`
	// Times fails only so many requests of a conversation, then plays the turn;
	// 0 fails every one.
	Times int `yaml:"times"`
}

// Load reads and checks the script in a file.
func Load(path string) (*Script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading script: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, MaxScriptBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading script %s: %w", path, err)
	}
	script, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading script %s: %w", path, err)
	}
	return script, nil
}

// Parse reads and checks a script. An unknown field is an error with its line.
func Parse(data []byte) (*Script, error) {
	root, err := yamldoc.Parse(data, yamldoc.Limits{Bytes: MaxScriptBytes, Depth: yamldoc.MaxDepth, Nodes: maxScriptNodes})
	if err != nil {
		return nil, fmt.Errorf("decoding script: %w", err)
	}
	if root == nil {
		return nil, errors.New("script is empty")
	}
	var script Script
	if problems := yamldoc.Decode(root, &script, nil); len(problems) > 0 {
		return nil, fmt.Errorf("decoding script: %w", &problems[0])
	}
	if err := script.prepare(); err != nil {
		return nil, err
	}
	return &script, nil
}

// prepare validates the script and fills what is computed once.
func (s *Script) prepare() error {
	if err := s.Play.prepare(""); err != nil {
		return err
	}
	empty := len(s.Turns) == 0 && len(s.Cases) == 0
	for id, play := range s.Models {
		if err := play.prepare("models." + id + "."); err != nil {
			return err
		}
		empty = empty && len(play.Turns) == 0 && len(play.Cases) == 0
	}
	if empty {
		return errors.New("script has no turns")
	}
	return nil
}

func (p *Play) prepare(path string) error {
	for i := range p.Cases {
		at := fmt.Sprintf("%scases[%d]", path, i)
		if p.Cases[i].Match == "" {
			return fmt.Errorf("%s: match is missing; turns for any prompt belong beside cases", at)
		}
		if err := prepareTurns(p.Cases[i].Turns, at+".turns"); err != nil {
			return err
		}
	}
	return prepareTurns(p.Turns, path+"turns")
}

func prepareTurns(turns []Turn, path string) error {
	for i := range turns {
		if err := turns[i].prepare(); err != nil {
			return fmt.Errorf("%s[%d]: %w", path, i, err)
		}
	}
	return nil
}

func (t *Turn) prepare() error {
	if t.Repeat < 0 || t.Delay < 0 {
		return errors.New("repeat and delay cannot be negative")
	}
	switch t.FinishReason {
	case "", llm.FinishStop, llm.FinishToolCalls, llm.FinishLength, llm.FinishContentFilter:
	default:
		return fmt.Errorf("finishReason %q is not one of stop, tool_calls, length, content_filter", t.FinishReason)
	}
	if t.ExpectMatch != "" {
		re, err := regexp.Compile(t.ExpectMatch)
		if err != nil {
			return fmt.Errorf("expectMatch: %w", err)
		}
		t.expectMatch = re
	}
	for i := range t.ToolCalls {
		if err := t.ToolCalls[i].prepare(); err != nil {
			return fmt.Errorf("toolCalls[%d]: %w", i, err)
		}
	}
	if t.Fault != nil {
		if err := t.Fault.prepare(); err != nil {
			return fmt.Errorf("fault: %w", err)
		}
	}
	return nil
}

func (c *ToolCall) prepare() error {
	if c.Name == "" {
		return errors.New("name is missing")
	}
	switch args := c.Arguments.(type) {
	case nil:
		c.arguments = "{}"
	case string:
		c.arguments = args
	case map[string]any:
		text, err := marshalPlain(args)
		if err != nil {
			return fmt.Errorf("arguments: %w", err)
		}
		c.arguments = text
	default:
		return errors.New("arguments must be a mapping or a string")
	}
	return nil
}

func (f *Fault) prepare() error {
	if f.Times < 0 || f.RetryAfter < 0 {
		return errors.New("times and retryAfter cannot be negative")
	}
	if f.Kind == "" {
		f.Kind = FaultStatus
	}
	switch f.Kind {
	case FaultStatus:
		if f.Status < 300 || f.Status > 599 {
			return fmt.Errorf("status %d is not between 300 and 599; other answers are kind: raw", f.Status)
		}
	case FaultRaw:
		if f.Status == 0 {
			f.Status = 200
		}
		if f.Status < 200 || f.Status > 599 {
			return fmt.Errorf("status %d is not between 200 and 599", f.Status)
		}
	case FaultReset, FaultTruncate, FaultStall, FaultHang, FaultEmptyChoices:
		if f.Status != 0 || f.Body != "" || f.RetryAfter != 0 {
			return fmt.Errorf("kind %s takes no status, body or retryAfter", f.Kind)
		}
	default:
		return fmt.Errorf("kind %q is not one of status, reset, truncate, stall, hang, emptyChoices, raw", f.Kind)
	}
	return nil
}

// marshalPlain is json.Marshal without the escapes for HTML, which real models
// do not write.
func marshalPlain(v any) (string, error) {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(buf.String(), "\n"), nil
}
