package policy

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// limits bound a document; a policy needs far less.
var limits = yamldoc.Limits{Bytes: 64 << 10, Depth: yamldoc.MaxDepth, Nodes: 10000}

// document is the YAML as it is written; Policy is what it means.
type document struct {
	Version             int                `yaml:"version"`
	Images              []string           `yaml:"images"`
	Resources           map[string]string  `yaml:"resources"`
	CABundles           []string           `yaml:"caBundles"`
	Workspace           workspaceDocument  `yaml:"workspace"`
	Network             networkDocument    `yaml:"network"`
	Runtime             runtimeDocument    `yaml:"runtimeClass"`
	Metadata            metadataDocument   `yaml:"metadata"`
	Scheduling          schedulingDocument `yaml:"scheduling"`
	Volumes             volumesDocument    `yaml:"volumes"`
	WritableRoot        bool               `yaml:"writableRootFilesystem"`
	NamespaceRegistries *bool              `yaml:"namespaceRegistries"`
	// Defaults are written as in a template.
	Defaults map[string]any `yaml:"defaults"`
}

type workspaceDocument struct {
	SizeLimit         string   `yaml:"sizeLimit"`
	StorageClassNames []string `yaml:"storageClassNames"`
}

type volumesDocument struct {
	Types      []string `yaml:"types"`
	Claims     []string `yaml:"claims"`
	CSIDrivers []string `yaml:"csiDrivers"`
}

type networkDocument struct {
	Open    *bool                 `yaml:"open"`
	Proxies []string              `yaml:"proxies"`
	Allow   []destinationDocument `yaml:"allow"`
}

type destinationDocument struct {
	CIDRs      []string `yaml:"cidrs"`
	Namespaces []string `yaml:"namespaces"`
	Ports      []string `yaml:"ports"`
}

type runtimeDocument struct {
	Names    []string `yaml:"names"`
	Required bool     `yaml:"required"`
}

type metadataDocument struct {
	Labels      []string `yaml:"labels"`
	Annotations []string `yaml:"annotations"`
}

type schedulingDocument struct {
	NodeSelector           []string `yaml:"nodeSelector"`
	Tolerations            []string `yaml:"tolerations"`
	PriorityClassNames     []string `yaml:"priorityClassNames"`
	CrossNamespaceAffinity bool     `yaml:"crossNamespaceAffinity"`
}

// Parse reads and validates a policy document. Every error is a
// *models.InvalidError with the problems that were found.
func Parse(data []byte) (*Policy, error) {
	root, err := yamldoc.Parse(data, limits)
	var wrong *yamldoc.Problem
	switch {
	case errors.As(err, &wrong):
		return nil, invalid(*wrong)
	case err != nil:
		return nil, invalid(models.Problem{Message: err.Error()})
	case root == nil:
		return nil, invalid(models.Problem{Message: "the document is empty; a policy begins with version: 1"})
	}
	if n := findNull(root); n != nil {
		return nil, invalid(models.Problem{Line: n.Line, Column: n.Column,
			Message: "there is no value here; leave the key out, or write [] for none"})
	}
	var doc document
	if problems := yamldoc.Decode(root, &doc, models.DidYouMean); len(problems) > 0 {
		return nil, invalid(problems...)
	}
	v := &validator{root: root}
	p := v.policy(doc)
	if problems := v.problems.List(); len(problems) > 0 {
		return nil, invalid(problems...)
	}
	return p, nil
}

func invalid(problems ...models.Problem) error { return &models.InvalidError{Problems: problems} }

// findNull finds a key without a value, of which nobody can tell whether it means
// everything or nothing.
func findNull(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return n
	}
	for _, child := range n.Content {
		if found := findNull(child); found != nil {
			return found
		}
	}
	return nil
}
