package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
)

// maxInputBytes bounds a manifest, a registry and a prompt.
const maxInputBytes = 1 << 20

// LoadTask reads an AgentTask manifest; an unknown field is an error. Errors
// say where they are, as FILE:LINE.
func LoadTask(path string) (*v1alpha1.AgentTask, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	var at v1alpha1.AgentTask
	if err := yaml.UnmarshalStrict(data, &at); err != nil {
		return nil, manifestError(path, data, err)
	}
	want := v1alpha1.GroupVersion.String()
	switch {
	case at.Kind != "AgentTask" || at.APIVersion != want:
		return nil, fmt.Errorf("%s: this is apiVersion %q, kind %q; want %s, AgentTask", path, at.APIVersion, at.Kind, want)
	case at.Name == "":
		return nil, fmt.Errorf("%s: metadata.name is missing", path)
	case at.Spec.Prompt == "" && at.Spec.PromptFrom == (v1alpha1.PromptSource{}):
		return nil, fmt.Errorf("%s: set spec.prompt or spec.promptFrom", path)
	}
	return &at, nil
}

// What the decoder says; it knows fields and no lines.
var (
	unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)
	syntaxLine   = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?line (\d+): `)
)

// manifestError says in which line of the file it is that something is wrong.
func manifestError(path string, data []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: %s", path, m[1], strings.TrimPrefix(text, m[0]))
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return fmt.Errorf("%s: %s: got a %s, want %s", place(path, data, mistyped.Field), mistyped.Field, mistyped.Value, mistyped.Type)
	}
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: there is no field %q here", keyPlace(path, data, m[1]), m[1])
	}
	return fmt.Errorf("%s: %s", path, text)
}

// place gives FILE:LINE of a field, or the file alone where it is not found.
func place(path string, data []byte, field string) string {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return path
	}
	p, err := goyaml.PathString("$." + field)
	if err != nil {
		return path
	}
	node, err := p.FilterFile(file)
	if err != nil || node == nil || node.GetToken() == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, node.GetToken().Position.Line)
}

// keyPlace gives FILE:LINE of the first such key; all that is known of an
// unknown field is its name.
func keyPlace(path string, data []byte, key string) string {
	loc := regexp.MustCompile(`(?m)(?:^|[\s{,])["']?` + regexp.QuoteMeta(key) + `["']?\s*:`).FindIndex(data)
	if loc == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, 1+bytes.Count(data[:loc[1]], []byte("\n")))
}

// LoadRegistry reads a registry document. Errors say where they are, as
// FILE:LINE:COLUMN, one a line.
func LoadRegistry(path string) (*models.Registry, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	reg, err := models.Parse(data)
	var bad *models.InvalidError
	switch {
	case err == nil:
		return reg, nil
	case !errors.As(err, &bad):
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return nil, &registryError{path: path, err: bad}
}

// registryError is an invalid registry in a file.
type registryError struct {
	path string
	err  *models.InvalidError
}

// Error implements error.
func (e *registryError) Error() string {
	lines := make([]string, len(e.err.Problems))
	for i, p := range e.err.Problems {
		at := e.path
		if p.Line > 0 {
			at = fmt.Sprintf("%s:%d:%d", e.path, p.Line, p.Column)
		}
		p.Line = 0
		lines[i] = at + ": " + p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems.
func (e *registryError) Unwrap() error { return e.err }

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(f, maxInputBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case n > maxInputBytes:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxInputBytes)
	}
	return buf.Bytes(), nil
}
