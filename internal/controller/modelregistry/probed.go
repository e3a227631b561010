package modelregistry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
)

// probed gives a registry with what probes have measured, where it asks for that. Those of
// the namespace count, and those of the registry's own.
func (s *Store) probed(ctx context.Context, namespace string, entry *Entry) (*Entry, error) {
	if entry == nil || entry.Registry.Routing.Unfit != models.UnfitExclude {
		return entry, nil
	}
	out := *entry
	out.Probed = map[string]models.Measured{}
	for _, ns := range slices.Compact([]string{namespace, entry.Source.Namespace}) {
		var list v1alpha1.ModelProbeList
		if err := s.Reader.List(ctx, &list, client.InNamespace(ns), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing ModelProbes of namespace %s: %w", ns, err)
		}
		for _, probe := range list.Items {
			for _, m := range probe.Status.Models {
				if m.Time != nil {
					models.Latest(out.Probed, m.Digest, models.Measured{Level: models.Level(m.Measured), Probe: probe.Namespace + "/" + probe.Name, Time: m.Time.Time})
				}
			}
		}
	}
	return &out, nil
}

// Text is all that a pod is given of a registry, as a text that changes with it: the
// document, and which of its models are unfit.
func (e *Entry) Text() string {
	var unfit []string
	for _, digest := range slices.Sorted(maps.Keys(e.Probed)) {
		if !e.Probed[digest].Level.AtLeast(models.DefaultToolCalls) {
			unfit = append(unfit, digest)
		}
	}
	if len(unfit) == 0 {
		return e.Document
	}
	return e.Document + "\x00" + strings.Join(unfit, ",")
}
