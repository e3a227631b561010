// Package modelregistry finds the model registry that holds for a namespace and
// keeps the last valid one in use while an edit is broken.
package modelregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/text"
)

// ConfigMapName and Key say where a registry document is.
const (
	ConfigMapName = "sampan-models"
	Key           = "models.yaml"
)

// LabelScopes is the label of a namespace that lists, separated by dots, the
// registry scopes that its tasks hold.
const LabelScopes = "sampan.dev/scopes"

// ErrNotFound says that there is no registry for a namespace.
var ErrNotFound = errors.New("no model registry")

// Entry is the registry that holds for a namespace.
type Entry struct {
	Registry *models.Registry
	// Document is the text that Registry was parsed from.
	Document string
	// Source is the ConfigMap it came from.
	Source types.NamespacedName
	// Probed is what the probes that count here have measured, by the digest of the entry;
	// nil where the registry does not ask for it.
	Probed map[string]models.Measured
	// Warning is set when the ConfigMap's newest text is broken and this is an
	// earlier one; it says what to mend.
	Warning string
}

// Store gives the registry of a namespace. It is safe for concurrent use, and no
// namespace waits for another one's document to be read.
type Store struct {
	// Reader reads ConfigMaps named ConfigMapName from a cache, which may have no
	// more than a stub of a large one.
	Reader client.Reader
	// Live reads the whole of what Reader has a stub of.
	Live client.Reader
	// OperatorNamespace is looked in when the task's own has no registry.
	OperatorNamespace string
	Recorder          events.EventRecorder
	// MaxBytes bounds what is kept, see known.cost; 0 is DefaultMaxBytes.
	MaxBytes int

	mu    sync.Mutex
	known map[types.NamespacedName]*known
	bytes int
}

// DefaultMaxBytes has room for the registries of some hundred namespaces. What is
// dropped is read again when it is asked for.
const DefaultMaxBytes = 32 << 20

// Load gives the registry for a namespace. The error wraps ErrNotFound, or is
// a *models.InvalidError where there never was a valid document.
func (s *Store) Load(ctx context.Context, namespace string) (*Entry, error) {
	for _, ns := range []string{namespace, s.OperatorNamespace} {
		var cm corev1.ConfigMap
		key := types.NamespacedName{Namespace: ns, Name: ConfigMapName}
		err := s.Reader.Get(ctx, key, &cm)
		if apierrors.IsNotFound(err) {
			s.drop(key)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s: %w", key, err)
		}
		entry, err := s.entry(ctx, &cm)
		if err != nil {
			return nil, err
		}
		return s.probed(ctx, namespace, entry)
	}
	return nil, fmt.Errorf("%w: there is no ConfigMap %s in namespace %s nor in %s",
		ErrNotFound, ConfigMapName, namespace, s.OperatorNamespace)
}

// Forget drops what is kept of a namespace's ConfigMap if that is gone.
func (s *Store) Forget(ctx context.Context, namespace string) {
	key := types.NamespacedName{Namespace: namespace, Name: ConfigMapName}
	if apierrors.IsNotFound(s.Reader.Get(ctx, key, &corev1.ConfigMap{})) {
		s.drop(key)
	}
}

// entry parses a ConfigMap once per version of it. Only who asks for the same
// ConfigMap waits meanwhile.
func (s *Store) entry(ctx context.Context, cm *corev1.ConfigMap) (*Entry, error) {
	key := client.ObjectKeyFromObject(cm)
	k := s.of(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has(cm) {
		return k.good, k.err
	}
	if slim.Partial(cm) {
		if err := s.Live.Get(ctx, key, cm); err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s: %w", key, err)
		}
		if k.has(cm) {
			return k.good, k.err
		}
	}
	problem := k.read(cm)
	s.keep(key, k)
	if problem != nil && s.Recorder != nil {
		s.Recorder.Eventf(cm, nil, corev1.EventTypeWarning, "RegistryInvalid", "Validate", "%s", text.Clip(text.OneLine(problem.Error()), maxNote))
	}
	return k.good, k.err
}

// maxNote bounds an event's note, as the API does.
const maxNote = 1024

// Scopes gives the registry scopes that a namespace's label grants.
func Scopes(ctx context.Context, reader client.Reader, namespace string) ([]string, error) {
	var ns corev1.Namespace
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, &ns); err != nil {
		return nil, fmt.Errorf("reading Namespace %s: %w", namespace, err)
	}
	value := ns.Labels[LabelScopes]
	if value == "" {
		return nil, nil
	}
	return strings.Split(value, "."), nil
}
