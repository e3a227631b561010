package models

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDocument bounds a registry; a ConfigMap holds no more.
const maxDocument = 1 << 20

// Problem is one thing that is wrong with a registry document.
type Problem struct {
	// Path is the field, like "models[0].toolCalls"; empty for a syntax error.
	Path string
	// Line and Column count from 1; 0 when not known.
	Line, Column int
	Message      string
}

// String gives "line 4:7: models[0].id: …".
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d:%d: ", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// InvalidError lists all that is wrong with a registry document.
type InvalidError struct{ Problems []Problem }

// Error implements error.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// document is the YAML as it is written; Registry is what it means.
type document struct {
	Version   int                         `yaml:"version"`
	Default   Selector                    `yaml:"default"`
	Providers map[string]providerDocument `yaml:"providers"`
	Models    []modelDocument             `yaml:"models"`
}

type providerDocument struct {
	Type    ProviderType  `yaml:"type"`
	BaseURL string        `yaml:"baseURL"`
	APIKey  *KeySource    `yaml:"apiKey"`
	Script  *ScriptSource `yaml:"script"`
}

type modelDocument struct {
	ID              string           `yaml:"id"`
	Provider        string           `yaml:"provider"`
	Upstream        string           `yaml:"upstream"`
	ContextWindow   int              `yaml:"contextWindow"`
	MaxOutputTokens int              `yaml:"maxOutputTokens"`
	ToolCalls       Level            `yaml:"toolCalls"`
	Roles           []string         `yaml:"roles"`
	Scopes          []string         `yaml:"scopes"`
	FallbackGroup   string           `yaml:"fallbackGroup"`
	Priority        int              `yaml:"priority"`
	Pricing         *pricingDocument `yaml:"pricing"`
	Quirks          Quirks           `yaml:"quirks"`
	Limits          Limits           `yaml:"limits"`
	Disabled        bool             `yaml:"disabled"`
}

// pricingDocument keeps prices as text: a YAML float would round.
type pricingDocument struct {
	InputPerMTok       string `yaml:"inputPerMTok"`
	CachedInputPerMTok string `yaml:"cachedInputPerMTok"`
	OutputPerMTok      string `yaml:"outputPerMTok"`
}

// Parse reads and validates a registry document. Every error is an
// *InvalidError with all problems that were found.
func Parse(data []byte) (reg *Registry, err error) {
	defer func() {
		// The YAML library is fed what users wrote; its bugs must not end a
		// manager that serves other tasks.
		if p := recover(); p != nil {
			reg, err = nil, invalid(Problem{Message: fmt.Sprintf("the document cannot be read: %v", p)})
		}
	}()
	if len(data) > maxDocument {
		return nil, invalid(Problem{Message: fmt.Sprintf("the document has %d bytes, the limit is %d", len(data), maxDocument)})
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, yamlProblem(err)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, invalid(Problem{Message: "the document is empty"})
	}
	if len(file.Docs) > 1 {
		return nil, invalid(Problem{Message: "there is more than one document; put all into one"})
	}
	if p := findAlias(file); p != nil {
		return nil, invalid(*p)
	}
	var doc document
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&doc); err != nil {
		return nil, yamlProblem(err)
	}
	v := &validator{file: file}
	reg = v.registry(doc)
	if len(v.problems) > 0 {
		return nil, &InvalidError{Problems: v.problems}
	}
	return reg, nil
}

func invalid(p Problem) error { return &InvalidError{Problems: []Problem{p}} }

// findAlias refuses aliases: a few lines of them can grow without bound.
func findAlias(file *ast.File) *Problem {
	var found *Problem
	for _, doc := range file.Docs {
		ast.Walk(visitor(func(n ast.Node) {
			if found == nil && n.Type() == ast.AliasType {
				pos := n.GetToken().Position
				found = &Problem{Line: pos.Line, Column: pos.Column, Message: "YAML aliases are not supported"}
			}
		}), doc)
	}
	return found
}

type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(n ast.Node) ast.Visitor { v(n); return v }

var unknownField = regexp.MustCompile(`^unknown field "([^"]+)"$`)

// fieldNames are those of a document, at any level.
func fieldNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
			names = append(names, fieldNames(f.Type)...)
		}
	}
	return names
}

// yamlProblem turns an error of the library into one with a position.
func yamlProblem(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return invalid(Problem{Message: err.Error()})
	}
	p := Problem{Message: ye.GetMessage()}
	if m := unknownField.FindStringSubmatch(p.Message); m != nil {
		p.Message += DidYouMean(m[1], fieldNames(reflect.TypeFor[document]()))
	}
	if tok := ye.GetToken(); tok != nil && tok.Position != nil {
		p.Line, p.Column = tok.Position.Line, tok.Position.Column
	}
	return invalid(p)
}
