package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// maxViolations is how many are told at once.
	maxViolations = 5
	// maxValue bounds how much of a value is told.
	maxValue = 80
)

// Violation is something that a template asks for and may not have.
type Violation struct {
	// Path is the field, such as spec.template.image.
	Path string
	// Value is what it holds, quoted where it is a text.
	Value string
	// Key is the key of the policy that decides, and Rule what it says where the
	// key alone does not tell.
	Key, Rule string
}

// String gives `spec.template.image: "busybox" (policy: images)`.
func (v Violation) String() string {
	rule := v.Key
	if v.Rule != "" {
		rule += " " + v.Rule
	}
	return fmt.Sprintf("%s: %s (policy: %s)", v.Path, v.Value, rule)
}

// Message says all violations in one line.
func Message(violations []Violation) string {
	var b strings.Builder
	for i, v := range violations {
		if i == maxViolations {
			fmt.Fprintf(&b, "; and %d more", len(violations)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// checker gathers what is wrong with one template.
type checker struct {
	*Policy
	namespace  string
	violations []Violation
}

func (c *checker) refuse(path, value, key, rule string, args ...any) {
	c.violations = append(c.violations, Violation{Path: path, Value: value, Key: key, Rule: fmt.Sprintf(rule, args...)})
}

func quoted(s string) string { return fmt.Sprintf("%q", text.Clip(s, maxValue)) }

// Check gives what a template of a namespace asks for beyond the policy. The path is
// where the template is in its object.
func (p *Policy) Check(t *v1alpha1.SandboxTemplate, namespace, path string) []Violation {
	c := &checker{Policy: p, namespace: namespace}
	full := p.Defaulted(t)
	if t.Image != "" && !imageAllowed(p.Images, t.Image) {
		c.refuse(path+".image", quoted(t.Image), "images", "")
	}
	c.resources(*full.Resources, c.Resources, path+".resources")
	if t.Runner.Resources != nil {
		c.resources(*t.Runner.Resources, c.runnerBounds(), path+".runner.resources")
	}
	c.workspace(&t.Workspace, path+".workspace")
	c.network(t, path)
	c.proxy(&t.Proxy, path+".proxy")
	if name := t.CABundle.Name; name != "" && !matches(p.CABundles, name) {
		c.refuse(path+".caBundle.name", quoted(name), "caBundles", "")
	}
	switch {
	case full.RuntimeClassName == "" && p.Runtime.Required:
		c.refuse(path+".runtimeClassName", "none", "runtimeClass.required", "wants one of %s", strings.Join(p.Runtime.Names, ", "))
	case t.RuntimeClassName != "" && !matches(p.Runtime.Names, t.RuntimeClassName):
		c.refuse(path+".runtimeClassName", quoted(t.RuntimeClassName), "runtimeClass.names", "")
	}
	for i := range t.Volumes {
		c.volume(&t.Volumes[i], fmt.Sprintf("%s.volumes[%d]", path, i))
	}
	if t.RootFilesystem == v1alpha1.RootFilesystemWritable && !p.WritableRootFilesystem {
		c.refuse(path+".rootFilesystem", string(t.RootFilesystem), "writableRootFilesystem", "is false")
	}
	c.metadata(&t.Metadata, path+".metadata")
	c.scheduling(&t.Scheduling, path+".scheduling")
	return c.violations
}

// matches reports whether a text is meant by one of the globs.
func matches(globs []string, s string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return doublestar.MatchUnvalidated(glob, s) })
}

// imageAllowed holds the name of an image, and its name with the tag or the digest,
// against globs. Of an image with both the tag says nothing: it is pulled by digest.
func imageAllowed(globs []string, image string) bool {
	if globs == nil {
		return true
	}
	ref, err := reference.ParseDockerRef(image)
	return err == nil && (matches(globs, ref.Name()) || matches(globs, ref.String()))
}

// free are the resources of which a container may ask for any amount where the
// policy has no other.
var free = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

// resources are those that a container gets.
func (c *checker) resources(given corev1.ResourceRequirements, bounds map[corev1.ResourceName]resource.Quantity, path string) {
	for _, list := range []struct {
		path    string
		amounts corev1.ResourceList
	}{{path + ".limits", given.Limits}, {path + ".requests", given.Requests}} {
		for _, name := range slices.Sorted(maps.Keys(list.amounts)) {
			amount := list.amounts[name]
			most, bounded := bounds[name]
			switch at := fmt.Sprintf("%s[%s]", list.path, text.Clip(string(name), maxValue)); {
			case bounded && amount.Cmp(most) > 0:
				c.refuse(at, amount.String(), "resources."+string(name), "is %s", most.String())
			case !bounded && !slices.Contains(free, name):
				c.refuse(at, amount.String(), "resources", "")
			}
		}
	}
}

// runnerBounds leave out the devices that are for tools.
func (c *checker) runnerBounds() map[corev1.ResourceName]resource.Quantity {
	bounds := maps.Clone(c.Resources)
	maps.DeleteFunc(bounds, func(name corev1.ResourceName, _ resource.Quantity) bool { return !slices.Contains(free, name) })
	return bounds
}

func (c *checker) workspace(w *v1alpha1.Workspace, path string) {
	size := resource.MustParse(v1alpha1.DefaultWorkspaceSize)
	if w.SizeLimit != nil {
		size = *w.SizeLimit
	}
	if most := c.Workspace.SizeLimit; most != nil && size.Cmp(*most) > 0 {
		c.refuse(path+".sizeLimit", sizeText(w.SizeLimit, size), "workspace.sizeLimit", "is %s", most.String())
	}
	if name := w.StorageClassName; name != "" && c.Workspace.StorageClassNames != nil && !matches(c.Workspace.StorageClassNames, name) {
		c.refuse(path+".storageClassName", quoted(name), "workspace.storageClassNames", "")
	}
}

func sizeText(given *resource.Quantity, size resource.Quantity) string {
	if given == nil {
		return size.String() + " by default"
	}
	return size.String()
}
