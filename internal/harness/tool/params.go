package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/sampan-dev/sampan/internal/jsontext"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
)

// params is what a tool takes: the schema that the model sees and that its
// arguments are held against.
type params struct {
	tool     string
	schema   *jsonschema.Schema
	resolved *jsonschema.Resolved
}

// newTool makes a tool from a struct of its parameters: their names, types and
// descriptions are in its tags. A mistake in one shows in any test.
func newTool[P any](name, description string, readOnly bool, run func(context.Context, *Set, *P) (Result, error)) Tool {
	schema, err := jsonschema.For[P](nil)
	if err != nil {
		panic(fmt.Sprintf("schema of tool %s: %v", name, err))
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		panic(fmt.Sprintf("schema of tool %s: %v", name, err))
	}
	text, err := json.Marshal(schema)
	if err != nil {
		panic(fmt.Sprintf("schema of tool %s: %v", name, err))
	}
	return Tool{
		Spec:     llm.ToolSpec{Name: name, Description: strings.TrimSpace(description), Parameters: text},
		ReadOnly: readOnly,
		params:   &params{tool: name, schema: schema, resolved: resolved},
		run: func(ctx context.Context, s *Set, args []byte) (Result, error) {
			p := new(P)
			if err := json.Unmarshal(args, p); err != nil {
				return failed("The arguments of %s do not fit: %v", name, err), nil
			}
			return run(ctx, s, p)
		},
	}
}

// parse turns what the model gave into arguments that fit the schema. Text that
// is no JSON is repaired once. The error tells the model how to do it right.
func (p *params) parse(raw string) ([]byte, error) {
	v, err := decode(raw)
	if err != nil {
		return nil, p.usage(err.Error())
	}
	args, ok := v.(map[string]any)
	if !ok {
		return nil, p.usage("The arguments must be one JSON object, not " + kindOf(v) + ".")
	}
	for name, value := range args {
		schema := p.schema.Properties[name]
		if schema == nil {
			continue
		}
		if value == nil { // some models send null for what they leave out
			delete(args, name)
			continue
		}
		args[name] = coerce(value, schema.Type)
	}
	if problems := p.problems(args); len(problems) > 0 {
		return nil, p.usage(strings.Join(problems, " "))
	}
	if err := p.resolved.Validate(args); err != nil {
		return nil, p.usage("The arguments do not fit the schema: " + err.Error() + ".")
	}
	return json.Marshal(args)
}

// usage adds to a problem what the right call looks like.
func (p *params) usage(problem string) error {
	var b strings.Builder
	for i, name := range p.schema.PropertyOrder {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q: %s", name, p.schema.Properties[name].Type)
		if !slices.Contains(p.schema.Required, name) {
			b.WriteString(" (optional)")
		}
	}
	return fmt.Errorf("%s Nothing was done. Call %s with {%s}.", problem, p.tool, b.String())
}

// problems says in plain words what a validator says in its own.
func (p *params) problems(args map[string]any) []string {
	var out []string
	for _, name := range p.schema.Required {
		if _, ok := args[name]; !ok {
			out = append(out, fmt.Sprintf("The required argument %q is missing.", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		schema := p.schema.Properties[name]
		if schema == nil {
			out = append(out, fmt.Sprintf("There is no argument %q.", text.Clip(name, 60)))
		} else if got := kindOf(args[name]); got != schema.Type && (got != "integer" || schema.Type != "number") {
			out = append(out, fmt.Sprintf("The argument %q must be of type %s, not %s.", name, schema.Type, got))
		}
	}
	return out
}

// maxArguments bounds what is parsed; no tool needs as much.
const maxArguments = 8 << 20

// decode reads a JSON value, repairing the text once if need be. Text that
// breaks off inside a string is not repaired: a command or a file content of
// which the end is missing must not be used as if it were whole.
func decode(raw string) (any, error) {
	text := strings.TrimSpace(raw)
	if len(text) > maxArguments {
		return nil, fmt.Errorf("The arguments have %d bytes, more than %d.", len(text), maxArguments)
	}
	if text == "" || text == "null" {
		return map[string]any{}, nil
	}
	v, err := decodeStrict(text)
	if err == nil {
		inner, ok := v.(string)
		if !ok {
			return v, nil
		}
		// An object that was encoded twice.
		if v, err := decodeStrict(strings.TrimSpace(inner)); err == nil {
			return v, nil
		}
		return v, nil
	}
	if jsontext.EndsInString(text) {
		return nil, errors.New("The arguments break off in the middle of a string: the output limit may have been reached. Send them again whole, in smaller pieces if they are long.")
	}
	fixed, repairErr := jsontext.Repair(text)
	if repairErr == nil {
		if v, repairErr = decodeStrict(fixed); repairErr == nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("The arguments are not valid JSON (%w).", err)
}

func decodeStrict(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	var v any
	if err := dec.Decode(&v); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends too early")
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the first value")
	}
	return v, nil
}

// coerce repairs scalars that are only spelled wrongly: "30" for 30, "true" for true.
func coerce(v any, want string) any {
	s, isString := v.(string)
	switch {
	case isString && (want == "integer" || want == "number"):
		if n, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && !math.IsInf(n, 0) && !math.IsNaN(n) {
			return n
		}
	case isString && want == "boolean":
		if b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(s))); err == nil {
			return b
		}
	case want == "string":
		switch v.(type) {
		case float64, bool:
			if text, err := json.Marshal(v); err == nil {
				return string(bytes.TrimSpace(text))
			}
		}
	}
	return v
}

// kindOf names a JSON value's type in the schema's words.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}
