package runner

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
)

// LoadProbes reads what ModelProbes have measured, by the digest of the entry, from a
// manifest of one or of a list of them, such as kubectl prints.
func LoadProbes(path string) (map[string]models.Measured, error) {
	data, err := ReadBounded(path)
	if err != nil {
		return nil, err
	}
	var doc struct {
		v1alpha1.ModelProbe `json:",inline"`
		Items               []v1alpha1.ModelProbe `json:"items"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch doc.Kind {
	case "ModelProbe":
		doc.Items = append(doc.Items, doc.ModelProbe)
	case "ModelProbeList", "List":
	default:
		return nil, fmt.Errorf("%s: this is kind %q; want ModelProbe or a list of them, as of kubectl get modelprobes -o json", path, doc.Kind)
	}
	out := map[string]models.Measured{}
	for _, p := range doc.Items {
		for _, m := range p.Status.Models {
			if m.Time != nil {
				models.Latest(out, m.Digest, models.Measured{Level: models.Level(m.Measured), Probe: p.Namespace + "/" + p.Name, Time: m.Time.Time})
			}
		}
	}
	return out, nil
}
