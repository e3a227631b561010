package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	yaml3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// maxInputBytes bounds a manifest, a registry and a prompt.
const maxInputBytes = 1 << 20

// manifestLimits bound a manifest. Its deepest fields are those of an affinity.
var manifestLimits = yamldoc.Limits{Bytes: maxInputBytes, Depth: yamldoc.MaxDepth, Nodes: 50_000, Aliases: true}

// LoadTask reads an AgentTask manifest and holds it to the API's rules, since no
// API server does that here. Errors say where they are, as FILE:LINE, one a line.
func LoadTask(path string) (*v1alpha1.AgentTask, error) {
	data, err := ReadBounded(path)
	if err != nil {
		return nil, err
	}
	root, err := yamldoc.Parse(data, manifestLimits)
	var p *yamldoc.Problem
	if errors.As(err, &p) && p.Line > 0 {
		return nil, fmt.Errorf("%s:%d: %s", path, p.Line, p.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var at v1alpha1.AgentTask
	if err := yaml.UnmarshalStrict(data, &at); err != nil {
		return nil, manifestError(path, data, root, err)
	}
	want := v1alpha1.GroupVersion.String()
	switch {
	case at.Kind != "AgentTask" || at.APIVersion != want:
		return nil, fmt.Errorf("%s: this is apiVersion %q, kind %q; want %s, AgentTask", path, at.APIVersion, at.Kind, want)
	case at.Name == "":
		return nil, fmt.Errorf("%s: metadata.name is missing", path)
	case at.Spec.Prompt == "" && at.Spec.PromptFrom == (v1alpha1.PromptSource{}) && at.Spec.From.TaskRef.Name == "":
		return nil, fmt.Errorf("%s: set spec.prompt or spec.promptFrom", path)
	}
	var bad []error
	for _, e := range validate(&at, data) {
		bad = append(bad, fmt.Errorf("%s: %w", place(path, root, e.Field), e))
	}
	return &at, errors.Join(bad...)
}

// validate checks what the API server would refuse, and what needs a cluster.
// Other rules of the API are kept by what reads the field.
func validate(at *v1alpha1.AgentTask, data []byte) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateWritten(spec, data)
	for _, bad := range validation.IsDNS1123Subdomain(at.Name) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), at.Name, bad))
	}
	if at.Spec.Prompt != "" && at.Spec.PromptFrom != (v1alpha1.PromptSource{}) {
		errs = append(errs, field.Forbidden(spec.Child("promptFrom"), "set only one of prompt and promptFrom"))
	}
	if m := at.Spec.Model; len(slices.DeleteFunc([]string{m.Name, m.Group, m.Role}, func(s string) bool { return s == "" })) > 1 {
		errs = append(errs, field.Forbidden(spec.Child("model"), "set only one of name, group and role"))
	}
	if at.Spec.Sandbox.SandboxRef.Name != "" {
		errs = append(errs, field.Forbidden(spec.Child("sandbox", "sandboxRef"), "there are no Sandboxes without a cluster; take it out, and give the folder or the sandbox server by a flag"))
	}
	if at.Spec.Sandbox.PoolRef.Name != "" {
		errs = append(errs, field.Forbidden(spec.Child("sandbox", "poolRef"), "there are no pools without a cluster; take it out, and give the repository by sandbox.template.workspace.git"))
	}
	if _, err := costLimit(at.Spec.Limits.CostUSD); err != nil {
		errs = append(errs, field.Invalid(spec.Child("limits", "costUSD"), field.OmitValueType{}, err.Error()))
	}
	switch at.Spec.State {
	case "", v1alpha1.TaskActive:
	case v1alpha1.TaskSuspended, v1alpha1.TaskCancelled:
		errs = append(errs, field.Forbidden(spec.Child("state"), fmt.Sprintf("a task that is %s does not run; take state out, or make it Active", at.Spec.State)))
	default:
		errs = append(errs, field.NotSupported(spec.Child("state"), at.Spec.State, []v1alpha1.TaskState{v1alpha1.TaskActive, v1alpha1.TaskSuspended, v1alpha1.TaskCancelled}))
	}
	errs = append(errs, validateGit(spec.Child("sandbox", "template", "workspace", "git"), at.Spec.Sandbox.Template.Workspace.Git)...)
	errs = append(errs, validateOutputs(spec.Child("outputs"), at.Spec.Outputs)...)
	return append(errs, validateVerify(spec.Child("verify"), at.Spec.Verify)...)
}

// outputName is what an output may be called, as the API has it.
var outputName = regexp.MustCompile(`^[a-z0-9]+([-._][a-z0-9]+)*$`)

func validateOutputs(list *field.Path, outputs []v1alpha1.Output) (errs field.ErrorList) {
	names := map[string]bool{}
	for i, o := range outputs {
		at := list.Index(i)
		if !outputName.MatchString(o.Name) || len(o.Name) > 63 {
			errs = append(errs, field.Invalid(at.Child("name"), o.Name, "must be small letters and digits, with single dashes, dots or underscores between them"))
		}
		if names[o.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), o.Name))
		}
		names[o.Name] = true
		kinds := 0
		for _, set := range []bool{o.Patch != nil, o.Path != "", o.Branch != (v1alpha1.BranchOutput{})} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			errs = append(errs, field.Invalid(at, o.Name, "set exactly one of patch, path and branch"))
		}
		if o.Path != "" && (o.Path == "." || path.Clean(o.Path) != o.Path || !filepath.IsLocal(o.Path)) {
			errs = append(errs, field.Invalid(at.Child("path"), o.Path, "must be relative, without '.', '..', a doubled slash or a slash at its end"))
		}
	}
	return errs
}

// validateGit never repeats a URL with an @ in it: there may be a password before.
func validateGit(path *field.Path, src v1alpha1.GitSource) (errs field.ErrorList) {
	if src == (v1alpha1.GitSource{}) {
		return nil
	}
	if _, err := workspace.ParseURL(src.URL); err != nil {
		var shown any = text.Clip(text.Inline(src.URL), 200)
		if strings.Contains(src.URL, "@") {
			shown = field.OmitValueType{}
		}
		errs = append(errs, field.Invalid(path.Child("url"), shown, err.Error()))
	}
	if strings.HasPrefix(src.Ref, "-") || text.Inline(src.Ref) != src.Ref {
		errs = append(errs, field.Invalid(path.Child("ref"), text.Inline(src.Ref), "must be the name of a branch or a tag, or a full commit id"))
	}
	switch src.PlainHTTP {
	case "", v1alpha1.PlainHTTPDeny, v1alpha1.PlainHTTPAllow:
	default:
		errs = append(errs, field.NotSupported(path.Child("plainHTTP"), src.PlainHTTP, []v1alpha1.PlainHTTP{v1alpha1.PlainHTTPDeny, v1alpha1.PlainHTTPAllow}))
	}
	return errs
}

// validateWritten checks what the decoded task no longer tells from a field that
// was left out: there 0 is the default, and no tool is all of them.
func validateWritten(spec *field.Path, data []byte) (errs field.ErrorList) {
	var written struct {
		Spec struct {
			Limits  map[string]any  `json:"limits"`
			Tools   *map[string]any `json:"tools"`
			Sandbox struct {
				Template struct {
					Workspace struct {
						Git *map[string]any `json:"git"`
					} `json:"workspace"`
				} `json:"template"`
			} `json:"sandbox"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &written); err != nil {
		return field.ErrorList{field.InternalError(spec, err)}
	}
	for _, name := range slices.Sorted(maps.Keys(written.Spec.Limits)) {
		n, ok := written.Spec.Limits[name].(float64)
		switch {
		case !ok || n >= 1:
		case name == "costUSD":
			errs = append(errs, field.Invalid(spec.Child("limits", name), n, fmt.Sprintf("must be a string; write %q", fmt.Sprint(n))))
		default:
			errs = append(errs, field.Invalid(spec.Child("limits", name), n, "must be at least 1; leave it out for the default"))
		}
	}
	if git := written.Spec.Sandbox.Template.Workspace.Git; git != nil && (*git)["url"] == "" {
		errs = append(errs, field.Required(spec.Child("sandbox", "template", "workspace", "git", "url"), "name the repository; leave git out for an empty workspace"))
	}
	if tools := written.Spec.Tools; tools != nil {
		if allowed, _ := (*tools)["allowed"].([]any); len(allowed) == 0 {
			errs = append(errs, field.Required(spec.Child("tools", "allowed"), "name the tools; leave spec.tools out for all"))
		}
	}
	return errs
}

func validateVerify(path *field.Path, verify []v1alpha1.Verification) (errs field.ErrorList) {
	names := map[string]bool{}
	for i, v := range verify {
		at := path.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "results are told apart by it"))
		case strings.ContainsFunc(v.Name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) }):
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be one line without control characters"))
		case names[v.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		}
		names[v.Name] = true
		if v.Command == "" {
			errs = append(errs, field.Required(at.Child("command"), "it is what proves the work"))
		}
		if v.TimeoutSeconds < 0 {
			errs = append(errs, field.Invalid(at.Child("timeoutSeconds"), v.TimeoutSeconds, "must be at least 1; leave it out for the default"))
		}
		if v.Files.ConfigMapName != "" || len(v.Files.Keys) > 0 {
			errs = append(errs, field.Forbidden(at.Child("files"), "there are no ConfigMaps without a cluster; take it out, or see agent-runner eval for tests that the agent does not see"))
		}
		switch v.Isolation {
		case "", v1alpha1.VerificationShared:
		case v1alpha1.VerificationSeparate:
			errs = append(errs, field.Forbidden(at.Child("isolation"), "there is no other machine without a cluster; take it out, or see agent-runner eval for tests in a box of their own"))
		default:
			errs = append(errs, field.NotSupported(at.Child("isolation"), v.Isolation, []v1alpha1.VerificationIsolation{v1alpha1.VerificationShared, v1alpha1.VerificationSeparate}))
		}
	}
	return errs
}

// place gives FILE:LINE of a field, or the file alone where it is not found.
func place(path string, root *yaml3.Node, field string) string {
	if root == nil {
		return path
	}
	node := yamldoc.Find(root, field)
	if node == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, node.Line)
}

// LoadRegistry reads a registry document. Errors say where they are, as
// FILE:LINE:COLUMN, one a line.
func LoadRegistry(path string) (*models.Registry, error) { return loadRegistry(path, models.Parse) }

// LoadClusterRegistry reads one as the operator gives it to a pod.
func LoadClusterRegistry(path string) (*models.Registry, error) {
	return loadRegistry(path, models.ParseInCluster)
}

func loadRegistry(path string, parse func([]byte) (*models.Registry, error)) (*models.Registry, error) {
	data, err := ReadBounded(path)
	if err != nil {
		return nil, err
	}
	reg, err := parse(data)
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

// ReadBounded reads a file that a user gave: a manifest, a registry, a prompt.
func ReadBounded(path string) ([]byte, error) {
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
